//! Whatever happens to hosts and to the network between them, concurrent reads, additions and compare-and-sets through
//! several gateways look as if each took effect at one moment between its invocation and its answer; and afterwards
//! everything answers again by itself.

use oprc_tests::{Cluster, Consistency, Plan, Registers, seed};
use rand::Rng as _;
use rand::rngs::StdRng;

use crate::faults::{Fault, hold};
use crate::{PAST_THE_LEASE, alone};

const HOSTS: usize = 3;
const GATEWAYS: usize = 2;
const CLIENTS: u32 = 12;
const READS: &[Consistency] = &[Consistency::Lease, Consistency::Linearizable, Consistency::Stale];

/// Runs clients against three hosts while `disturb` does its worst, then checks what they saw.
async fn under<F: Future<Output = ()>>(
    name: &str,
    plan: Plan,
    disturb: impl FnOnce(Cluster, Registers, StdRng) -> F,
) {
    let mut rng = seed::rng(name);
    let cluster = plan.gateways(GATEWAYS).start().await;
    let _shown = cluster.show_logs_on_panic();
    let registers = Registers::open(&cluster, 4).await.reads(READS);
    let load = registers.load(&cluster.gateways(), CLIENTS, &mut rng).await;
    registers.progress(200).await;
    disturb(cluster.clone(), registers.clone(), rng).await;
    cluster.ready().await;
    registers.progress(200).await;
    load.stop().await;
    cluster.settled(HOSTS).await;
    registers.check().await;
}

/// The host that leads an object, or one that does not.
async fn host(cluster: &Cluster, registers: &Registers, leads: bool, rng: &mut StdRng) -> usize {
    let ids: Vec<&str> = registers.ids().collect();
    let leader = cluster.leader_of(&registers.class().name, ids[rng.random_range(0..ids.len())]).await;
    if leads { leader } else { (leader + rng.random_range(1..HOSTS)) % HOSTS }
}

#[test]
fn under_sigkill() {
    alone(under("under_sigkill", Plan::of(HOSTS), async |cluster, registers, mut rng| {
        for leads in [true, false, true] {
            let host = host(&cluster, &registers, leads, &mut rng).await;
            let gone = std::time::Duration::from_millis(rng.random_range(0..4_000));
            Fault::Kill(vec![host], gone).strike(&cluster, gone).await;
            registers.progress(100).await;
            cluster.settled(HOSTS).await;
        }
        // all at once, as in a power cut
        Fault::Kill((0..HOSTS).collect(), PAST_THE_LEASE).strike(&cluster, PAST_THE_LEASE).await;
        registers.progress(100).await;
    }));
}

#[test]
fn under_pauses_longer_than_the_lease() {
    alone(under("under_pauses", Plan::of(HOSTS), async |cluster, registers, mut rng| {
        for leads in [true, true, false] {
            let host = host(&cluster, &registers, leads, &mut rng).await;
            let pause = hold(&mut rng);
            Fault::Pause(vec![host], pause).strike(&cluster, pause).await;
            registers.progress(100).await;
        }
        Fault::Pause((0..HOSTS).collect(), PAST_THE_LEASE).strike(&cluster, PAST_THE_LEASE).await;
        registers.progress(100).await;
    }));
}

#[test]
fn under_partitions_of_every_shape() {
    let plan = Plan::of(HOSTS).cuttable();
    alone(under("under_partitions", plan, async |cluster, registers, mut rng| {
        for shape in 0..Fault::cuts_of(0, HOSTS, GATEWAYS).len() {
            let leader = host(&cluster, &registers, true, &mut rng).await;
            let fault = Fault::cuts_of(leader, HOSTS, GATEWAYS).swap_remove(shape);
            println!("{fault:?}");
            fault.strike(&cluster, hold(&mut rng)).await;
            registers.progress(100).await;
        }
    }));
}
