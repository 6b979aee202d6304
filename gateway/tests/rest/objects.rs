//! Whole objects: documents, conditions, entity tags.

use reqwest::Method;
use reqwest::header::{ALLOW, CONTENT_LENGTH, ETAG, IF_MATCH, IF_NONE_MATCH};
use serde_json::json as value;

use crate::running::{json, problem, start, text};

const ALICE: &str = "/classes/Counter/objects/alice";

#[tokio::test]
async fn a_document_that_was_read_can_be_written_back() {
    let server = start().await;
    let fields: [(&str, &[u8]); 5] =
        [("a", b"5"), ("b", b"hello"), ("c", &[0xff]), ("d", br#"{"$text":1}"#), ("e", br#"{"x": [1,  2]}"#)];
    server.fake.put_object("Counter", "alice", &fields);
    let body = text(server.get(ALICE), 200).await;
    let expected = concat!(
        r#"{"class":"Counter","id":"alice","version":1,"fields":{"a":5,"b":{"$text":"hello"},"#,
        r#""c":{"$base64":"/w=="},"d":{"$text":"{\"$text\":1}"},"e":{"x": [1,  2]}}}"#
    );
    assert_eq!(body, expected);
    let written = json(server.put(ALICE, body.clone()), 200).await;
    assert_eq!(written, value!({"class": "Counter", "id": "alice", "version": 2}));
    assert_eq!(text(server.get(ALICE), 200).await, body.replace("\"version\":1", "\"version\":2"));
}

#[tokio::test]
async fn put_creates_and_replaces_patch_merges() {
    let server = start().await;
    let response = server.put(ALICE, r#"{"fields":{"a":1,"b":null}}"#).send().await.unwrap();
    assert_eq!(response.status(), 201);
    let first = response.headers()[ETAG].clone();
    assert_eq!(response.text().await.unwrap(), r#"{"class":"Counter","id":"alice","version":1}"#);
    let patch = r#"{"fields":{"a":{"$delete":true},"c":"x"}}"#;
    let response = server.request(Method::PATCH, ALICE).body(patch).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_ne!(response.headers()[ETAG], first);
    assert_eq!(json(server.get(ALICE), 200).await["fields"], value!({"b": null, "c": "x"}));
    text(server.put(ALICE, r#"{"fields":{"z":0}}"#), 200).await;
    assert_eq!(json(server.get(ALICE), 200).await["fields"], value!({"z": 0}));
    text(server.request(Method::PATCH, "/classes/Counter/objects/new").body(r#"{"fields":{}}"#), 201).await;
}

#[tokio::test]
async fn conditions_decide() {
    let server = start().await;
    let body = r#"{"fields":{"a":1}}"#;
    let put = || server.put(ALICE, body);
    problem(put().header(IF_MATCH, "*"), 412, "version-mismatch").await;
    text(put().header(IF_NONE_MATCH, "*"), 201).await;
    problem(put().header(IF_NONE_MATCH, "*"), 412, "version-mismatch").await;
    let response = server.get(ALICE).send().await.unwrap();
    let etag = response.headers()[ETAG].clone();
    text(put().header(IF_MATCH, etag.clone()), 200).await;
    let stale = problem(put().header(IF_MATCH, etag.clone()), 412, "version-mismatch").await;
    assert_eq!((&stale["operation"], &stale["subject"]), (&"replace object".into(), &"Counter/alice".into()));
    problem(put().header(IF_MATCH, "\"someone-elses\""), 412, "version-mismatch").await;
    problem(put().header(IF_MATCH, "unquoted"), 400, "invalid").await;
    let delete = || server.request(Method::DELETE, ALICE);
    problem(delete().header(IF_MATCH, etag.clone()), 412, "version-mismatch").await;
    text(delete().header(IF_MATCH, "*"), 204).await;
    problem(delete(), 404, "not-found").await;
    problem(delete().header(IF_MATCH, etag), 412, "version-mismatch").await;
}

#[tokio::test]
async fn a_read_is_not_sent_what_it_has() {
    let server = start().await;
    text(server.put(ALICE, r#"{"fields":{"a":1}}"#), 201).await;
    let etag = server.get(ALICE).send().await.unwrap().headers()[ETAG].clone();
    let response = server.get(ALICE).header(IF_NONE_MATCH, etag.clone()).send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()[ETAG]), (304, &etag));
    assert_eq!(response.text().await.unwrap(), "");
    text(server.get(ALICE).header(IF_NONE_MATCH, "\"1.1\""), 200).await;
    problem(server.get(ALICE).header(IF_MATCH, "\"1.1\""), 412, "version-mismatch").await;
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let server = start().await;
    text(server.put(ALICE, r#"{"fields":{"a":1}}"#), 201).await;
    for path in [ALICE, "/classes", "/classes/Counter", "/cluster", "/classes/Counter/objects/alice/fields/a"]
    {
        let get = server.get(path).send().await.unwrap();
        let head = server.request(Method::HEAD, path).send().await.unwrap();
        assert_eq!(head.status(), 200, "{path}");
        assert_eq!(head.headers().get(ETAG), get.headers().get(ETAG), "{path}");
        assert_eq!(head.headers()[CONTENT_LENGTH], get.headers()[CONTENT_LENGTH], "{path}");
        assert_eq!(head.text().await.unwrap(), "");
        assert!(!get.text().await.unwrap().is_empty());
    }
    let head = server.request(Method::HEAD, "/classes/Counter/objects/nobody").send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.text().await.unwrap().as_str()), (404, ""));
}

#[tokio::test]
async fn what_is_no_document_is_refused() {
    let server = start().await;
    for body in
        ["", "5", "{", r#"{"count":5}"#, r#"{"fields":{"a":{"$delete":true}}}"#, r#"{"fields":{"a\n":1}}"#]
    {
        problem(server.put(ALICE, body), 400, "invalid").await;
    }
    let request = server.request(Method::PATCH, ALICE).body("{}");
    problem(request.header("Content-Type", "application/merge-patch+json"), 415, "invalid").await;
    problem(server.get(ALICE), 404, "not-found").await;
    let response = server.post(ALICE, "{}").send().await.unwrap();
    assert_eq!(response.headers()[ALLOW], "GET, HEAD, PUT, PATCH, DELETE");
    problem(server.post(ALICE, "{}"), 405, "invalid").await;
}
