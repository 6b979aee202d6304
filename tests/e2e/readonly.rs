//! Read-only methods run beside the object's turns, on one consistent state, and cannot write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Server, both, eventually, guests};
use serde_json::{Value, json};

both!(beside_a_turn, one_state, no_writes);

const MANIFEST: &str = "readonly = [\"value\", \"run\", \"peek-twice\"]\n[class.limits]\nwall_ms = 60000";

/// A read answers while a turn of the same object is under way; it sees the state before it.
async fn beside_a_turn(server: Server) {
    let class = Class::deploy(&server, "Readonly", guests::prober(), MANIFEST).await;
    let object = class.object("o");
    object.put(&json!({ "n": 7 })).send().await.ok();
    let nap = tokio::spawn({
        let nap = object.method("nap").json(&json!({ "ms": 6000 })).header("x-request-timeout-ms", 60_000);
        async move { nap.send().await.expect(204) }
    });
    server.logged(&["napping for 6000 ms", &class.name]).await;
    for _ in 0..5 {
        assert_eq!(object.invoke("value", json!({})).await.expect(200).json(), 7);
        let seen = object.invoke("run", json!([[{ "get": "dirty" }]])).await.expect(200);
        assert_eq!((seen.json(), seen.version()), (json!(["none"]), 1));
    }
    assert!(!nap.is_finished(), "the reads did not wait for the turn");
    nap.await.unwrap();
    assert_eq!(
        object.invoke("run", json!([[{ "get": "dirty" }]])).await.expect(200).json(),
        json!(["some 1"])
    );
}

/// All reads of one call are of one moment, whatever is committed meanwhile.
async fn one_state(server: Server) {
    let class = Class::deploy(&server, "Readonly", guests::prober(), MANIFEST).await;
    let object = class.object("o");
    let write = |n: u64| json!({ "a": n, "b": n, "z": n });
    object.put(&write(0)).send().await.ok();
    let (over, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writer = tokio::spawn({
        let (object, over, written) = (object.clone(), Arc::clone(&over), Arc::clone(&written));
        async move {
            while !over.load(Ordering::SeqCst) {
                let n = written.fetch_add(1, Ordering::SeqCst) + 1;
                if n % 10 == 0 {
                    object.delete().send().await.ok();
                }
                object.put(&write(n)).send().await.ok();
            }
        }
    });
    let steps = json!([[
        { "get": "a" }, { "get": "b" }, { "get-many": ["z", "a"] }, { "scan": ["", "", 10] }, { "get": "a" }, { "get": "z" }
    ]]);
    let mut reads = 0;
    while reads < 150 || (written.load(Ordering::SeqCst) <= 10 && !writer.is_finished()) {
        reads += 1;
        let lines = object.invoke("run", steps.clone()).await.expect(200).json();
        let line = |at: usize| lines[at].as_str().unwrap();
        let one = line(0);
        assert!([line(1), line(4), line(5)].iter().all(|other| *other == one), "{lines}");
        assert_eq!(line(2), format!("{one},{one}"), "{lines}");
        let scan = one.strip_prefix("some ").map(|n| format!("a={n},b={n},z={n}")).unwrap_or_default();
        assert_eq!(line(3), scan, "{lines}");
    }
    over.store(true, Ordering::SeqCst);
    writer.await.unwrap();
}

async fn no_writes(server: Server) {
    let class = Class::deploy(&server, "Readonly", guests::prober(), MANIFEST).await;
    let object = class.object("o");
    object.put(&json!({ "n": 1 })).send().await.ok();
    let before = object.get().await.etag();
    for step in [
        json!({ "set": ["a", "1"] }),
        json!({ "set-many": [["a", "1"]] }),
        json!({ "delete": "n" }),
        json!({ "delete": "absent" }),
        json!({ "increment": ["n", 1] }),
        json!({ "clear": true }),
    ] {
        let problem = object.invoke("run", json!([[{ "get": "n" }, step]])).await.problem(Code::Invalid);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("read-only") || detail.contains("readonly"), "{step}: it says why: {detail}");
        class.object("absent").invoke("run", json!([[step]])).await.problem(Code::Invalid);
    }
    assert_eq!(object.get().await.etag(), before);
    class.object("absent").get().await.problem(Code::NotFound);
    // the listing shows which they are
    let described = class.http.get(class.path()).send().await.expect(200).json();
    let readonly: Vec<&Value> = described["methods"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|method| method["readonly"] == true)
        .map(|method| &method["name"])
        .collect();
    assert_eq!(readonly, ["peek-twice", "run", "value"]);
    // redeployed without the list, they are ordinary
    class.redeploy(guests::prober(), "").await.expect(201);
    eventually("the deployment shows", || async {
        let reply = object.invoke("run", json!([[{ "set": ["a", "1"] }]])).await;
        (reply.status == 200).then_some(())
    })
    .await;
}
