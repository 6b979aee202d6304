//! Hibernation: a group without work sends no heartbeats and counts no time, so that a host may hold thousands.
//!
//! The leader of a group in which nothing has happened for a while, and in which every replica has everything, asks all
//! of them to rest, and rests when all do. From then on the hosts' own signs of life stand in for its heartbeats: a replica
//! whose leader's host falls silent wakes, and an election follows. Work wakes the leader, and whatever it then sends wakes
//! the others. No lease outlasts the first second of the rest, so the first answer afterwards asks a quorum.
//!
//! Resting only stops the clock that starts elections and heartbeats. It decides nothing, so that a replica which rests
//! or wakes at a wrong moment costs an election at the worst.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use openraft::Raft;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::metrics::{RaftDataMetrics, RaftServerMetrics};
use openraft::type_config::alias::WatchReceiverOf;
use oprc_mesh::Lane;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::codec;
use super::config::LEASE_MS;
use super::exchange::Exchange;
use super::state_machine::StateMachine;
use super::types::{LogId, TypeConfig};
use super::wire::{Body, Sleep};

/// A group rests after so long without work.
const IDLE: Duration = Duration::from_secs(10);
/// How long the others may take to agree.
const AGREE: Duration = Duration::from_millis(500);
/// A leader's host that is silent for so long wakes the groups that it leads ...
const SILENT: Duration = Duration::from_millis(LEASE_MS);
/// ... and each replica so much after the one before it, so that they do not all stand for election at once.
const STAGGER: Duration = Duration::from_millis(150);

/// See the module: one replica's part in it.
pub(super) struct Rest {
    group: u64,
    node: u64,
    raft: Raft<TypeConfig, StateMachine>,
    server: WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>,
    data: WatchReceiverOf<TypeConfig, RaftDataMetrics<TypeConfig>>,
    asleep: AtomicBool,
    /// When it last woke, or began.
    woke: Mutex<Instant>,
    /// It was used since the last look.
    used: AtomicBool,
    idle: Mutex<Idle>,
}

/// The log's end at the last look, and since when it is there.
struct Idle {
    last: Option<LogId>,
    since: Instant,
}

impl Rest {
    pub(super) fn new(group: u64, node: u64, raft: &Raft<TypeConfig, StateMachine>) -> Self {
        Self {
            group,
            node,
            raft: raft.clone(),
            server: raft.server_metrics(),
            data: raft.data_metrics(),
            asleep: AtomicBool::new(false),
            woke: Mutex::new(Instant::now()),
            used: AtomicBool::new(false),
            idle: Mutex::new(Idle { last: None, since: Instant::now() }),
        }
    }

    pub(super) fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::Acquire)
    }

    /// There is work, or word from another replica. Cheap when the group is awake. Says whether it was asleep.
    pub(super) fn wake(&self) -> bool {
        self.used.store(true, Ordering::Relaxed);
        if !self.is_asleep() {
            return false;
        }
        // before it counts as awake: see `awake_for`
        *self.woke.lock() = Instant::now();
        let slept = self.asleep.swap(false, Ordering::AcqRel);
        if slept {
            self.raft.runtime_config().tick(true);
        }
        slept
    }

    /// For how long it has been awake; nothing while it rests.
    pub(super) fn awake_for(&self) -> Duration {
        // in this order, so that one that wakes in between is not taken for one that has been awake all the time
        if self.is_asleep() { Duration::ZERO } else { self.woke.lock().elapsed() }
    }

    fn sleep(&self) {
        self.asleep.store(true, Ordering::Release);
        self.raft.runtime_config().tick(false);
    }

    /// A leader's request to rest, which holds only if this replica has all that the leader has and follows it.
    pub(super) fn asked(&self, sleep: &Sleep) -> Result<(), String> {
        let vote = codec::vote(sleep.vote);
        let last = sleep.last.map(codec::log_id);
        let follows = self.server.borrow_watched().vote == vote && vote.committed;
        let (own, applied) = {
            let data = self.data.borrow_watched();
            (data.last_log, data.last_applied)
        };
        if !follows || own != last || applied != last {
            return Err("it has not all that the leader has, or follows another".to_owned());
        }
        self.sleep();
        Ok(())
    }

    /// Whether this replica leads, nothing has happened for long, and every member has everything: then what to tell them.
    fn may_sleep(&self, now: Instant) -> Option<(Sleep, Vec<u64>)> {
        let (last, applied, replication) = {
            let data = self.data.borrow_watched();
            (data.last_log, data.last_applied, data.replication.clone())
        };
        let rested = {
            let mut idle = self.idle.lock();
            if self.used.swap(false, Ordering::Relaxed) || idle.last != last {
                *idle = Idle { last, since: now };
            }
            now.saturating_duration_since(idle.since) >= IDLE
        };
        if !rested || self.is_asleep() || applied != last {
            return None;
        }
        let server = self.server.borrow_watched();
        let members = server.membership_config.membership();
        let settled = members.get_joint_config().len() == 1
            && server.membership_config.log_id() == server.committed_membership_config.log_id();
        if !server.state.is_leader() || !server.vote.committed || !settled {
            return None;
        }
        let others: Vec<u64> =
            members.nodes().map(|(node, _)| *node).filter(|node| *node != self.node).collect();
        let everywhere = others.iter().all(|node| {
            replication.as_ref().is_some_and(|all| all.get(node).is_some_and(|matched| *matched == last))
        });
        let sleep =
            Sleep { vote: codec::vote_record(&server.vote), last: last.as_ref().map(codec::log_id_record) };
        everywhere.then_some((sleep, others))
    }

    /// The leader's part: asks the others to rest, and rests when all do. One that does not wakes those that did with its
    /// next heartbeat.
    async fn settle_down(self: Arc<Self>, exchange: Arc<Exchange>, sleep: Sleep, others: Vec<u64>) {
        let deadline = Instant::now() + AGREE;
        let asked = others.into_iter().map(|other| {
            let mut ticket = exchange.ask(other, Lane::Urgent, self.group, Body::Sleep(sleep.clone()));
            async move { ticket.reply(deadline).await }
        });
        let agreed = join_all(asked).await.iter().all(|reply| matches!(reply, Ok(Body::Slept(_))));
        if !agreed || self.used.load(Ordering::Relaxed) {
            return;
        }
        self.sleep();
        // what came in between saw a group that was awake, and wakes nobody
        let last = self.data.borrow_watched().last_log;
        if self.used.load(Ordering::Relaxed) || last.as_ref().map(codec::log_id_record) != sleep.last {
            self.wake();
        }
    }

    /// How many voters other than the leader come before this one.
    fn rank(&self, leader: Option<u64>) -> u32 {
        let server = self.server.borrow_watched();
        let others = server.membership_config.voter_ids().filter(|voter| Some(*voter) != leader);
        others.take_while(|voter| *voter != self.node).count() as u32
    }

    /// A follower's part while it rests: the host of its leader is watched in its stead.
    fn watch_leader(&self, exchange: &Exchange, now: Instant) {
        let leader = self.server.borrow_watched().current_leader;
        if leader == Some(self.node) {
            return;
        }
        let silent = leader.map_or(SILENT * 2, |leader| exchange.signs().silent_for(leader, now));
        // the usual case, for thousands of groups many times a second
        if silent >= SILENT && silent >= SILENT + STAGGER * self.rank(leader) {
            self.wake();
        }
    }
}

/// Looks once after all groups of a host: those that rest watch their leaders' hosts, and with `settle` those that have had
/// no work for long are asked to rest.
pub(super) fn look(exchange: &Arc<Exchange>, groups: &[Arc<Rest>], settle: bool) {
    let now = Instant::now();
    for rest in groups {
        if rest.is_asleep() {
            rest.watch_leader(exchange, now);
        } else if settle && let Some((sleep, others)) = rest.may_sleep(now) {
            exchange.spawn(rest.clone().settle_down(exchange.clone(), sleep, others));
        }
    }
}
