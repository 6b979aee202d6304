//! The catalog's leader dies while replicas are being moved: whoever leads next brings the move to its end, and nothing
//! is lost on the way.

use std::time::Duration;

use oprc_tests::{Class, Ledger, Party, Picture, Plan, guests, seed};
use rand::Rng as _;

use crate::alone;

#[test]
fn killed_during_a_placement_change() {
    alone(async {
        let mut rng = seed::rng("killed_during_a_placement_change");
        let cluster = Plan::of(3).start().await;
        let _shown = cluster.show_logs_on_panic();
        let ledger = Ledger::open(&cluster).await;
        let load = ledger.load(&cluster.gateways()[0], 6);
        let fourth = cluster.add_host().await;
        for _ in 0..2 {
            let moves = |picture: &Picture| {
                let id = cluster.node_id(fourth).unwrap_or_default();
                picture.partitions.iter().any(|partition| partition.replicas.contains_key(&id))
            };
            cluster.pictured("partitions move to the fourth", moves).await;
            let leader = cluster.catalog_leader().await;
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..500))).await;
            cluster.kill(Party::Host(leader));
            ledger.progress(100).await;
            cluster.start_host(leader).await;
            ledger.progress(100).await;
        }
        let picture = cluster.settled(4).await;
        assert!(picture.shares().values().all(|(holds, _)| *holds > 0), "{:?}", picture.shares());
        load.stop().await;
        ledger.check().await;
        // what is deployed now reaches every host
        Class::deploy(&cluster, "After", guests::counter(), "").await;
    });
}
