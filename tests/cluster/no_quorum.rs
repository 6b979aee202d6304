//! With two of three hosts gone, writes are refused soon and say why, and nothing is acknowledged falsely; when they are
//! back, all is well by itself.

use std::time::{Duration, Instant};

use oprc_mesh::outcome::Code;
use oprc_tests::{Cluster, Ledger, Party, Plan};
use serde_json::json;

use crate::alone;

/// Well before the deadline that each call has here, on a busy machine too.
const SOON: Duration = Duration::from_secs(20);
const DEADLINE_MS: u64 = 60_000;

/// Every write is refused, soon, and says whether it ran.
async fn writes_are_refused(ledger: &Ledger) {
    for number in 0..12 {
        let begin = Instant::now();
        let object = ledger.class.object(format!("refused{number}"));
        let call = object.method("append").json(&json!({ "token": "never" }));
        let reply = call.header("x-request-timeout-ms", DEADLINE_MS).send().await;
        let took = begin.elapsed();
        let code = reply.json()["code"].as_str().unwrap_or_default().to_owned();
        let code = [Code::NoQuorum, Code::Unavailable].into_iter().find(|known| known.as_str() == code);
        let problem = reply.problem(code.unwrap_or(Code::NoQuorum));
        assert!(took < SOON, "it took {took:?}: {problem}");
    }
}

async fn without_quorum(cluster: &Cluster, away: impl Fn(&Cluster), back: impl AsyncFn(&Cluster)) {
    let ledger = Ledger::open(cluster).await;
    let load = ledger.load(&cluster.gateways()[0], 6);
    ledger.progress(100).await;
    away(cluster);
    writes_are_refused(&ledger).await;
    let before = ledger.acknowledged();
    writes_are_refused(&ledger).await;
    assert_eq!(ledger.acknowledged(), before, "nothing is acknowledged without a quorum");
    back(cluster).await;
    ledger.progress(100).await;
    load.stop().await;
    cluster.settled(3).await;
    ledger.check().await;
    // a write that was refused as `not-run` never comes to be, and an unknown one at the most once
    for number in 0..12 {
        let reply = ledger.class.object(format!("refused{number}")).get().await;
        if reply.status != 404 {
            let document = reply.expect(200).json();
            assert!(document["fields"]["n"].as_u64().is_some_and(|n| n <= 2), "{document}");
        }
    }
}

#[test]
fn two_of_three_killed() {
    alone(async {
        let cluster = Plan::of(3).start().await;
        let _shown = cluster.show_logs_on_panic();
        let away = |cluster: &Cluster| [0, 2].into_iter().for_each(|host| cluster.kill(Party::Host(host)));
        without_quorum(&cluster, away, async |cluster: &Cluster| {
            cluster.start_host(0).await;
            cluster.start_host(2).await;
        })
        .await;
    });
}

/// All three run, and none reaches another: each for itself has no quorum, whatever it led.
#[test]
fn all_three_apart() {
    alone(async {
        let cluster = Plan::of(3).cuttable().start().await;
        let _shown = cluster.show_logs_on_panic();
        let hosts = [0, 1, 2].map(Party::Host);
        let away = |cluster: &Cluster| cluster.part(&hosts, &hosts);
        without_quorum(&cluster, away, async |cluster: &Cluster| cluster.heal()).await;
    });
}
