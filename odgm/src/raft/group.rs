//! One running Raft group.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use openraft::Raft;
use openraft::ReadPolicy;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{ClientWriteError, Fatal, LinearizableReadError, RaftError};
use openraft::metrics::{RaftDataMetrics, RaftServerMetrics};
use openraft::raft::ClientWriteResult;
use openraft::type_config::TypeConfigExt as _;
use openraft::type_config::alias::WatchReceiverOf;
use oprc_mesh::id::NodeId;
use oprc_mesh::wire::ReplicaStatus;
use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::authority::{Authority, Voting};
use super::config::{CUT_OFF_MS, LEASE_MS, config};
use super::exchange::Exchange;
use super::freshness::Freshness;
use super::inbound::Inbound;
use super::lease;
use super::log_store::LogStore;
use super::network::Network;
use super::receiving::Receiving;
use super::rest::Rest;
use super::state_machine::{Machine, StateMachine};
use super::types::{Command, Completion, ProposalError, Reply, TypeConfig};
use crate::error::OdgmError;
use crate::log_writer::LogWriter;
use crate::poison::Poison;
use crate::store::{GroupState, Store};

/// A restarted replica waits a little longer than older leases last before it stands for election itself: this much at the
/// most, so that those who start together do not stand together.
const ELECTION_SPREAD_MS: u64 = 500;
/// How long a replica that has started waits for word from a leader before it counts as one that will get none.
const STARTING: Duration = Duration::from_secs(5);

/// What all groups of a host share.
#[derive(Clone)]
pub(crate) struct GroupContext {
    pub(crate) node: NodeId,
    pub(crate) store: Arc<Store>,
    pub(crate) writer: LogWriter,
    pub(crate) poison: Poison,
    pub(crate) exchange: Arc<Exchange>,
    /// Told when there is something to collect.
    pub(crate) collect: Arc<Notify>,
}

/// See the module.
pub(crate) struct Group {
    id: u64,
    node: u64,
    raft: Raft<TypeConfig, StateMachine>,
    state: Arc<GroupState>,
    exchange: Arc<Exchange>,
    applied_term: watch::Receiver<u64>,
    server: WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>,
    data: WatchReceiverOf<TypeConfig, RaftDataMetrics<TypeConfig>>,
    /// The term in which this leader has asked another replica to take over: it may come to lead at any moment since.
    handed_over: AtomicU64,
    authority: Authority,
    freshness: Arc<Freshness>,
    started: Instant,
    rest: Arc<Rest>,
    _tasks: DropGuard,
}

/// Who leads a group, as this replica knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Standing {
    /// The term in which this node leads and has applied an entry of its own; `None` when it may serve nothing.
    pub(crate) leads: Option<u64>,
    /// The leader that it knows.
    pub(crate) leader: Option<u64>,
}

impl Group {
    /// Opens the group's log and state and starts it. A group that is new here waits to be founded or to hear from its
    /// leader; one whose only voter this node is asks for its own vote at once instead of waiting for a leader that cannot
    /// be.
    pub(crate) async fn start(context: &GroupContext, id: u64, machine: Machine) -> Result<Self, OdgmError> {
        let node = context.node.0;
        let state = Arc::new(GroupState::open(&context.store.state, id)?);
        let log = LogStore::open(&context.store.log, &context.writer, &context.poison, id)?;
        log.check(&state.state()?)?;
        let state_machine = StateMachine::open(&state, machine, &context.poison, &context.collect)?;
        let applied_term = state_machine.applied_term();
        let (pristine, forgotten) = (log.is_pristine(), log.forgotten());
        let failed = |operation| move |error: &dyn std::fmt::Display| OdgmError::raft(operation, id, error);
        let authority = Arc::<OnceLock<Authority>>::default();
        let network = Network { exchange: context.exchange.clone(), group: id, authority: authority.clone() };
        let raft = Raft::new(node, config(id)?, network, log, state_machine)
            .await
            .map_err(|error| failed("start the log")(&error))?;
        let alone = sole_voter(&raft, node).await.map_err(|error| failed("start the log")(&error))?;
        // a leader may rely on a lease that this replica gave before its restart; a new one gave none
        let silence = if pristine || alone { Duration::ZERO } else { Duration::from_millis(LEASE_MS) };
        let authority = authority.get_or_init(|| Authority::new(node, &raft)).clone();
        let freshness = Arc::<Freshness>::default();
        let rest = Arc::new(Rest::new(id, node, &raft));
        let (fresh, resting) = (freshness.clone(), rest.clone());
        let signs = context.exchange.signs().clone();
        let receiving = Receiving::new(&state);
        let inbound = Inbound::new(raft.clone(), receiving, silence, (fresh, signs), resting, forgotten);
        context.exchange.register(id, Arc::new(inbound));
        let tasks = CancellationToken::new();
        if alone {
            raft.trigger().elect(false).await.map_err(|error| failed("lead the log")(&error))?;
        }
        if silence.is_zero() {
            raft.runtime_config().elect(true);
        } else {
            tokio::spawn(tasks.clone().run_until_cancelled_owned(elect_after(
                raft.clone(),
                silence,
                node ^ id,
            )));
        }
        Ok(Self {
            id,
            node,
            server: raft.server_metrics(),
            data: raft.data_metrics(),
            raft,
            state,
            exchange: context.exchange.clone(),
            applied_term,
            handed_over: AtomicU64::new(0),
            authority,
            freshness,
            started: Instant::now(),
            rest,
            _tasks: tasks.drop_guard(),
        })
    }

    /// Begins a group that is new everywhere with these voters. Only ever to be called by the one host that the catalog
    /// names for it: two that found the same group with different voters would make two groups of it.
    ///
    /// # Errors
    /// It is not new here, or storage fails.
    pub(crate) async fn found(&self, voters: BTreeSet<u64>) -> Result<(), OdgmError> {
        let founded = self.raft.initialize(voters).await;
        founded.map_err(|error| OdgmError::raft("found the log", self.id, error))
    }

    /// Nothing of it is stored here yet.
    pub(crate) async fn is_pristine(&self) -> bool {
        matches!(self.raft.is_initialized().await, Ok(false))
    }

    /// No heartbeats are sent and no time is counted until there is work.
    pub(crate) fn is_asleep(&self) -> bool {
        self.rest.is_asleep()
    }

    pub(super) fn wake(&self) {
        self.rest.wake();
    }

    pub(super) fn raft(&self) -> &Raft<TypeConfig, StateMachine> {
        &self.raft
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn state(&self) -> &Arc<GroupState> {
        &self.state
    }

    /// Hands an entry to Raft; `done` is called once with its outcome, or dropped when the group stops.
    pub(crate) async fn propose(
        &self,
        command: Command,
        done: impl FnOnce(Result<Reply, ProposalError>) + Send + 'static,
    ) -> Result<(), ProposalError> {
        self.rest.wake();
        let completion = Completion::new(move |result: ClientWriteResult<TypeConfig>| {
            done(result.map(|response| response.data).map_err(|error| proposal_error(&error)));
        });
        self.raft.client_write_ff(command, Some(completion)).await.map_err(|_| ProposalError::Stopped)
    }

    /// Follows who leads.
    pub(crate) fn follow(&self) -> Follow {
        Follow { server: self.raft.server_metrics(), applied_term: self.applied_term.clone() }
    }

    /// Whether this leader's lease in `term` holds: no other replica can have become leader before this call.
    pub(crate) fn lease_holds(&self, term: u64) -> bool {
        self.rest.wake();
        // Looked at before the term: openraft tells the acknowledgements before the term that they are of. A time of a
        // later term, in which others may have led between, is thus never taken for one of `term`.
        let acked = self.data.borrow_watched().last_quorum_acked;
        let server = self.server.borrow_watched();
        if server.vote.leader_id.term != term || self.handed_over.load(Ordering::Acquire) == term {
            return false;
        }
        match Voting::of(&server.membership_config, self.node) {
            // one that is leaving the group hands over by itself
            Voting::Not => false,
            Voting::Alone => true,
            Voting::Among => {
                acked.is_some_and(|acked| lease::holds(|| TypeConfig::now() - acked.into_inner()))
            }
        }
    }

    /// Whether this leader hears of no majority. It does not lead any more, or nothing that it proposes is decided.
    pub(crate) fn is_cut_off(&self) -> bool {
        let long = Duration::from_millis(CUT_OFF_MS);
        // one that rests hears of nobody, and one that has just woken has had no time to
        self.authority.silence().is_some_and(|silence| silence > long) && self.rest.awake_for() > long
    }

    /// Whether this replica takes itself for the leader.
    pub(crate) fn leads(&self) -> bool {
        self.server.borrow_watched().state.is_leader()
    }

    /// The leader that this replica knows.
    pub(crate) fn leader(&self) -> Option<u64> {
        self.server.borrow_watched().current_leader
    }

    /// From now on it does not stand for election.
    pub(crate) fn stand_down(&self) {
        self.raft.runtime_config().elect(false);
    }

    /// Makes sure that this replica still leads and has applied all that was committed before this call, by asking a
    /// quorum.
    ///
    /// # Errors
    /// It does not lead, or hears of no quorum.
    pub(crate) async fn read_index(&self) -> Result<(), ReadError> {
        self.rest.wake();
        match self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
            Ok(_) => Ok(()),
            Err(RaftError::Fatal(_)) => Err(ReadError::Stopped),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Err(ReadError::NotLeader { leader: forward.leader_id })
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => Err(ReadError::NoQuorum),
        }
    }

    /// Milliseconds since this replica was surely up to date; none when it has not been since it started.
    pub(crate) fn stale_ms(&self) -> Option<u64> {
        let server = self.server.borrow_watched();
        let (term, leads) = (server.vote.leader_id.term, server.state.is_leader());
        drop(server);
        if leads && *self.applied_term.borrow() == term {
            // as of the last acknowledgement of a majority it led, and had all
            return if self.lease_holds(term) { Some(0) } else { self.authority.silence().map(millis) };
        }
        let applied = self.data.borrow_watched().last_applied.map_or(0, |applied| applied.index);
        self.freshness.fresh(applied).map(|fresh| millis(fresh.elapsed()))
    }

    /// Whether this replica has started just now and not yet heard how far it should be: it may have lost sight of what it had
    /// applied, which a leader tells it within moments. Without one it is as good as it will be.
    pub(crate) fn is_starting(&self) -> bool {
        self.started.elapsed() < STARTING && self.stale_ms().is_none()
    }

    /// From now on, in this term, no lease holds: another replica is about to be asked to take over.
    pub(super) fn give_up_lease(&self) {
        let term = self.server.borrow_watched().vote.leader_id.term;
        self.handed_over.fetch_max(term, Ordering::AcqRel);
    }

    pub(crate) fn status(&self) -> ReplicaStatus {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        ReplicaStatus {
            group: self.id,
            term: metrics.current_term,
            leader: metrics.current_leader.unwrap_or(0),
            last: metrics.last_log_index.unwrap_or(0),
            applied: metrics.last_applied.map_or(0, |applied| applied.index),
        }
    }

    /// Whether it has applied entries since its last snapshot.
    pub(crate) fn has_moved(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.last_applied > metrics.snapshot
    }

    /// Names what is applied as a snapshot, which lets the log before it be purged; not while a replica needs the log.
    pub(crate) async fn checkpoint(&self) {
        if self.exchange.holds().contains(self.id) {
            return;
        }
        // a group that has stopped has nothing to purge
        let _ = self.raft.trigger().snapshot().await;
    }

    /// The log index up to which entries are purged.
    #[cfg(test)]
    pub(crate) fn purged(&self) -> Option<u64> {
        self.raft.metrics().borrow_watched().purged.map(|purged| purged.index)
    }

    /// Stops it. What was proposed and not answered yet is dropped.
    pub(crate) async fn shutdown(&self) {
        self.exchange.unregister(self.id);
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(group = self.id, %error, "a raft group did not stop cleanly");
        }
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

/// Why a read could not be made sure of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadError {
    NotLeader { leader: Option<u64> },
    NoQuorum,
    Stopped,
}

/// Lets a replica stand for election once older leases are over, those that start together at different times.
async fn elect_after(raft: Raft<TypeConfig, StateMachine>, silence: Duration, seed: u64) {
    let spread = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) % ELECTION_SPREAD_MS;
    tokio::time::sleep(silence + Duration::from_millis(spread)).await;
    raft.runtime_config().elect(true);
}

/// Whether the group has no other voter. Asked of the running core: its metrics may not be published yet.
async fn sole_voter(raft: &Raft<TypeConfig, StateMachine>, node: u64) -> Result<bool, Fatal<TypeConfig>> {
    raft.with_raft_state(move |state| state.membership_state.effective().voter_ids().eq([node])).await
}

fn proposal_error(error: &ClientWriteError<TypeConfig>) -> ProposalError {
    match error {
        ClientWriteError::ForwardToLeader(forward) => ProposalError::NotLeader { leader: forward.leader_id },
        ClientWriteError::LogEntryDiscarded(forward) => {
            ProposalError::Discarded { leader: forward.leader_id }
        }
        // no precondition is ever attached and no membership proposed this way; never appended in either case
        ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_) => {
            ProposalError::NotLeader { leader: None }
        }
    }
}

/// See [`Group::follow`].
pub(crate) struct Follow {
    server: WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>,
    applied_term: watch::Receiver<u64>,
}

impl Follow {
    /// Who leads now.
    pub(crate) fn standing(&mut self) -> Standing {
        let server = self.server.borrow_watched();
        let term = server.vote.leader_id.term;
        let applied_own = *self.applied_term.borrow_and_update() == term;
        let leads = (server.state.is_leader() && server.vote.committed && applied_own).then_some(term);
        Standing { leads, leader: server.current_leader }
    }

    /// Waits until that may have changed; `false` once the group has stopped.
    pub(crate) async fn changed(&mut self) -> bool {
        tokio::select! {
            server = self.server.changed() => server.is_ok(),
            applied = self.applied_term.changed() => applied.is_ok(),
        }
    }
}
