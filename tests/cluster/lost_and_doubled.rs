//! No acknowledged write is lost and none takes effect twice, and none of which was said that it had not run is there,
//! through kills, pauses and partitions in random order. What is compared, and how, stands in `Ledger`.

use oprc_tests::{Ledger, Plan, seed};

use crate::alone;
use crate::faults::{Fault, hold};

#[test]
fn through_random_faults() {
    alone(async {
        let mut rng = seed::rng("through_random_faults");
        let cluster = Plan::of(3).gateways(2).cuttable().start().await;
        let _shown = cluster.show_logs_on_panic();
        let ledger = Ledger::open(&cluster).await;
        let loads: Vec<_> = cluster.gateways().iter().map(|http| ledger.load(http, 6)).collect();
        for _ in 0..6 {
            ledger.progress(100).await;
            let fault = Fault::any(&mut rng, 3, 2);
            println!("{fault:?}");
            fault.strike(&cluster, hold(&mut rng)).await;
        }
        ledger.progress(100).await;
        for load in loads {
            load.stop().await;
        }
        cluster.settled(3).await;
        println!("{} acknowledged, {} of unknown outcome", ledger.acknowledged(), ledger.unknown());
        ledger.check().await;
    });
}
