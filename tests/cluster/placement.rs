//! What an operator sees, as the issue of many hosts tells it: hosts form one grid with a router and a gateway; when one
//! is killed calls soon go on; it comes back and catches up; a fourth gets its share. Zones never share a partition's
//! replicas as long as there are enough of them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use oprc_tests::{Class, Cluster, Ledger, Party, Picture, Plan, guests, seed, within};
use rand::Rng as _;
use serde_json::json;

use crate::alone;

/// The promise is 3 s on a machine of its own; a busy one gets more.
const FAILOVER_MAX: Duration = Duration::from_secs(10);
/// Leaders move back by transfer, no sooner than half a minute after they were elected elsewhere.
const BALANCE_SLACK: usize = 2;

#[test]
fn three_hosts_a_router_and_a_gateway() {
    alone(async {
        let cluster = Cluster::start(3, true).await;
        let _shown = cluster.show_logs_on_panic();
        let status = cluster.cli(&["status", "--output", "json"]).await.json();
        assert_eq!(status["nodes"].as_array().map(Vec::len), Some(3), "{status}");
        cluster.pictured("three hosts are balanced", |picture| picture.is_balanced(BALANCE_SLACK)).await;
        let ledger = Ledger::open(&cluster).await;
        let load = ledger.load(&cluster.gateways()[0], 4);
        ledger.progress(50).await;
        cluster.kill(Party::Host(1));
        ledger.progress(50).await;
        cluster.start_host(1).await;
        cluster.settled(3).await;
        cluster.add_host().await;
        cluster.settled(4).await;
        let balanced = |picture: &Picture| {
            picture.is_settled(3) && picture.alive().len() == 4 && picture.is_balanced(BALANCE_SLACK)
        };
        let picture = cluster.pictured("the fourth has its share", balanced).await;
        println!("hold and lead: {:?}", picture.shares());
        load.stop().await;
        ledger.check().await;
    });
}

/// `OPRC_FAILOVER_KILLS` sets how often; median and worst are printed.
#[test]
fn calls_go_on_soon_after_a_kill() {
    alone(async {
        let kills = std::env::var("OPRC_FAILOVER_KILLS").map_or(3, |text| text.parse().expect("a number"));
        let mut rng = seed::rng("calls_go_on_soon_after_a_kill");
        let cluster = Plan::of(3).start().await;
        let _shown = cluster.show_logs_on_panic();
        let class = Class::deploy(&cluster, "Failover", guests::counter(), "").await;
        let mut times = Vec::new();
        for kill in 0..kills {
            let object = class.object(format!("o{}", rng.random_range(0..1_000)));
            object.invoke("increment", json!({ "by": 1 })).await.expect(200);
            let leader = cluster.leader_of(&class.name, &object.id).await;
            cluster.kill(Party::Host(leader));
            let begin = Instant::now();
            within(Duration::from_mins(1), "a call succeeds", || async {
                let call = object.method("increment").json(&json!({ "by": 1 }));
                let reply = call.header("x-request-timeout-ms", 5_000).try_send().await.ok()?;
                (reply.status == 200).then_some(())
            })
            .await;
            times.push(begin.elapsed());
            println!("kill {kill} of the leader, host {leader}: {:?}", begin.elapsed());
            cluster.start_host(leader).await;
            cluster.settled(3).await;
        }
        times.sort();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        println!("failover over {kills} kills: median {median:?}, worst {worst:?}");
        assert!(worst < FAILOVER_MAX, "{times:?}");
    });
}

#[test]
fn zones_are_spread() {
    alone(async {
        let cluster = Plan::of(4).zones(&["east", "west", "north"]).start().await;
        let _shown = cluster.show_logs_on_panic();
        // the fourth stands in the first one's zone: no partition is on both
        let twins = [0, 3].map(|host| cluster.node_id(host).expect("a host has an id"));
        let apart = |picture: &Picture| {
            picture.partitions.iter().all(|partition| {
                let holders: BTreeSet<_> = partition.replicas.keys().collect();
                !twins.iter().all(|twin| holders.contains(twin))
            })
        };
        let picture = cluster.pictured("no partition is twice in one zone", apart).await;
        println!("hold and lead: {:?}", picture.shares());
    });
}
