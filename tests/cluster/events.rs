//! A reader of a class's events misses nothing while leaders die, and sees the versions of each object in order and without
//! a hole: also on the same connection, as long as its gateway lives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use oprc_tests::{Class, Events, Party, Plan, brief, guests, seed, within};
use rand::Rng as _;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::alone;

const OBJECTS: usize = 8;
const PATIENCE: Duration = Duration::from_mins(2);

type Versions = BTreeMap<String, u64>;

/// Follows a stream that must not break; shows how far each object is.
async fn follow(mut events: Events, told: watch::Sender<Versions>) {
    while let Some(block) = events.next().await {
        assert_eq!(block.name, "", "neither a gap nor an end: {block:?}");
        let (object, version, ..) = brief(&block.data);
        told.send_modify(|versions| {
            let before = versions.insert(object.clone(), version).unwrap_or(0);
            assert_eq!(version, before + 1, "{object} {block:?}");
        });
    }
    panic!("the stream broke");
}

#[test]
fn a_reader_misses_nothing_while_leaders_die() {
    alone(async {
        let mut rng = seed::rng("a_reader_misses_nothing_while_leaders_die");
        let cluster = Plan::of(3).gateways(2).start().await;
        let _shown = cluster.show_logs_on_panic();
        let class = Class::deploy(&cluster, "Told", guests::counter(), "").await;
        let path = format!("/classes/{}/events", class.name);
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = JoinSet::new();
        for n in 0..OBJECTS {
            let (object, stop) = (class.through(&cluster.gateway(1)).object(format!("o{n}")), stop.clone());
            writers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    // what came of it is what the stream tells
                    let call = object.method("increment").json(&json!({ "by": 1 }));
                    drop(call.header("x-request-timeout-ms", 3_000).try_send().await);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            });
        }
        let told = watch::Sender::new(Versions::new());
        let events = Events::watch(&cluster.gateway(0), &format!("{path}?since=oldest"), None).await;
        let following = tokio::spawn(follow(events, told.clone()));
        for _ in 0..4 {
            let object = format!("o{}", rng.random_range(0..OBJECTS));
            let leader = cluster.leader_of(&class.name, &object).await;
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..500))).await;
            cluster.kill(Party::Host(leader));
            // every object is told of again, also those that the host led
            let before = told.borrow().clone();
            within(PATIENCE, "events of every object go on", || async {
                assert!(!following.is_finished(), "the reader failed");
                let now = told.borrow().clone();
                let more = |object: &str| {
                    now.get(object).copied().unwrap_or(0) > before.get(object).copied().unwrap_or(0)
                };
                (0..OBJECTS).all(|n| more(&format!("o{n}"))).then_some(())
            })
            .await;
            cluster.start_host(leader).await;
            cluster.settled(3).await;
        }
        stop.store(true, Ordering::Relaxed);
        while writers.join_next().await.is_some() {}
        for n in 0..OBJECTS {
            let id = format!("o{n}");
            let version = class.object(&*id).version().await;
            within(PATIENCE, "all was told", || async {
                assert!(!following.is_finished(), "the reader failed");
                (told.borrow().get(&id) >= Some(&version)).then_some(()) // a write that nobody waits for may follow
            })
            .await;
        }
        following.abort();
    });
}
