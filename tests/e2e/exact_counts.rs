//! No increment is lost and none counts twice, however many clients there are; an object's version is the number of
//! its commits.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use oprc_tests::{Class, Server, both, guests, seed};
use rand::Rng as _;
use serde_json::json;
use tokio::task::JoinSet;

both!(one_object, a_hundred_objects, calls_and_writes_together);

const CLIENTS: u64 = 64;
const CALLS: u64 = 50;

async fn one_object(server: Server) {
    let class = Class::deploy(&server, "Counter", guests::counter(), "").await;
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let alice = class.object("alice");
        clients.spawn(async move {
            let mut seen = Vec::new();
            for _ in 0..CALLS {
                let reply = alice.invoke("increment", json!({ "by": 1 })).await.expect(200);
                let count = reply.json().as_u64().unwrap();
                assert_eq!(reply.version(), count, "each commit is one increment");
                seen.push(count);
            }
            assert!(seen.is_sorted(), "one client's calls take effect in the order in which it made them");
            seen
        });
    }
    let seen: BTreeSet<u64> = clients.join_all().await.into_iter().flatten().collect();
    assert_eq!(
        seen,
        (1..=CLIENTS * CALLS).collect(),
        "each call saw a count of its own, and none is missing"
    );
    let alice = class.object("alice");
    assert_eq!(alice.invoke("value", json!({})).await.expect(200).json(), CLIENTS * CALLS);
    assert_eq!(alice.version().await, CLIENTS * CALLS);
}

async fn a_hundred_objects(server: Server) {
    let class = Class::deploy(&server, "Counter", guests::counter(), "").await;
    let mut rng = seed::rng("a_hundred_objects");
    let sums: Arc<Vec<AtomicU64>> = Arc::new((0..100).map(|_| AtomicU64::new(0)).collect());
    let calls: Arc<Vec<AtomicU64>> = Arc::new((0..100).map(|_| AtomicU64::new(0)).collect());
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let plan: Vec<(usize, u64)> =
            (0..CALLS).map(|_| (rng.random_range(0..100), rng.random_range(1..10))).collect();
        let (class, sums, calls) = (class.clone(), Arc::clone(&sums), Arc::clone(&calls));
        clients.spawn(async move {
            for (object, by) in plan {
                class.object(format!("o{object}")).invoke("increment", json!({ "by": by })).await.expect(200);
                sums[object].fetch_add(by, Ordering::Relaxed);
                calls[object].fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    clients.join_all().await;
    for (number, (sum, calls)) in sums.iter().zip(calls.iter()).enumerate() {
        let (sum, calls) = (sum.load(Ordering::Relaxed), calls.load(Ordering::Relaxed));
        let object = class.object(format!("o{number}"));
        if calls == 0 {
            object.get().await.expect(404);
            continue;
        }
        assert_eq!(object.invoke("value", json!({})).await.expect(200).json(), sum, "object {number}");
        assert_eq!(object.version().await, calls, "object {number}");
    }
}

/// Writes over REST are turns too: they queue with the calls, and no call's increment is lost between them.
async fn calls_and_writes_together(server: Server) {
    let class = Class::deploy(&server, "Counter", guests::prober(), "").await;
    let mut clients = JoinSet::new();
    for client in 0..16u64 {
        let object = class.object("shared");
        clients.spawn(async move {
            for turn in 0..30u64 {
                match (client + turn) % 4 {
                    0 => {
                        object.field("PUT", &format!("f{client}")).octets(turn.to_string()).send().await.ok()
                    }
                    1 => object.patch(&json!({ format!("p{client}"): turn })).send().await.ok(),
                    _ => object.invoke("add", json!({ "by": 1 })).await.expect(200),
                };
            }
        });
    }
    clients.join_all().await;
    let object = class.object("shared").get().await.expect(200).json();
    assert_eq!(object["version"], 16 * 30);
    let adds = (0..16)
        .flat_map(|client| (0..30).map(move |turn| (client + turn) % 4))
        .filter(|kind| *kind > 1)
        .count();
    assert_eq!(object["fields"]["n"], adds);
}
