//! The leader dies right after it accepted asynchronous calls: another one runs each of them once, and whoever waits for one
//! at a gateway is answered.

use std::time::Duration;

use oprc_tests::{Class, Object, Party, Plan, guests, within};
use serde_json::json;
use tokio::task::JoinSet;

use crate::alone;

const CALLS: u64 = 40;
const ROUNDS: u64 = 3;
const PATIENCE: Duration = Duration::from_mins(2);

#[test]
fn the_leader_dies_after_it_accepted() {
    alone(async {
        let cluster = Plan::of(3).gateways(2).start().await;
        let _shown = cluster.show_logs_on_panic();
        cluster.settled(3).await;
        let class = Class::deploy(&cluster, "Later", guests::prober(), "").await;
        let object = class.object("o");
        for round in 0..ROUNDS {
            let locations = submit(&object, round).await;
            let victim = cluster.leader_of(&class.name, "o").await;
            cluster.kill(Party::Host(victim));
            // through the other gateway, which has never heard of them
            let mut results = wait(&class.through(&cluster.gateways()[1]), locations).await;
            results.sort_unstable();
            let first = round * CALLS + 1;
            assert_eq!(results, (first..first + CALLS).collect::<Vec<_>>(), "each once");
            cluster.start_host(victim).await;
            cluster.settled(3).await;
        }
        assert_eq!(object.fields().await, json!({ "n": ROUNDS * CALLS }));
    });
}

/// Has calls accepted; one whose answer is lost is made again under its key.
async fn submit(object: &Object, round: u64) -> Vec<String> {
    let mut calls = JoinSet::new();
    for number in 0..CALLS {
        let object = object.clone();
        calls.spawn(within(PATIENCE, "a call is accepted", move || {
            let call = object.method("add").json(&json!({ "by": 1 })).header("prefer", "respond-async");
            let call = call.header("idempotency-key", format!("{round}-{number}"));
            async move {
                let reply = call.try_send().await.ok().filter(|reply| reply.status == 202)?;
                Some(reply.header("location").unwrap().to_owned())
            }
        }));
    }
    calls.join_all().await
}

/// Waits for all results at once.
async fn wait(class: &Class, locations: Vec<String>) -> Vec<u64> {
    let mut waits = JoinSet::new();
    for location in locations {
        let http = class.http.clone();
        waits.spawn(within(PATIENCE, "a call is decided", move || {
            let look = http.get(format!("{location}?wait=20s"));
            async move {
                let reply = look.try_send().await.ok()?;
                if reply.status == 503 {
                    return None;
                }
                let invocation = reply.expect(200).json();
                (invocation["state"] == "done").then(|| invocation["result"].as_u64().unwrap())
            }
        }));
    }
    waits.join_all().await
}
