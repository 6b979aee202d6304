//! A read that is invoked after a new leader acknowledged a write never misses it, whatever the old leader does:
//! stopped past its lease, cut off, or restarted inside it. The reads go through a gateway of their own, which knows
//! nothing of the new leader and so asks the old one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use oprc_tests::{Cluster, Consistency, Party, Plan, Registers, Way, seed};
use tokio::task::JoinSet;

use crate::{PAST_THE_LEASE, alone};

/// The gateway through which is written.
const NEW: usize = 0;
/// The one that keeps to the old leader.
const OLD: usize = 1;
const READERS: u32 = 6;
const READS: [Consistency; 2] = [Consistency::Lease, Consistency::Linearizable];

struct Scene {
    cluster: Cluster,
    /// Through the gateway that writes, and through the one that reads.
    writer: Registers,
    reader: Registers,
    leader: usize,
}

impl Scene {
    async fn set(cluster: &Cluster) -> Self {
        let writer = Registers::open(cluster, 1).await;
        let reader = writer.through(&cluster.gateway(OLD));
        // both gateways know the class and the leader
        let load = writer.load(&cluster.gateways(), 4, &mut seed::rng("warm-up")).await;
        writer.progress(50).await;
        load.stop().await;
        let leader = cluster.leader_of(&writer.class().name, "r0").await;
        Self { cluster: cluster.clone(), writer, reader, leader }
    }

    fn others(&self) -> Vec<Party> {
        (0..3).filter(|&host| host != self.leader).map(Party::Host).collect()
    }

    /// Writes until a write is acknowledged.
    async fn write(&self) {
        let written = || self.writer.add(0, "r0");
        oprc_tests::within(Duration::from_mins(1), "a new leader acknowledges a write", written).await;
    }

    /// Starts reads through the other gateway, in every way; whatever they see goes into the history.
    fn read(&self, readings: &mut JoinSet<()>) {
        for number in 0..READERS {
            let reader = self.reader.clone();
            let way = [Way::Method, Way::Object, Way::Field][number as usize % 3];
            let consistency = READS[number as usize % 2];
            readings.spawn(async move {
                reader.read(10 + number, "r0", way, consistency).await;
            });
        }
    }

    async fn end(self) {
        self.cluster.heal();
        self.cluster.settled(3).await;
        self.writer.check().await;
    }
}

/// Stopped past its lease, together with the gateway that asks it; both go on with the reads already in their queues.
#[test]
fn the_old_leader_was_stopped() {
    alone(async {
        let cluster = Plan::of(3).gateways(2).start().await;
        let _shown = cluster.show_logs_on_panic();
        for round in 0..3 {
            let scene = Scene::set(&cluster).await;
            cluster.signal(Party::Gateway(OLD), "STOP");
            cluster.signal(Party::Host(scene.leader), "STOP");
            scene.write().await;
            let mut readings = JoinSet::new();
            scene.read(&mut readings);
            // who wakes up first differs
            let waking = [Party::Gateway(OLD), Party::Host(scene.leader)];
            for at in [round % 2, (round + 1) % 2] {
                cluster.signal(waking[at], "CONT");
            }
            for _ in 0..20 {
                scene.write().await;
                scene.read(&mut readings);
            }
            readings.join_all().await;
            scene.end().await;
        }
    });
}

/// Cut off from the other hosts together with the gateway that asks it.
#[test]
fn the_old_leader_was_cut_off() {
    alone(async {
        let cluster = Plan::of(3).gateways(2).cuttable().start().await;
        let _shown = cluster.show_logs_on_panic();
        for _ in 0..2 {
            let scene = Scene::set(&cluster).await;
            let minority = [Party::Host(scene.leader), Party::Gateway(OLD)];
            let mut majority = scene.others();
            majority.push(Party::Gateway(NEW));
            cluster.part(&minority, &majority);
            let mut readings = JoinSet::new();
            for _ in 0..20 {
                scene.write().await;
                scene.read(&mut readings);
            }
            tokio::time::sleep(PAST_THE_LEASE).await;
            scene.write().await;
            scene.read(&mut readings);
            readings.join_all().await;
            scene.end().await;
        }
    });
}

/// Its followers are killed and come back inside its lease while it is cut off: they must not elect another before the
/// lease has run out.
#[test]
fn its_followers_were_restarted() {
    alone(async {
        let cluster = Plan::of(3).gateways(2).cuttable().start().await;
        let _shown = cluster.show_logs_on_panic();
        let scene = Scene::set(&cluster).await;
        let minority = [Party::Host(scene.leader), Party::Gateway(OLD)];
        let mut majority = scene.others();
        majority.push(Party::Gateway(NEW));
        cluster.part(&minority, &majority);
        let followers = (0..3).filter(|&host| host != scene.leader);
        followers.clone().for_each(|host| cluster.kill(Party::Host(host)));
        for host in followers {
            cluster.start_host(host).await;
        }
        let mut readings = JoinSet::new();
        let reading = scene.reader.clone();
        // reads all the while, although they only fail once the old leader is cut off: each that succeeds is checked against
        // what was acknowledged before it
        let over = Arc::new(AtomicBool::new(false));
        let seen = over.clone();
        let reads = tokio::spawn(async move {
            while !seen.load(Ordering::SeqCst) {
                reading.read(9, "r0", Way::Object, Consistency::Lease).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        for _ in 0..20 {
            scene.write().await;
            scene.read(&mut readings);
        }
        over.store(true, Ordering::SeqCst);
        reads.await.unwrap();
        readings.join_all().await;
        scene.end().await;
    });
}

/// Killed and back at once: it must not go on as if it still led.
#[test]
fn the_old_leader_was_restarted() {
    alone(async {
        let cluster = Plan::of(3).gateways(2).start().await;
        let _shown = cluster.show_logs_on_panic();
        for _ in 0..3 {
            let scene = Scene::set(&cluster).await;
            cluster.kill(Party::Host(scene.leader));
            cluster.start_host(scene.leader).await;
            let mut readings = JoinSet::new();
            for _ in 0..20 {
                scene.write().await;
                scene.read(&mut readings);
            }
            readings.join_all().await;
            scene.end().await;
        }
    });
}
