//! A turn that calls other objects: what it is given, what it may call, and where a chain of calls ends.

use std::time::{Duration, Instant};

use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Object, Server, both, guests};
use serde_json::{Value, json};
use tokio::task::JoinSet;

both!(
    a_transfer_moves_money_or_does_nothing,
    results_and_failures_come_back,
    functions_are_called_and_call,
    a_turn_that_fails_leaves_what_it_called,
    no_object_is_entered_twice,
    a_chain_is_as_deep_as_it_may_be,
    two_chains_that_wait_for_each_other_end,
    only_what_reads_is_called_by_what_reads,
    a_misuse_ends_the_turn,
);

const READONLY: &str = "readonly = [\"peek\", \"peek-function\", \"value\"]";

async fn deploy(server: &Server, limits: &str) -> Class {
    Class::deploy(server, "Call", guests::caller(), &format!("{READONLY}\n{limits}")).await
}

/// The arguments of a call that calls `method` of `to`.
fn calling(to: &Object, method: &str, payload: &Value) -> Value {
    json!({ "class": to.class.name, "id": to.id, "method": method, "payload": payload.to_string() })
}

/// What a call that `from` makes of `to` is told.
async fn ask(from: &Object, to: &Object, method: &str, payload: Value) -> Value {
    from.invoke("ask", calling(to, method, &payload)).await.expect(200).json()
}

async fn a_transfer_moves_money_or_does_nothing(server: Server) {
    let class = Class::deploy(&server, "Account", guests::account(), "readonly = [\"balance\"]").await;
    let (alice, bob) = (class.object("alice"), class.object("bob"));
    alice.invoke("deposit", json!({ "amount": 10 })).await.expect(200);
    let transfer = |to: &str, amount: u64| json!({ "to": to, "amount": amount });
    assert_eq!(alice.invoke("transfer", transfer("bob", 3)).await.expect(200).json(), 7);
    assert_eq!(bob.fields().await["balance"], 3);
    let short = alice.invoke("transfer", transfer("bob", 8)).await;
    let short = short.problem(Code::FunctionError);
    assert_eq!(short["error"], json!({ "overdraft": { "balance": 7, "wanted": 8 } }));
    // what bob refuses is taken back here
    bob.put(&json!({ "balance": i64::MAX })).send().await.ok();
    let refused = alice.invoke("transfer", transfer("bob", 1)).await;
    assert_eq!(refused.problem(Code::FunctionError)["error"], json!({ "refused": "\"too-large\"" }));
    let refused = alice.invoke("transfer", transfer("alice", 1)).await;
    let refused = refused.problem(Code::FunctionError);
    assert!(refused["error"]["refused"].as_str().unwrap().contains("waits for this very call"), "{refused}");
    assert_eq!(alice.fields().await["balance"], 7);
}

async fn results_and_failures_come_back(server: Server) {
    let class = deploy(&server, "").await;
    let (a, b) = (class.object("a"), class.object("b"));
    for sum in [5, 10] {
        assert_eq!(ask(&a, &b, "add", json!({ "by": 5 })).await, sum.to_string());
    }
    assert_eq!(ask(&a, &b, "value", json!({})).await, "10");
    let failures = [
        ("refuse", json!({ "code": 7 }), "failed: {\"code\":7}"),
        ("explode", json!({}), "trap"),
        ("nothing-of-that-name", json!({}), "not-found"),
        ("add", json!({ "by": "x" }), "invalid"),
    ];
    for (method, payload, told) in failures {
        assert_eq!(ask(&a, &b, method, payload).await, told);
    }
    let nowhere = json!({ "class": "Nowhere", "id": "x", "method": "add", "payload": "" });
    assert_eq!(a.invoke("ask", nowhere).await.expect(200).json(), "not-found");
    assert_eq!(b.fields().await, json!({ "n": 10 }));
    assert_eq!(a.fields().await["calls"], 8, "each was answered, and a went on");
    // of another class, in the catch-all style
    let kv = Class::deploy(&server, "Kv", guests::kv(), "").await.object("k");
    let pair = json!({ "key": "x", "value": [1] });
    assert_eq!(ask(&a, &kv, "set", pair).await, "true");
    assert_eq!(ask(&a, &kv, "get", json!({ "key": "x" })).await, "[1]");
    assert_eq!(ask(&a, &kv, "get", json!({ "key": "y" })).await, "failed: {\"missing\":\"y\"}");
}

async fn functions_are_called_and_call(server: Server) {
    let class = deploy(&server, "").await;
    let (a, b) = (class.object("a"), class.object("b"));
    let relay = calling(&b, "add", &json!({ "by": 2 }));
    let function = json!({ "class": class.name, "function": "relay", "payload": relay.to_string() });
    assert_eq!(a.invoke("ask-function", function.clone()).await.expect(200).json(), "\"2\"");
    assert_eq!(class.function("relay").json(&relay).send().await.expect(200).json(), "4");
    // through a function an object is not entered twice either
    let back = calling(&a, "add", &json!({ "by": 2 }));
    let function = json!({ "class": class.name, "function": "relay", "payload": back.to_string() });
    assert_eq!(a.invoke("ask-function", function).await.expect(200).json(), "\"reentrant-call\"");
    assert_eq!((&a.fields().await["calls"], &b.fields().await["n"]), (&json!(2), &json!(4)));
    // run again under its key a function does again what it does itself, but what it called is done once
    for _ in 0..2 {
        let again = class.function("relay").json(&relay).header("idempotency-key", "k").send().await;
        assert_eq!(again.expect(200).json(), "6");
    }
    let other = calling(&b, "add", &json!({ "by": 3 }));
    let other = class.function("relay").json(&other).header("idempotency-key", "k").send().await;
    other.problem(Code::NondeterministicRerun);
    assert_eq!(b.fields().await["n"], 6);
}

async fn a_turn_that_fails_leaves_what_it_called(server: Server) {
    let class = deploy(&server, "").await;
    let (a, b) = (class.object("a"), class.object("b"));
    let call = || {
        let arguments = calling(&b, "add", &json!({ "by": 4 }));
        a.method("ask-and-fail").json(&arguments).header("idempotency-key", "k")
    };
    for replayed in [false, true] {
        let reply = call().send().await;
        assert_eq!(reply.header("idempotency-replayed").is_some(), replayed);
        assert_eq!(reply.problem(Code::FunctionError)["error"], "4");
    }
    assert_eq!(b.fields().await["n"], 4);
    a.get().await.problem(Code::NotFound);
    // a call that writes nothing but called is kept too
    let only =
        || a.method("ask-only").json(&calling(&b, "add", &json!({ "by": 4 }))).header("idempotency-key", "o");
    for _ in 0..2 {
        assert_eq!(only().send().await.expect(200).json(), "8");
    }
    assert_eq!(b.fields().await["n"], 8);
}

async fn no_object_is_entered_twice(server: Server) {
    let class = deploy(&server, "[class.limits]\nwall_ms = 60000").await;
    let (a, b) = (class.object("a"), class.object("b"));
    let begun = Instant::now();
    assert_eq!(ask(&a, &a, "add", json!({ "by": 1 })).await, "reentrant-call");
    let back = calling(&a, "add", &json!({ "by": 1 }));
    assert_eq!(ask(&a, &b, "ask", back).await, "\"reentrant-call\"");
    let around = json!({ "class": class.name, "path": ["b", "c", "a"] });
    assert_eq!(a.invoke("walk", around).await.expect(200).json(), "reentrant-call");
    assert!(begun.elapsed() < Duration::from_secs(9), "nobody waited for a deadline");
    // the same object one after the other is no chain, and all of them are free again
    assert_eq!(a.invoke("walk", json!({ "class": class.name, "path": ["b", "c"] })).await.json(), "3");
    assert_eq!(a.fields().await["calls"], 4);
}

async fn a_chain_is_as_deep_as_it_may_be(server: Server) {
    for (limits, depth) in [("", 16), ("[class.limits]\ncall_depth = 3", 3)] {
        let class = deploy(&server, limits).await;
        let walk = async |steps: usize| {
            let path: Vec<String> = (1..=steps).map(|n| format!("o{n}")).collect();
            let arguments = json!({ "class": class.name, "path": path });
            class.object("o0").invoke("walk", arguments).await.expect(200).json()
        };
        assert_eq!(walk(depth).await, (depth + 1).to_string());
        assert_eq!(walk(depth + 1).await, "call-depth");
    }
}

async fn two_chains_that_wait_for_each_other_end(server: Server) {
    let class = deploy(&server, "[class.limits]\nwall_ms = 4000").await;
    let (a, b) = (class.object("a"), class.object("b"));
    // each waits for the other once it has waited for a third
    let begun = Instant::now();
    let mut calls = JoinSet::new();
    for (from, to) in [(&a, &b), (&b, &a)] {
        let third = format!("third-of-{}", from.id);
        let arguments = json!({ "class": class.name, "id": to.id, "third": third });
        let from = from.clone();
        calls.spawn(async move { from.invoke("ask-after", arguments).await });
    }
    let replies = calls.join_all().await;
    assert!(begun.elapsed() >= Duration::from_millis(3_900), "{replies:?}");
    // when the first ends, what it kept waiting may still come through
    let ended: Vec<_> = replies.iter().filter(|reply| reply.status != 200).collect();
    assert!(!ended.is_empty(), "{replies:?}");
    for reply in &ended {
        let problem = reply.problem(Code::CallTimeout);
        assert!(problem["detail"].as_str().unwrap().contains(".add"), "it says what was called: {problem}");
    }
    // both are free again, and a call that was given up as it came through may have been made, once
    let mut sum = 0;
    for object in [&a, &b] {
        sum += object.invoke("add", json!({ "by": 1 })).await.expect(200).json().as_u64().unwrap();
    }
    assert!((2 + replies.len() - ended.len()..=2 + replies.len()).contains(&(sum as usize)), "{sum}");
}

async fn only_what_reads_is_called_by_what_reads(server: Server) {
    let class = deploy(&server, "").await;
    let (a, b) = (class.object("a"), class.object("b"));
    b.invoke("add", json!({ "by": 3 })).await.expect(200);
    let peek = async |method: &str, payload| a.invoke("peek", calling(&b, method, &payload)).await;
    assert_eq!(peek("value", json!({})).await.expect(200).json(), "3");
    let nested = calling(&class.object("c"), "value", &json!({}));
    assert_eq!(peek("peek", nested).await.expect(200).json(), "\"0\"");
    let problem = peek("add", json!({ "by": 1 })).await.problem(Code::Invalid);
    assert!(problem["detail"].as_str().unwrap().contains("is not read-only"), "{problem}");
    let function = json!({ "class": class.name, "function": "who" });
    a.invoke("peek-function", function).await.problem(Code::Invalid);
    // a method that reads, called by one that writes, may not write through others either
    let through = calling(&b, "add", &json!({ "by": 1 }));
    assert_eq!(ask(&a, &class.object("c"), "peek", through).await, "invalid");
    assert_eq!(b.fields().await["n"], 3);
}

async fn a_misuse_ends_the_turn(server: Server) {
    let class = deploy(&server, "").await;
    let a = class.object("a");
    for wrong in [
        json!({ "class": "no class", "id": "b", "method": "add", "payload": "" }),
        json!({ "class": class.name, "id": "no id", "method": "add", "payload": "" }),
        json!({ "class": class.name, "id": "b", "method": "no method", "payload": "" }),
    ] {
        let problem = a.invoke("ask", wrong).await.problem(Code::Invalid);
        assert!(problem["detail"].as_str().unwrap().contains("objects.invoke"), "{problem}");
    }
    a.get().await.problem(Code::NotFound);
}
