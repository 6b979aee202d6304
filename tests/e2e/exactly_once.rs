//! A call under a client's key takes effect once and gives the same answer each time: tried again at once, while it runs,
//! after it failed, after the host died, and after the object went. The same key for anything else is refused.

use std::time::Duration;

use oprc_mesh::outcome::Code;
use oprc_tests::{Call, Class, Kind, Object, Reply, Server, both, guests, run};
use serde_json::json;
use tokio::task::JoinSet;

both!(
    the_same_answer,
    another_call_under_the_key,
    a_retry_waits_for_the_first,
    failures,
    nothing_written,
    writes_of_fields,
    of_an_object_each,
    reads_are_not_kept,
    keys_at_their_bounds,
);

async fn fresh(server: &Server) -> Object {
    Class::deploy(server, "Once", guests::prober(), "readonly = [\"value\"]\n").await.object("o")
}

fn keyed(call: Call, key: &str) -> Call {
    call.header("idempotency-key", key)
}

fn add(object: &Object, by: i64, key: &str) -> Call {
    keyed(object.method("add").json(&json!({ "by": by })), key)
}

fn is_replay(reply: &Reply) -> bool {
    reply.header("idempotency-replayed").is_some_and(|told| told == "true")
}

/// Sends the call twice; the second answer must be the first's, and say so.
async fn twice(call: impl Fn() -> Call) -> Reply {
    let first = call().send().await;
    let again = call().send().await;
    assert!(!is_replay(&first) && is_replay(&again), "{first:?} {again:?}");
    assert_eq!((first.status, &first.body), (again.status, &again.body));
    for header in ["etag", "oprc-version", "oprc-invocation-id", "content-type"] {
        assert_eq!(first.header(header), again.header(header), "{header}");
    }
    first
}

async fn the_same_answer(server: Server) {
    let object = fresh(&server).await;
    assert_eq!(twice(|| add(&object, 5, "a")).await.expect(200).json(), 5);
    assert_eq!(add(&object, 5, "b").send().await.expect(200).json(), 10);
    // whatever came after it
    let again = add(&object, 5, "a").send().await.expect(200);
    assert_eq!((again.json(), again.version()), (json!(5), 1));
    object.delete().send().await.ok();
    assert_eq!(add(&object, 5, "a").send().await.expect(200).json(), 5);
    object.get().await.problem(Code::NotFound);
    // also as the header's draft standard quotes it, and after a deploy
    object.class.redeploy(guests::prober(), "").await.expect(201);
    assert!(is_replay(&add(&object, 5, "\"a\"").send().await));
    // without a key each is another call
    for sum in [1, 2] {
        assert_eq!(object.invoke("add", json!({ "by": 1 })).await.expect(200).json(), sum);
    }
}

async fn another_call_under_the_key(server: Server) {
    let object = fresh(&server).await;
    add(&object, 5, "a").send().await.expect(200);
    let others = [
        add(&object, 6, "a"),
        keyed(object.method("append").json(&json!({ "token": "t" })), "a"),
        keyed(object.put(&json!({ "n": 9 })), "a"),
        keyed(object.delete(), "a"),
    ];
    for other in others {
        other.send().await.problem(Code::IdempotencyMismatch);
    }
    assert_eq!(object.fields().await, json!({ "n": 5 }));
    keyed(object.put(&json!({ "n": 1 })), "b").send().await.expect(200);
    keyed(object.put(&json!({ "n": 2 })), "b").send().await.problem(Code::IdempotencyMismatch);
    keyed(object.put(&json!({ "n": 1 })).header("if-match", "*"), "b")
        .send()
        .await
        .problem(Code::IdempotencyMismatch);
}

async fn a_retry_waits_for_the_first(server: Server) {
    let object = fresh(&server).await;
    let mut tries = JoinSet::new();
    for _ in 0..12 {
        let object = object.clone();
        tries.spawn(async move { add(&object, 1, "a").send().await.expect(200) });
    }
    let replies = tries.join_all().await;
    assert!(replies.iter().all(|reply| reply.json() == 1), "{replies:?}");
    assert_eq!(replies.iter().filter(|reply| !is_replay(reply)).count(), 1);
    assert_eq!(object.fields().await, json!({ "n": 1 }));
}

async fn failures(server: Server) {
    let object = fresh(&server).await;
    let explode = twice(|| keyed(object.method("explode"), "trap")).await;
    explode.problem(Code::Trap);
    // what did not run is no outcome: it may do better the next time
    let wrong = || keyed(object.method("add").json(&json!({ "by": "x" })), "wrong");
    for _ in 0..2 {
        let reply = wrong().send().await;
        assert!(!is_replay(&reply));
        reply.problem(Code::Invalid);
    }
    add(&object, 1, "wrong").send().await.expect(200);
    object.class.redeploy(guests::counter(), "").await.expect(201);
    // a class that does better now does not make it another outcome
    assert!(is_replay(&keyed(object.method("explode"), "trap").send().await));
    assert_eq!(object.get().await.expect(200).json()["version"], 1, "an outcome alone is no version");
}

async fn nothing_written(server: Server) {
    let object = Class::deploy(&server, "Once", guests::prober(), "").await.object("o");
    let value = || keyed(object.method("value"), "v");
    assert_eq!(twice(value).await.expect(200).json(), 0);
    object.get().await.problem(Code::NotFound);
    object.invoke("add", json!({ "by": 3 })).await.expect(200);
    assert_eq!(value().send().await.expect(200).json(), 0, "it is what it was then");
    assert_eq!(object.method("value").send().await.expect(200).json(), 3);
}

async fn writes_of_fields(server: Server) {
    let object = fresh(&server).await;
    twice(|| keyed(object.put(&json!({ "a": 1 })), "put")).await.expect(201);
    twice(|| keyed(object.patch(&json!({ "b": 2 })), "patch")).await.expect(200);
    twice(|| keyed(object.field("PUT", "c").octets("3"), "field")).await.expect(204);
    twice(|| keyed(object.field("DELETE", "c"), "drop")).await.expect(204);
    assert_eq!(object.fields().await, json!({ "a": 1, "b": 2 }));
    assert_eq!(object.get().await.json()["version"], 4);
    twice(|| keyed(object.delete(), "delete")).await.expect(204);
    object.get().await.problem(Code::NotFound);
    // a condition that held then need not hold again
    object.put(&json!({ "a": 1 })).send().await.expect(201);
    let etag = object.get().await.etag();
    twice(|| keyed(object.patch(&json!({ "a": 2 })), "cas").header("if-match", &etag)).await.expect(200);
}

#[test]
fn through_a_crash_of_everything() {
    run(through_a_crash(Kind::Embedded));
}

#[test]
fn through_a_crash_of_the_host() {
    run(through_a_crash(Kind::Apart));
}

/// On a server of its own: others' calls would be lost with it.
async fn through_a_crash(kind: Kind) {
    let server = Server::start(kind).await;
    let _shown = server.show_logs_on_panic();
    let object = fresh(&server).await;
    let mut acknowledged = Vec::new();
    for round in 0..4 {
        let mut calls = JoinSet::new();
        for number in 0..24 {
            let (object, key) = (object.clone(), format!("{round}-{number}"));
            calls.spawn(async move {
                let call = add(&object, 1, &key).header("x-request-timeout-ms", 3_000);
                (key, call.try_send().await.ok().filter(|reply| reply.status == 200))
            });
        }
        tokio::time::sleep(Duration::from_millis(20 * round)).await;
        server.kill_host();
        let replies = calls.join_all().await;
        server.launch().await;
        for (key, reply) in replies {
            let again = add(&object, 1, &key).send().await.expect(200).json();
            assert!(reply.is_none_or(|reply| reply.json() == again), "{key}");
            acknowledged.push(again.as_i64().unwrap());
        }
    }
    // each took effect once: every sum from the first to the last is somebody's
    acknowledged.sort_unstable();
    assert_eq!(acknowledged, (1..=96).collect::<Vec<_>>());
    assert_eq!(object.fields().await, json!({ "n": 96 }));
}

async fn of_an_object_each(server: Server) {
    let object = fresh(&server).await;
    for id in ["p", "q"] {
        let other = object.class.object(id);
        assert!(!is_replay(&add(&other, 1, "same").send().await.expect(200)));
    }
    let other = fresh(&server).await;
    assert!(!is_replay(&add(&other, 1, "same").send().await.expect(200)));
}

async fn reads_are_not_kept(server: Server) {
    let object = fresh(&server).await;
    for by in [1, 2] {
        object.invoke("add", json!({ "by": by })).await.expect(200);
        let read = keyed(object.method("value"), "r").send().await.expect(200);
        assert!(!is_replay(&read));
        assert_eq!(read.json(), by * (by + 1) / 2);
    }
}

async fn keys_at_their_bounds(server: Server) {
    let object = fresh(&server).await;
    let longest = "k".repeat(256);
    twice(|| add(&object, 1, &longest)).await.expect(200);
    for bad in ["", "a b", &"k".repeat(257)] {
        add(&object, 1, bad).send().await.problem(Code::Invalid);
    }
    assert_eq!(object.fields().await, json!({ "n": 1 }));
}
