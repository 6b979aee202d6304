//! A change of a class's code is all or nothing across the cluster: whoever is lost in the middle, every host runs the same
//! code afterwards; and what a rollback brings back is had also by hosts that never held it.

use std::collections::BTreeSet;
use std::time::Duration;

use oprc_tests::{Class, Cluster, Party, Plan, guests, within};
use serde_json::json;

use crate::alone;

const OBJECTS: usize = 24;
const PATIENCE: Duration = Duration::from_mins(1);

/// The generations that answer for objects on all partitions, through each gateway.
async fn generations(cluster: &Cluster, class: &Class) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for gateway in cluster.gateways() {
        let class = class.through(&gateway);
        for n in 0..OBJECTS {
            let object = class.object(format!("o{n}"));
            let stamp = || async {
                let reply = object.invoke("stamp", json!({})).await;
                (reply.status == 200).then(|| reply.json()["generation"].as_str().unwrap().to_owned())
            };
            seen.insert(within(PATIENCE, "the object answers", stamp).await);
        }
    }
    seen
}

#[test]
fn a_deploy_cut_short_is_everywhere_or_nowhere() {
    alone(async {
        let cluster = Plan::of(3).gateways(2).start().await;
        let _shown = cluster.show_logs_on_panic();
        let class = Class::deploy(&cluster, "Whole", guests::prober_generation(1), "").await;
        let mut current = 1;
        for round in 0..4_u32 {
            let next = round + 2;
            let leader = cluster.catalog_leader().await;
            let deploying = tokio::spawn({
                let class = class.clone();
                async move { class.redeploy(guests::prober_generation(next), "").await.status }
            });
            tokio::time::sleep(Duration::from_millis(u64::from(round) * 40)).await;
            cluster.kill(Party::Host(leader));
            let status = deploying.await.unwrap();
            let seen = generations(&cluster, &class).await;
            cluster.start_host(leader).await;
            cluster.settled(3).await;
            let after = generations(&cluster, &class).await;
            assert_eq!(after.len(), 1, "round {round}: {after:?}");
            assert!(
                status != 201 || seen == BTreeSet::from([guests::generation(next)]),
                "{status}: {seen:?}"
            );
            let known = [current, next].into_iter().find(|known| after.contains(&guests::generation(*known)));
            current = known.unwrap_or_else(|| panic!("round {round}: {after:?} after {current}"));
            assert!(status != 201 || current == next, "round {round}: an acknowledged deploy is lost");
        }
    });
}

#[test]
fn a_rollback_reaches_hosts_that_never_had_the_component() {
    alone(async {
        let cluster = Plan::of(3).gateways(2).start().await;
        let _shown = cluster.show_logs_on_panic();
        let class = Class::deploy(&cluster, "Back", guests::prober_generation(1), "").await;
        class.redeploy(guests::prober_generation(2), "").await.expect(201);
        // it joins when only the second one is in use
        let late = cluster.add_host().await;
        cluster.settled(4).await;
        let late = cluster.node_id(late).unwrap();
        cluster
            .pictured("the late host leads its share", |picture| {
                picture.shares().get(late.as_str()).is_some_and(|(_, leads)| *leads > 1)
            })
            .await;
        assert_eq!(generations(&cluster, &class).await, BTreeSet::from([guests::generation(2)]));
        assert_eq!(class.roll_back(None).await.expect(201).json()["version"], 3);
        assert_eq!(generations(&cluster, &class).await, BTreeSet::from([guests::generation(1)]));
    });
}
