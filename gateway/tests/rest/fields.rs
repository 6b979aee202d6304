//! Single fields as raw bytes.

use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};

use crate::running::{problem, start, text};

const FIELDS: &str = "/classes/Counter/objects/alice/fields";

#[tokio::test]
async fn a_field_is_raw_bytes() {
    let server = start().await;
    let path = format!("{FIELDS}/k");
    let bytes = vec![0, 1, 255];
    let response = server.put(&path, bytes.clone()).header(CONTENT_TYPE, "image/png").send().await.unwrap();
    assert_eq!(response.status(), 201);
    assert!(response.headers().contains_key(ETAG));
    assert_eq!(server.put(&path, bytes.clone()).send().await.unwrap().status(), 204);
    let response = server.get(&path).send().await.unwrap();
    assert_eq!(response.headers()[CONTENT_TYPE], "application/octet-stream");
    assert_eq!(response.headers()[CONTENT_LENGTH], "3");
    assert!(response.headers().contains_key(ETAG));
    assert_eq!(response.bytes().await.unwrap(), bytes);
    let deleted = server.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(deleted.status(), 204);
    assert!(deleted.headers().contains_key(ETAG));
    problem(server.request(Method::DELETE, &path), 404, "not-found").await;
    let missing = problem(server.get(&path), 404, "not-found").await;
    assert_eq!(
        (&missing["operation"], &missing["subject"]),
        (&"read field".into(), &"Counter/alice.k".into())
    );
}

#[tokio::test]
async fn an_empty_field_is_a_field() {
    let server = start().await;
    text(server.put(&format!("{FIELDS}/k"), ""), 201).await;
    let response = server.get(&format!("{FIELDS}/k")).send().await.unwrap();
    assert_eq!(response.headers()[CONTENT_LENGTH], "0");
    assert_eq!(response.text().await.unwrap(), "");
}

#[tokio::test]
async fn keys_are_what_they_were_written_as() {
    let server = start().await;
    for (path, key) in [("a%2Fb", "a/b"), ("%E6%97%A5", "日"), ("100%25", "100%"), ("a+b%20c", "a+b c")] {
        text(server.put(&format!("{FIELDS}/{path}"), key), if key == "a/b" { 201 } else { 204 }).await;
        assert_eq!(text(server.get(&format!("{FIELDS}/{path}")), 200).await, key);
    }
    let document = text(server.get("/classes/Counter/objects/alice"), 200).await;
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let keys: Vec<_> = document["fields"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["100%", "a+b c", "a/b", "日"]);
    for bad in ["", "%00", "%FF", "%2", &"k".repeat(257)] {
        problem(server.put(&format!("{FIELDS}/{bad}"), "x"), 400, "invalid").await;
    }
    assert_eq!(server.put(&format!("{FIELDS}/{}", "k".repeat(256)), "x").send().await.unwrap().status(), 204);
}

#[tokio::test]
async fn a_field_may_be_1_mib_and_no_more() {
    let server = start().await;
    let path = format!("{FIELDS}/k");
    text(server.put(&path, vec![b'x'; 1 << 20]), 201).await;
    let refused = problem(server.put(&path, vec![b'x'; (1 << 20) + 1]), 413, "payload-too-large").await;
    assert!(refused["detail"].as_str().unwrap().contains("1048576"));
    assert_eq!(server.get(&path).send().await.unwrap().bytes().await.unwrap().len(), 1 << 20);
}

#[tokio::test]
async fn conditions_are_the_objects() {
    let server = start().await;
    let path = format!("{FIELDS}/k");
    text(server.put(&path, "1").header(IF_NONE_MATCH, "*"), 201).await;
    let etag = server.get(&path).send().await.unwrap().headers()[ETAG].clone();
    text(server.get(&path).header(IF_NONE_MATCH, etag.clone()), 304).await;
    text(server.put(&path, "2").header(IF_MATCH, etag.clone()), 204).await;
    problem(server.put(&path, "3").header(IF_MATCH, etag.clone()), 412, "version-mismatch").await;
    problem(server.request(Method::DELETE, &path).header(IF_MATCH, etag), 412, "version-mismatch").await;
}
