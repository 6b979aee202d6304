//! Deploying a class again swaps its code under load: no call fails, state stays, and every call that begins after the
//! deployment was acknowledged runs the new code.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use oprc_tests::{Class, Server, both, guests};
use serde_json::json;
use tokio::task::JoinSet;

both!(under_load, methods_change, limits_change, while_a_call_runs);

const OBJECTS: usize = 20;
const CLIENTS: usize = 16;
const SWAPS: u32 = 6;

async fn under_load(server: Server) {
    let class = Class::deploy(&server, "Swap", guests::prober_generation(1), "").await;
    let acknowledged = Arc::new(AtomicU32::new(1));
    let over = Arc::new(AtomicBool::new(false));
    let calls: Arc<Vec<AtomicU64>> = Arc::new((0..OBJECTS).map(|_| AtomicU64::new(0)).collect());
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (class, calls) = (class.clone(), Arc::clone(&calls));
        let (acknowledged, over) = (Arc::clone(&acknowledged), Arc::clone(&over));
        clients.spawn(async move {
            let mut number = client;
            while !over.load(Ordering::SeqCst) {
                let least = acknowledged.load(Ordering::SeqCst);
                let stamped = class
                    .object(format!("o{}", number % OBJECTS))
                    .invoke("stamp", json!({}))
                    .await
                    .expect(200);
                let generation: u32 = stamped.json()["generation"].as_str().unwrap()[16..].parse().unwrap();
                assert!(generation >= least, "generation {generation} answered after {least} was deployed");
                calls[number % OBJECTS].fetch_add(1, Ordering::SeqCst);
                number += 7;
            }
        });
    }
    for generation in 2..=SWAPS {
        // let some calls through with each code
        let before: u64 = calls.iter().map(|calls| calls.load(Ordering::SeqCst)).sum();
        oprc_tests::eventually("calls answer", || async {
            assert!(clients.len() == CLIENTS, "a client failed");
            let now: u64 = calls.iter().map(|calls| calls.load(Ordering::SeqCst)).sum();
            (now > before + 100).then_some(())
        })
        .await;
        class.redeploy(guests::prober_generation(generation), "").await.expect(201);
        acknowledged.store(generation, Ordering::SeqCst);
    }
    over.store(true, Ordering::SeqCst);
    clients.join_all().await;
    for (number, calls) in calls.iter().enumerate() {
        let object = class.object(format!("o{number}"));
        let calls = calls.load(Ordering::SeqCst);
        assert_eq!(object.fields().await["n"], calls, "state stays: each stamp counts once");
        assert_eq!(object.version().await, calls);
        let last = object.invoke("stamp", json!({})).await.expect(200).json();
        assert_eq!(last, json!({ "n": calls + 1, "generation": guests::generation(SWAPS) }));
    }
}

/// A component with other methods: the old ones are gone, the new ones are there, the fields stay.
async fn methods_change(server: Server) {
    let class = Class::deploy(&server, "Swap", guests::counter(), "").await;
    let object = class.object("o");
    object.invoke("increment", json!({ "by": 5 })).await.expect(200);
    class.redeploy(guests::prober(), "").await.expect(201);
    object.invoke("increment", json!({ "by": 1 })).await.expect(404);
    assert_eq!(
        object.invoke("run", json!([[{ "increment": ["count", 1] }]])).await.expect(200).json(),
        json!(["6"])
    );
    class.redeploy(guests::kv(), "").await.expect(201);
    assert_eq!(object.invoke("get", json!({ "key": "count" })).await.expect(200).bytes_as_json(), 6);
    class.redeploy(guests::counter(), "").await.expect(201);
    assert_eq!(object.invoke("increment", json!({ "by": 1 })).await.expect(200).json(), 7);
    assert_eq!(object.version().await, 3);
}

async fn limits_change(server: Server) {
    let class = Class::deploy(&server, "Swap", guests::prober(), "[class.limits]\nwrite_keys = 10").await;
    let eleven = json!({ "count": 11, "bytes": 1, "at-once": true });
    let write = || class.object("o").method("write-many").json(&eleven).send();
    write().await.problem(oprc_mesh::outcome::Code::WriteLimit);
    class.redeploy(guests::prober(), "[class.limits]\nwrite_keys = 11").await.expect(201);
    write().await.expect(204);
}

/// A call that began with the old code may end with it or run again with the new one; its effect is there once.
async fn while_a_call_runs(server: Server) {
    let class = Class::deploy(&server, "Swap", guests::prober_generation(1), "").await;
    let object = class.object("o");
    let nap = tokio::spawn({
        let object = object.clone();
        async move { object.invoke("nap", json!({ "ms": 1000 })).await.expect(204) }
    });
    server.logged(&["napping for 1000 ms", &class.name]).await;
    class.redeploy(guests::prober_generation(2), "").await.expect(201);
    let stamped = object.invoke("stamp", json!({})).await.expect(200);
    assert_eq!(stamped.json()["generation"], guests::generation(2));
    nap.await.unwrap();
    let document = object.get().await.expect(200).json();
    assert_eq!((&document["version"], &document["fields"]["dirty"]), (&json!(2), &json!(1)));
}
