//! A cluster of one is a server like any other: the harness itself, on what needs no second host.

use oprc_tests::{Cluster, Ledger, Party, Registers, seed};

use crate::alone;

#[test]
fn it_serves_and_comes_back() {
    alone(async {
        let cluster = Cluster::start(1, false).await;
        let _shown = cluster.show_logs_on_panic();
        let mut rng = seed::rng("it_serves_and_comes_back");
        let registers = Registers::open(&cluster, 2).await;
        let ledger = Ledger::open(&cluster).await;
        assert_eq!(cluster.leader_of(&registers.class().name, "r0").await, 0);
        let load = registers.load(&cluster.gateways(), 8, &mut rng).await;
        let appends = ledger.load(&cluster.gateways()[0], 4);
        for _ in 0..2 {
            registers.progress(100).await;
            cluster.kill(Party::Host(0));
            cluster.start_host(0).await;
        }
        registers.progress(100).await;
        ledger.progress(20).await;
        appends.stop().await;
        load.stop().await;
        registers.check().await;
        ledger.check().await;
        assert!(cluster.terminate(Party::Host(0)).await.success());
    });
}
