//! A host that lost its disk, or missed everything, gets all of it from the others while they are written to, also when it
//! dies in the middle; what it then holds is what the others hold.

use std::time::Duration;

use bytes::Bytes;
use oprc_tests::{Class, Cluster, Consistency, Ledger, Party, Plan, eventually, guests, seed};
use rand::Rng as _;
use tokio::task::JoinSet;

use crate::alone;

const OBJECTS: usize = 160;
const BYTES: usize = 64 * 1024;

/// The content of an object's field: large, its own, and not to be compressed away.
fn content(number: usize) -> Bytes {
    let mut word = 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(number as u64 + 1);
    let mut next = || {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        word
    };
    (0..BYTES / 8).flat_map(|_| next().to_le_bytes()).collect()
}

async fn fill(class: &Class) {
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let class = class.clone();
        writers.spawn(async move {
            for number in (writer..OBJECTS).step_by(8) {
                let put = class.object(format!("o{number}")).field("PUT", "blob").octets(content(number));
                eventually("a field is put", || async {
                    let reply = put.clone().try_send().await.ok()?;
                    (![503, 504].contains(&reply.status)).then(|| reply.ok())
                })
                .await;
            }
        });
    }
    writers.join_all().await;
}

/// Reads everything from `host` alone, through a gateway that reaches nobody else.
async fn holds_everything(cluster: &Cluster, gateway: usize, host: usize, class: &Class) {
    let side = [Party::Gateway(gateway), Party::Host(host)];
    let rest: Vec<Party> = cluster.parties().into_iter().filter(|party| !side.contains(party)).collect();
    cluster.part(&side, &rest);
    let query = Consistency::Stale.query();
    for number in 0..OBJECTS {
        let object = class.through(&cluster.gateway(gateway)).object(format!("o{number}"));
        let read = eventually("the host answers stale reads on its own", || async {
            let call = object.class.http.get(format!("{}/fields/blob{query}", object.path()));
            let reply = call.header("x-request-timeout-ms", 2_000).try_send().await.ok()?;
            (reply.status != 503 && reply.status != 504).then_some(reply)
        })
        .await
        .expect(200);
        assert!(read.body == content(number), "o{number} holds something else");
    }
    cluster.heal();
}

#[test]
fn a_wiped_disk_is_filled_again_under_load() {
    alone(async {
        let mut rng = seed::rng("a_wiped_disk_is_filled_again_under_load");
        // one that does not come back as itself is soon replaced
        let cluster = Plan::of(3).gateways(2).cuttable().host_args(&["--grace", "3s"]).start().await;
        let _shown = cluster.show_logs_on_panic();
        let class = Class::deploy(&cluster, "Blob", guests::prober(), "").await;
        fill(&class).await;
        let ledger = Ledger::open(&cluster).await;
        let load = ledger.load(&cluster.gateways()[0], 6);
        let host = rng.random_range(0..3);
        cluster.kill(Party::Host(host));
        ledger.progress(200).await;
        cluster.wipe(host);
        cluster.start_host(host).await;
        for _ in 0..3 {
            // dies somewhere on the way
            tokio::time::sleep(Duration::from_millis(rng.random_range(500..3_000))).await;
            cluster.kill(Party::Host(host));
            cluster.start_host(host).await;
        }
        cluster.settled(3).await;
        load.stop().await;
        cluster.caught_up(3).await; // cut off, it learns nothing more
        holds_everything(&cluster, 1, host, &class).await;
        cluster.settled(3).await;
        ledger.check().await;
    });
}

/// It kept its disk but was away while everything was written, more than the others keep in their logs.
#[test]
fn one_that_missed_everything_catches_up_under_load() {
    alone(async {
        let mut rng = seed::rng("one_that_missed_everything_catches_up_under_load");
        let cluster = Plan::of(3).gateways(2).cuttable().start().await;
        let _shown = cluster.show_logs_on_panic();
        let host = rng.random_range(0..3);
        let ledger = Ledger::open(&cluster).await;
        cluster.kill(Party::Host(host));
        let class = Class::deploy(&cluster, "Blob", guests::prober(), "").await;
        for _ in 0..2 {
            fill(&class).await;
        }
        let load = ledger.load(&cluster.gateways()[0], 6);
        ledger.progress(100).await;
        cluster.start_host(host).await;
        cluster.settled(3).await;
        load.stop().await;
        cluster.caught_up(3).await; // cut off, it learns nothing more
        holds_everything(&cluster, 1, host, &class).await;
        cluster.settled(3).await;
        ledger.check().await;
    });
}
