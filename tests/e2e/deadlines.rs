//! A call's deadline holds wherever the call is: running, waiting for its object, or on its way. A call whose deadline
//! passed while it waited does not run afterwards.

use std::time::{Duration, Instant};

use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Object, Server, both, guests};
use serde_json::json;

both!(while_running, while_waiting, caller_goes_away, malformed);

async fn sleepy(server: &Server) -> Object {
    Class::deploy(server, "Sleepy", guests::prober(), "[class.limits]\nwall_ms = 60000").await.object("o")
}

async fn while_running(server: Server) {
    let object = sleepy(&server).await;
    let begin = Instant::now();
    let nap = object.method("nap").json(&json!({ "ms": 30_000 })).header("x-request-timeout-ms", 300);
    nap.send().await.problem(Code::Deadline);
    assert!(begin.elapsed() < Duration::from_secs(25), "it did not wait for the nap");
    // its turn is over: nothing was written, the object is free
    object.get().await.problem(Code::NotFound);
    let add = object.method("add").json(&json!({ "by": 1 })).header("x-request-timeout-ms", 60_000);
    assert_eq!(add.send().await.expect(200).version(), 1);
}

async fn while_waiting(server: Server) {
    let object = sleepy(&server).await;
    let nap = tokio::spawn({
        let nap = object.method("nap").json(&json!({ "ms": 6000 })).header("x-request-timeout-ms", 60_000);
        async move { nap.send().await.expect(204) }
    });
    server.logged(&["napping for 6000 ms", &object.class.name]).await;
    let calls = [
        object.method("add").json(&json!({ "by": 1 })),
        object.patch(&json!({ "n": 1 })),
        object.field("PUT", "n").octets("1"),
        object.delete(),
    ];
    let calls = calls.map(|call| call.header("x-request-timeout-ms", 300).send());
    for refused in futures::future::join_all(calls).await {
        refused.problem(Code::Deadline);
    }
    assert!(!nap.is_finished(), "they did not wait for the turn before them");
    nap.await.unwrap();
    // turns run in order: when this one has run, the others would have, too
    let seen =
        object.invoke("run", json!([[{ "scan": ["", "", 10] }, { "set": ["end", "1"] }]])).await.expect(200);
    assert_eq!((seen.json(), seen.version()), (json!(["dirty=1", "ok"]), 2), "none of them ran afterwards");
}

/// A caller that hangs up while its call waits takes the call with it.
async fn caller_goes_away(server: Server) {
    let object = sleepy(&server).await;
    let nap = tokio::spawn({
        let nap = object.method("nap").json(&json!({ "ms": 6000 })).header("x-request-timeout-ms", 60_000);
        async move { nap.send().await.expect(204) }
    });
    server.logged(&["napping for 6000 ms", &object.class.name]).await;
    let waiting = object.method("append").json(&json!({ "token": "hung-up" }));
    let hung_up = tokio::time::timeout(Duration::from_millis(300), waiting.try_send()).await;
    assert!(hung_up.is_err(), "it waited: {hung_up:?}");
    nap.await.unwrap();
    let seen = object.invoke("run", json!([[{ "get": "t/hung-up" }]])).await.expect(200).json();
    assert_eq!(seen, json!(["none"]));
}

async fn malformed(server: Server) {
    let object = sleepy(&server).await;
    for bad in ["", "x", "-1", "1.5", "1s", "0", "120001", "99999999999999999999"] {
        let call = object.method("add").json(&json!({ "by": 1 })).header("x-request-timeout-ms", bad);
        call.send().await.problem(Code::Invalid);
        let get = object.class.http.get(object.path()).header("x-request-timeout-ms", bad);
        get.send().await.problem(Code::Invalid);
    }
    object.get().await.problem(Code::NotFound);
}
