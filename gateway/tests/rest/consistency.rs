//! How new a read must be: what is asked of hosts, and what the client is told.

use oprc_mesh::wire::{Consistency, Op};
use reqwest::RequestBuilder;

use crate::fake::STALE_MS;
use crate::running::{Running, json, problem, start, text};

const ECHO: &str = "/classes/Counter/objects/alice/invoke/echo";
const READS: [&str; 4] = [
    "/classes/Counter/objects/alice",
    "/classes/Counter/objects/alice/fields",
    "/classes/Counter/objects/alice/fields/k",
    "/classes/Counter/objects",
];

/// The consistency and the class's revision that the last operation asked for.
fn asked(server: &Running) -> (Consistency, u64) {
    match server.fake.seen.lock().unwrap().last().unwrap() {
        Op::Invoke(op) => (op.consistency(), op.revision),
        Op::ReadObject(op) => (op.consistency(), op.revision),
        Op::ListFields(op) => (op.consistency(), op.revision),
        Op::ReadField(op) => (op.consistency(), op.revision),
        Op::ListObjects(op) => (op.consistency(), op.revision),
        op => panic!("{op:?}"),
    }
}

async fn stale_ms(request: RequestBuilder) -> Option<String> {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.headers().get("oprc-stale-ms").map(|ms| ms.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_read_asks_for_what_it_was_asked_and_tells_how_stale_it_is() {
    let server = start().await;
    server.fake.put_object("Counter", "alice", &[("k", b"1")]);
    let revision = server.fake.view().class("Counter").unwrap().revision;
    let requests = |query: &str| -> Vec<RequestBuilder> {
        let reads = READS.iter().map(|path| server.get(&format!("{path}{query}")));
        reads.chain([server.post(&format!("{ECHO}{query}"), "1")]).collect()
    };
    for (query, consistency) in [
        ("", Consistency::Lease),
        ("?consistency=lease", Consistency::Lease),
        ("?consistency=linearizable", Consistency::Linearizable),
        ("?consistency=stale", Consistency::Stale),
    ] {
        for request in requests(query) {
            let told = stale_ms(request).await;
            assert_eq!(asked(&server), (consistency, revision), "{query}");
            let expected = (consistency == Consistency::Stale).then(|| STALE_MS.to_string());
            assert_eq!(told, expected, "{query}");
        }
    }
}

#[tokio::test]
async fn a_call_addressed_in_its_body_has_a_consistency_too() {
    let server = start().await;
    let body = r#"{"class":"Counter","object":"alice","function":"echo","payload":1}"#;
    text(server.post("/invoke?consistency=linearizable", body), 200).await;
    assert_eq!(asked(&server).0, Consistency::Linearizable);
    let function = r#"{"class":"Counter","function":"echo"}"#;
    problem(server.post("/invoke?consistency=stale", function), 400, "invalid").await;
    problem(server.post("/classes/Counter/functions/echo?consistency=stale", ""), 400, "invalid").await;
    assert_eq!(server.fake.invocations().len(), 1);
}

#[tokio::test]
async fn what_has_no_consistency_takes_none() {
    let server = start().await;
    for path in READS {
        problem(server.get(&format!("{path}?consistency=eventual")), 400, "invalid").await;
    }
    for path in ["/classes", "/classes/Counter", "/classes/Counter/versions", "/cluster"] {
        problem(server.get(&format!("{path}?consistency=stale")), 400, "invalid").await;
    }
    let write = server.put("/classes/Counter/objects/alice?consistency=lease", r#"{"fields":{}}"#);
    problem(write, 400, "invalid").await;
    assert!(server.fake.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_write_tells_the_class_that_it_knows() {
    let server = start().await;
    json(server.put("/classes/Counter/objects/alice", r#"{"fields":{}}"#), 201).await;
    let seen = server.fake.seen.lock().unwrap().last().cloned().unwrap();
    let Op::WriteObject(write) = seen else { panic!("{seen:?}") };
    assert_eq!(write.revision, server.fake.view().class("Counter").unwrap().revision);
}
