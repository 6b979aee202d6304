//! The programming model of a turn, as a guest sees it.

use std::time::Duration;

use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Server, both, eventually, guests};
use serde_json::{Value, json};
use tokio::task::JoinSet;

both!(
    one_commit_per_turn,
    a_turn_without_writes,
    one_at_a_time,
    other_objects_meanwhile,
    functions,
    numbers,
    circumstances
);

/// However much a turn writes, it is one commit; all of it is there, or nothing.
async fn one_commit_per_turn(server: Server) {
    let object = Class::deploy(&server, "Turns", guests::prober(), "").await.object("o");
    let arguments = json!({ "count": 500, "bytes": 10, "at-once": false });
    assert_eq!(object.invoke("write-many", arguments).await.expect(204).version(), 1);
    let document = object.get().await.expect(200).json();
    assert_eq!((document["version"].as_u64(), document["fields"].as_object().unwrap().len()), (Some(1), 500));
    let steps =
        json!([[{ "set": ["a", "1"] }, { "set": ["a", "2"] }, { "delete": "a" }, { "set": ["a", "3"] }]]);
    assert_eq!(object.invoke("run", steps).await.expect(200).version(), 2);
    assert_eq!(object.field("GET", "a").send().await.expect(200).body, "3");
}

/// A turn that only reads is no commit, and makes no object.
async fn a_turn_without_writes(server: Server) {
    let class = Class::deploy(&server, "Turns", guests::prober(), "").await;
    let object = class.object("o");
    assert_eq!(object.invoke("value", json!({})).await.expect(200).version(), 0);
    object.get().await.problem(Code::NotFound);
    object.invoke("add", json!({ "by": 1 })).await.expect(200);
    let before = object.get().await.etag();
    assert_eq!(object.invoke("value", json!({})).await.expect(200).version(), 1);
    object.invoke("run", json!([[{ "delete": "absent" }]])).await.expect(200);
    assert_eq!(object.get().await.etag(), before);
    // writing what is there already is a write
    object.invoke("add", json!({ "by": 0 })).await.expect(200);
    assert_eq!(object.version().await, 2);
}

/// Turns of one object never overlap: each reads, waits and writes, and nobody comes between.
async fn one_at_a_time(server: Server) {
    let class = Class::deploy(&server, "Turns", guests::prober(), "").await;
    let mut calls = JoinSet::new();
    for _ in 0..12 {
        let object = class.object("o");
        calls.spawn(async move { object.invoke("nap", json!({ "ms": 30 })).await.expect(204).version() });
    }
    let mut versions = calls.join_all().await;
    versions.sort_unstable();
    assert_eq!(versions, (1..=12).collect::<Vec<u64>>());
}

/// A turn that waits holds up its own object only.
async fn other_objects_meanwhile(server: Server) {
    let class = Class::deploy(&server, "Turns", guests::prober(), "[class.limits]\nwall_ms = 60000").await;
    let sleepers: Vec<_> = (0..8).map(|n| class.object(format!("sleeper{n}"))).collect();
    let mut naps = JoinSet::new();
    for sleeper in sleepers {
        let nap = sleeper.method("nap").json(&json!({ "ms": 5000 })).header("x-request-timeout-ms", 60_000);
        naps.spawn(async move { nap.send().await.expect(204) });
    }
    server.logged(&["napping for 5000 ms", &class.name]).await;
    let mut done = 0;
    while naps.try_join_next().is_none() {
        class.object(format!("o{}", done % 10)).invoke("add", json!({ "by": 1 })).await.expect(200);
        done += 1;
    }
    naps.join_all().await;
    assert!(done > 10, "only {done} calls answered while others slept");
}

/// Without an object there are no fields to use, and saying so ends the call.
async fn functions(server: Server) {
    let class = Class::deploy(&server, "Turns", guests::prober(), "").await;
    let reply = class.function("generation").send().await.expect(200);
    assert_eq!((reply.json(), reply.header("oprc-version")), (json!("test-generation-000000"), None));
    for method in ["value", "stamp", "explode"] {
        class.function(method).send().await.problem(Code::Invalid);
    }
    class.function("add").json(&json!({ "by": 1 })).send().await.problem(Code::Invalid);
    let steps = [
        json!({ "get": "a" }),
        json!({ "set": ["a", "b"] }),
        json!({ "scan": ["", "", 1] }),
        json!({ "clear": true }),
    ];
    for step in steps {
        class.function("run").json(&json!([[step]])).send().await.problem(Code::Invalid);
    }
    class.function("no-such-function").send().await.problem(Code::NotFound);
    let objects = class.http.get(format!("{}/objects", class.path())).send().await.expect(200).json();
    assert_eq!(objects["items"], json!([]));
}

/// `increment` keeps decimal text, through its whole range and not past it.
async fn numbers(server: Server) {
    let object = Class::deploy(&server, "Turns", guests::prober(), "").await.object("o");
    let add = |by: i64| object.invoke("add", json!({ "by": by }));
    assert_eq!(add(i64::MAX).await.expect(200).json(), i64::MAX);
    assert_eq!(object.field("GET", "n").send().await.expect(200).body, i64::MAX.to_string());
    add(1).await.problem(Code::Invalid);
    assert_eq!(add(i64::MIN).await.expect(200).json(), -1);
    assert_eq!(add(i64::MIN + 1).await.expect(200).json(), i64::MIN);
    assert_eq!(object.field("GET", "n").send().await.expect(200).body, i64::MIN.to_string());
    add(-1).await.problem(Code::Invalid);
    assert_eq!(object.version().await, 3);
    // what REST wrote as a number is one
    object.patch(&json!({ "n": 41 })).send().await.ok();
    assert_eq!(add(1).await.expect(200).json(), 42);
}

async fn circumstances(server: Server) {
    let class = Class::deploy(&server, "Turns", guests::prober(), "").await;
    let object = class.object("user@example.com");
    object.invoke("add", json!({ "by": 1 })).await.expect(200);
    let reply = object
        .method("circumstances-of-call")
        .header("x-request-timeout-ms", 30_000)
        .send()
        .await
        .expect(200);
    let told = reply.json();
    assert_eq!(told["object"], json!([class.name, "user@example.com"]));
    assert_eq!(told["method"], "circumstances-of-call");
    assert_eq!(told["version"], 1);
    assert_eq!(told["caller"], Value::Null);
    assert_eq!(
        told["invocation-id"].as_str(),
        reply.header("oprc-invocation-id"),
        "the caller hears the same id"
    );
    assert!((1..=30_000).contains(&told["deadline"].as_u64().unwrap()), "{told}");
    let function = class.function("circumstances-of-call").send().await.expect(200);
    assert_eq!((&function.json()["object"], &function.json()["version"]), (&Value::Null, &json!(0)));
    assert_ne!(function.header("oprc-invocation-id"), reply.header("oprc-invocation-id"));

    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let call = object
        .method("circumstances-of-call")
        .header("idempotency-key", "my-key-1")
        .header("traceparent", trace);
    let reply = call.send().await.expect(200);
    assert_eq!(reply.header("oprc-invocation-id"), Some("my-key-1"));
    assert_eq!(reply.json()["invocation-id"], "my-key-1");
    assert!(
        reply.json()["headers"].as_array().unwrap().contains(&json!(["traceparent", trace])),
        "{reply:?}"
    );
    // what could be a secret is not passed on
    let call = object
        .method("circumstances-of-call")
        .header("authorization", "Bearer s3cret")
        .header("cookie", "a=s3cret");
    assert!(!call.send().await.expect(200).json().to_string().contains("s3cret"));
    // the deadline is a number that comes true
    let nap = object.method("nap").json(&json!({ "ms": 60_000 })).header("x-request-timeout-ms", 200);
    let begin = std::time::Instant::now();
    let reply = nap.send().await;
    assert_eq!(reply.status, 504, "{reply:?}");
    assert!(begin.elapsed() < Duration::from_secs(25), "it does not wait for the guest");
    // and the object is free again
    eventually("the object answers", || async {
        let call = object.method("value").header("x-request-timeout-ms", 5000).try_send().await.ok()?;
        (call.status == 200).then_some(())
    })
    .await;
}
