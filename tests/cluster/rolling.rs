//! SIGTERM hands over first: a rolling restart of all hosts under load refuses some calls, each of which certainly did not
//! run, and loses none.

use oprc_tests::{Ledger, Party, Plan};

use crate::alone;

#[test]
fn a_rolling_restart_loses_no_call() {
    alone(async {
        let cluster = Plan::of(3).start().await;
        let _shown = cluster.show_logs_on_panic();
        // what takes longer on a busy machine is no loss
        let ledger = Ledger::open(&cluster).await.deadline_ms(60_000);
        let load = ledger.load(&cluster.gateways()[0], 8);
        for host in 0..3 {
            ledger.progress(100).await;
            let status = cluster.terminate(Party::Host(host)).await;
            assert!(status.success(), "host {host} ended with {status}");
            ledger.progress(100).await;
            cluster.start_host(host).await;
            cluster.settled(3).await;
        }
        ledger.progress(100).await;
        load.stop().await;
        ledger.check().await;
        assert_eq!(ledger.unknown(), 0, "every call was answered, or certainly did not run");
    });
}
