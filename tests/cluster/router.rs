//! Hosts and gateways that reach the router alone work all the same; those that reach each other do not need it any more.

use oprc_tests::{Ledger, Party, Plan};

use crate::alone;

#[test]
fn the_router_alone_is_enough() {
    alone(async {
        let cluster = Plan::of(3).router().cuttable().start().await;
        let _shown = cluster.show_logs_on_panic();
        let ledger = Ledger::open(&cluster).await;
        let load = ledger.load(&cluster.gateways()[0], 4);
        ledger.progress(50).await;
        let peers: Vec<Party> =
            cluster.parties().into_iter().filter(|party| *party != Party::Router).collect();
        cluster.part(&peers, &peers);
        // what was under way is over after this many
        ledger.progress(200).await;
        cluster.settled(3).await;
        cluster.heal();
        ledger.progress(50).await;
        load.stop().await;
        ledger.check().await;
    });
}

#[test]
fn peers_go_on_without_the_router() {
    alone(async {
        let cluster = Plan::of(3).router().start().await;
        let _shown = cluster.show_logs_on_panic();
        let ledger = Ledger::open(&cluster).await;
        let load = ledger.load(&cluster.gateways()[0], 4);
        ledger.progress(50).await;
        cluster.kill(Party::Router);
        ledger.progress(200).await;
        cluster.start_router().await;
        ledger.progress(50).await;
        load.stop().await;
        cluster.settled(3).await;
        ledger.check().await;
    });
}
