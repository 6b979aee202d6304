//! A canary is the same objects' on every host and through every gateway, whoever is down, cut off or lost meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use oprc_tests::{Class, Cluster, Party, Plan, guests, within};
use serde_json::json;

use crate::alone;

const OBJECTS: usize = 48;
const PATIENCE: Duration = Duration::from_mins(1);

/// The objects that run the code of `generation`, which each gateway finds alike.
async fn running(cluster: &Cluster, class: &Class, generation: u32) -> BTreeSet<String> {
    let mut found = Vec::new();
    for gateway in cluster.gateways() {
        let class = class.through(&gateway);
        let mut running = BTreeSet::new();
        for id in (0..OBJECTS).map(|n| format!("o{n}")) {
            let object = class.object(id.as_str());
            let stamp = || async {
                let reply = object.invoke("stamp", json!({})).await;
                (reply.status == 200).then(|| reply.json()["generation"].as_str().unwrap().to_owned())
            };
            if within(PATIENCE, "the object answers", stamp).await == guests::generation(generation) {
                running.insert(id);
            }
        }
        found.push(running);
    }
    assert!(found.windows(2).all(|pair| pair[0] == pair[1]), "{found:?}");
    found.swap_remove(0)
}

fn of_canary(class: &Class, share: u32) -> BTreeSet<String> {
    (0..OBJECTS).map(|n| format!("o{n}")).filter(|id| class.is_canary(id, share)).collect()
}

/// A host that was away leads objects of both kinds when it is back, and never had the canary's component.
#[test]
fn a_host_that_was_away_runs_the_same() {
    alone(async {
        let cluster = Plan::of(3).gateways(2).start().await;
        let _shown = cluster.show_logs_on_panic();
        let class = Class::deploy(&cluster, "Away", guests::prober_generation(1), "").await;
        assert_eq!(running(&cluster, &class, 1).await.len(), OBJECTS);
        let leader = cluster.catalog_leader().await;
        let away = cluster.hosts().into_iter().find(|host| *host != leader).unwrap();
        cluster.kill(Party::Host(away));
        class.canary(guests::prober_generation(2), "", 30).await.expect(201);
        assert_eq!(running(&cluster, &class, 2).await, of_canary(&class, 30), "by those that are left");
        cluster.start_host(away).await;
        let id = cluster.node_id(away).unwrap();
        cluster
            .pictured("it leads its share again", |picture| {
                picture.shares().get(id.as_str()).is_some_and(|(_, leads)| *leads > 1)
            })
            .await;
        assert_eq!(running(&cluster, &class, 2).await, of_canary(&class, 30));
        assert_eq!(class.promote().await.expect(201).json()["version"], 2);
        assert_eq!(running(&cluster, &class, 2).await.len(), OBJECTS);
    });
}

/// Whoever hears nothing of a canary serves nobody; healed, it does as the others.
#[test]
fn a_host_that_was_cut_off_runs_the_same() {
    alone(async {
        let cluster = Plan::of(3).gateways(1).cuttable().start().await;
        let _shown = cluster.show_logs_on_panic();
        let class = Class::deploy(&cluster, "Cut", guests::prober_generation(1), "").await;
        assert_eq!(running(&cluster, &class, 1).await.len(), OBJECTS);
        let leader = cluster.catalog_leader().await;
        let alone = cluster.hosts().into_iter().find(|host| *host != leader).unwrap();
        let rest: Vec<_> =
            cluster.parties().into_iter().filter(|party| *party != Party::Host(alone)).collect();
        cluster.part(&[Party::Host(alone)], &rest);
        within(PATIENCE, "the rest takes the canary", || async {
            let reply = class.canary(guests::prober_generation(2), "", 30).await;
            matches!(reply.status, 200 | 201).then_some(())
        })
        .await;
        assert_eq!(running(&cluster, &class, 2).await, of_canary(&class, 30));
        cluster.heal();
        cluster.settled(3).await;
        assert_eq!(running(&cluster, &class, 2).await, of_canary(&class, 30));
    });
}

/// The catalog's leader dies somewhere in a deployment of a canary: it is everywhere or nowhere.
#[test]
fn a_canary_cut_short_is_everywhere_or_nowhere() {
    alone(async {
        let cluster = Plan::of(3).gateways(2).start().await;
        let _shown = cluster.show_logs_on_panic();
        let class = Class::deploy(&cluster, "Whole", guests::prober_generation(1), "").await;
        let mut begun = 0;
        for round in 0..4_u64 {
            let leader = cluster.catalog_leader().await;
            let deploying = tokio::spawn({
                let class = class.clone();
                async move { class.canary(guests::prober_generation(2), "", 30).await.status }
            });
            tokio::time::sleep(Duration::from_millis(round * 40)).await;
            cluster.kill(Party::Host(leader));
            let status = deploying.await.unwrap();
            // one that was not acknowledged may be taken by the next leader at any time
            if status == 201 {
                let seen = running(&cluster, &class, 2).await;
                assert_eq!(
                    seen,
                    of_canary(&class, 30),
                    "round {round}: an acknowledged canary is everywhere"
                );
            }
            cluster.start_host(leader).await;
            cluster.settled(3).await;
            let after = running(&cluster, &class, 2).await;
            assert!(status != 201 || !after.is_empty(), "round {round}: an acknowledged canary is lost");
            assert!(after.is_empty() || after == of_canary(&class, 30), "round {round}: {after:?}");
            if !after.is_empty() {
                begun += 1;
                class.roll_back(None).await.expect(201);
                assert!(running(&cluster, &class, 2).await.is_empty());
            }
        }
        println!("{begun} of 4 canaries had begun");
    });
}
