//! Older code never writes after newer code has: on each object, in the order of its versions, the generation that wrote
//! never goes back, however often the class is deployed meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use oprc_tests::{Class, Server, both, guests};
use serde_json::json;
use tokio::task::JoinSet;

both!(generations_never_go_back);

async fn generations_never_go_back(server: Server) {
    let class = Class::deploy(&server, "Fence", guests::prober_generation(1), "").await;
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for _ in 0..12 {
        let (class, over) = (class.clone(), Arc::clone(&over));
        clients.spawn(async move {
            let mut seen = Vec::new();
            for number in 0.. {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                let id = number % 3;
                let reply = class.object(format!("o{id}")).invoke("stamp", json!({})).await.expect(200);
                seen.push((id, reply.version(), reply.json()["generation"].as_str().unwrap().to_owned()));
            }
            seen
        });
    }
    for generation in 2..=12 {
        class.redeploy(guests::prober_generation(generation), "").await.expect(201);
    }
    over.store(true, Ordering::SeqCst);
    let mut seen: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
    seen.sort();
    for pair in seen.windows(2) {
        let ((object, version, older), (next_object, next_version, newer)) = (&pair[0], &pair[1]);
        if object == next_object {
            assert_eq!(version + 1, *next_version, "each version is one stamp");
            assert!(older <= newer, "o{object} at version {next_version}: {newer} after {older}");
        }
    }
}
