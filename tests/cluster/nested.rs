//! Calls between objects that live on different hosts: the chain goes along, and through the deaths of leaders each call
//! takes effect once.

use std::collections::BTreeMap;
use std::time::Duration;

use oprc_tests::{Bank, Class, Party, Picture, Plan, guests, seed};
use rand::Rng as _;
use serde_json::json;

use crate::alone;

/// For a whole chain: its outermost turn waits for all others.
const WALL_MS: u64 = 60_000;
/// Among so many each host leads some.
const OBJECTS: u32 = 64;

#[test]
fn a_chain_goes_through_all_hosts() {
    alone(async {
        let cluster = Plan::of(3).start().await;
        let _shown = cluster.show_logs_on_panic();
        let limits = format!("[class.limits]\nwall_ms = {WALL_MS}");
        let class = Class::deploy(&cluster, "Call", guests::caller(), &limits).await;
        let by_leader = |picture: &Picture| -> BTreeMap<String, String> {
            let of = |n: u32| format!("o{n}");
            (1..=OBJECTS)
                .filter_map(|n| Some((picture.of(&class.name, &of(n)).leader.clone()?, of(n))))
                .collect()
        };
        // two may lead everything for a while
        let picture =
            cluster.pictured("the objects are spread", |picture| by_leader(picture).len() == 3).await;
        let mut path: Vec<String> = by_leader(&picture).into_values().collect();
        path.extend((0..).map(|n| format!("more{n}")).take(16 - path.len()));
        let walk = async |path: &[String]| {
            let arguments = json!({ "class": class.name, "path": path });
            let call = class.object("o0").method("walk").json(&arguments);
            call.header("x-request-timeout-ms", WALL_MS).send().await.expect(200).json()
        };
        assert_eq!(walk(&path).await, "17");
        let deeper = [&path[..], &["deeper".to_owned()]].concat();
        assert_eq!(walk(&deeper).await, "call-depth");
        let around = [&path[..7], &path[2..3]].concat();
        assert_eq!(walk(&around).await, "reentrant-call");
    });
}

#[test]
fn money_is_neither_lost_nor_made_through_leader_kills() {
    alone(async {
        let mut rng = seed::rng("money_through_leader_kills");
        let cluster = Plan::of(3).start().await;
        let _shown = cluster.show_logs_on_panic();
        let bank = Bank::open(&cluster, guests::account(), 6).await;
        let transfers = bank.transfers(120, Duration::from_secs(12), &mut rng);
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(rng.random_range(500..2_500))).await;
            let account = format!("a{}", rng.random_range(0..6));
            let host = cluster.leader_of(&bank.class.name, &account).await;
            cluster.kill(Party::Host(host));
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..1_500))).await;
            cluster.start_host(host).await;
            cluster.settled(3).await;
        }
        let transfers = transfers.join_all().await;
        bank.check(&transfers).await;
    });
}
