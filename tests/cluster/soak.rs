//! Everything that can go wrong, in random order and sometimes two at once, for `OPRC_SOAK_SECONDS`: a moment in
//! `make test`, at least 5 minutes in `make soak`. All that clients saw is linearizable, and no write is lost or doubled.

use std::time::{Duration, Instant};

use oprc_tests::{Consistency, Ledger, Plan, Registers, seed};
use rand::Rng as _;

use crate::alone;
use crate::faults::{Fault, hold};

/// Faults after which what was seen is checked, so that a long run's history is checked in pieces.
const FAULTS_PER_ROUND: usize = 5;
const HOSTS: usize = 3;
const GATEWAYS: usize = 2;

fn length() -> Duration {
    let seconds =
        std::env::var("OPRC_SOAK_SECONDS").map_or(10, |text| text.parse().expect("a number of seconds"));
    Duration::from_secs(seconds)
}

#[test]
#[ignore = "make soak runs it"]
fn soak() {
    alone(async {
        let mut rng = seed::rng("soak");
        let end = Instant::now() + length();
        let cluster = Plan::of(HOSTS).gateways(GATEWAYS).cuttable().start().await;
        let _shown = cluster.show_logs_on_panic();
        let ledger = Ledger::open(&cluster).await;
        let reads = [Consistency::Lease, Consistency::Linearizable, Consistency::Stale];
        for round in 0.. {
            let registers = Registers::open(&cluster, 6).await.reads(&reads);
            let load = registers.load(&cluster.gateways(), 12, &mut rng).await;
            let appends: Vec<_> = cluster.gateways().iter().map(|http| ledger.load(http, 3)).collect();
            for _ in 0..FAULTS_PER_ROUND {
                registers.progress(100).await;
                ledger.progress(20).await;
                let fault = Fault::any(&mut rng, HOSTS, GATEWAYS);
                let second = rng.random_bool(0.25).then(|| Fault::any(&mut rng, HOSTS, GATEWAYS));
                println!("round {round}: {fault:?}, {second:?}");
                fault.strike_with(second.as_ref(), &cluster, hold(&mut rng)).await;
            }
            registers.progress(100).await;
            for appends in appends {
                appends.stop().await;
            }
            load.stop().await;
            cluster.settled(HOSTS).await;
            registers.check().await;
            ledger.check().await;
            println!("round {round}: {} appends, {} unknown", ledger.acknowledged(), ledger.unknown());
            if Instant::now() > end {
                break;
            }
        }
    });
}
