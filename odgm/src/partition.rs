//! One partition as callers see it.

use std::sync::Arc;

use oprc_mesh::outcome::{Effect, Problem};
use oprc_mesh::wire::{Consistency, ReplicaStatus};
use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::error::OdgmError;
use crate::leadership::Leaderships;
use crate::poison::Poison;
use crate::problem::{not_decided, not_leader, of_read};
use crate::proposer::{Proposer, WAITING_COMMITS_MAX, Waiting};
use crate::raft::{Group, Standing};
use crate::store::Reader;
use crate::types::{Commit, CommitReply};

/// One partition's replica on this host.
pub struct Partition {
    group: Arc<Group>,
    poison: Poison,
    standing: Arc<RwLock<Standing>>,
    /// The catalog knows that the group has begun. Until then nothing is served: the catalog may still let another group
    /// take its place, see [`crate::catalog`].
    open: watch::Sender<bool>,
    commits: mpsc::Sender<Waiting>,
    /// Asks the proposer to finish.
    stop: CancellationToken,
    /// The proposer has.
    finished: CancellationToken,
}

impl Partition {
    /// The partition and what keeps it going, to be run by the caller.
    pub(crate) fn new(
        group: Arc<Group>,
        poison: Poison,
        in_flight: usize,
        stop: CancellationToken,
    ) -> (Self, Proposer) {
        let (commits, arrivals) = mpsc::channel(WAITING_COMMITS_MAX);
        let finished = CancellationToken::new();
        let proposer = Proposer::new(group.clone(), poison.clone(), arrivals, in_flight, finished.clone());
        let open = watch::Sender::new(false);
        (Self { group, poison, standing: Arc::default(), open, commits, stop, finished }, proposer)
    }

    /// Keeps [`Self::leadership`] up to date until the group stops; to be run by the caller.
    pub(crate) fn follow(&self, all: Arc<Leaderships>) -> impl Future<Output = ()> + Send + use<> {
        all.follow(self.group.id(), self.group.follow(), self.standing.clone(), self.open.subscribe())
    }

    /// Its Raft group.
    pub fn group(&self) -> u64 {
        self.group.id()
    }

    /// The term in which this host leads the partition. Cheap: no round trip, no lease is checked.
    ///
    /// # Errors
    /// `not-leader` with the leader if it is known; `unavailable` once storage failed. Nothing has run.
    pub fn leadership(&self) -> Result<u64, Problem> {
        self.poison.check().map_err(not_run)?;
        let standing = *self.standing.read();
        standing.leads.filter(|_| *self.open.borrow()).ok_or_else(|| not_leader(standing.leader))
    }

    /// Makes sure that what a reader sees from now on holds all that was acknowledged before this call; gives the term in
    /// which this host leads. Usually the lease says so at once; without one, or for [`Consistency::Linearizable`], a quorum
    /// is asked. [`Consistency::Stale`] asks for nothing: the term is 0 where this host does not lead.
    ///
    /// # Errors
    /// `not-leader`; `no-quorum`; `unavailable` once storage failed. Nothing has run.
    pub async fn confirm(&self, consistency: Consistency) -> Result<u64, Problem> {
        let term = match (self.leadership(), consistency) {
            (term, Consistency::Stale) => {
                self.poison.check().map_err(not_run)?;
                return Ok(term.unwrap_or(0));
            }
            (term, _) => term?,
        };
        if consistency == Consistency::Lease && self.group.lease_holds() {
            return Ok(term);
        }
        self.group.read_index().await.map_err(|error| of_read(error, &self.poison))?;
        // what was asked of the quorum may have been asked in a later term, which serves as well
        self.leadership()
    }

    /// Milliseconds since this replica certainly had all that was acknowledged anywhere; 0 on the leader, none when it has
    /// not heard from one since it started.
    pub fn stale_ms(&self) -> Option<u64> {
        if self.leadership().is_ok() { Some(0) } else { self.group.stale_ms() }
    }

    /// Reads the newest committed state at each call.
    pub fn reader(&self) -> Reader {
        Reader::newest(self.group.state().clone())
    }

    /// Reads one moment of the committed state. To be short-lived: while it lives, what it sees stays on the disk.
    pub fn snapshot(&self) -> Reader {
        Reader::moment(self.group.state())
    }

    /// Commits a turn's writes; returns once they are durable and applied, or rejected. A caller that goes away before
    /// its commit is proposed takes it back.
    ///
    /// # Errors
    /// `not-leader`, `no-quorum` or `unavailable`, each with whether it may have taken effect.
    pub async fn commit(&self, commit: Commit) -> Result<CommitReply, Problem> {
        self.poison.check().map_err(not_run)?;
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting { commit: commit.into(), reply };
        if self.commits.send(waiting).await.is_err() {
            return Err(not_decided(&self.poison).with_effect(Effect::NotRun));
        }
        answer.await.unwrap_or_else(|_| Err(not_decided(&self.poison)))
    }

    /// How far this replica is.
    pub fn status(&self) -> ReplicaStatus {
        self.group.status()
    }

    /// Lets it serve: the catalog knows that its group has begun.
    pub(crate) fn open(&self) {
        self.open.send_if_modified(|open| !std::mem::replace(open, true));
    }

    pub(crate) fn raft(&self) -> &Arc<Group> {
        &self.group
    }

    /// Takes no further commits, waits for those that were taken, and stops the group.
    pub(crate) async fn shutdown(&self) {
        self.stop.cancel();
        self.finished.cancelled().await;
        self.group.shutdown().await;
    }
}

fn not_run(error: OdgmError) -> Problem {
    Problem::from(error).with_effect(Effect::NotRun)
}
