//! One partition as callers see it.

use std::sync::Arc;

use oprc_mesh::outcome::{Effect, Problem};
use oprc_mesh::wire::{Consistency, EventPage, ReplicaStatus};
use parking_lot::RwLock;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::error::OdgmError;
use crate::leadership::Leaderships;
use crate::poison::Poison;
use crate::problem::{cut_off, not_decided, not_leader, of_read};
use crate::proposer::{Proposer, WAITING_COMMITS_MAX, Waiting};
use crate::raft::{Group, Standing};
use crate::record::CommitRecord;
use crate::store::{EventsOf, Reader};
use crate::types::{Commit, CommitReply};
use crate::under_way::{Caller, Outcome};

/// A commit that was handed over. Dropped before it is proposed, it is taken back.
pub struct UnderWay {
    answer: oneshot::Receiver<Outcome>,
    ended: oneshot::Receiver<()>,
    poison: Poison,
}

/// The end of a commit that was handed over; see [`UnderWay::answered`].
pub struct Ended(oneshot::Receiver<()>);

impl Ended {
    /// Waits until the commit is decided, or can no longer be in its term.
    pub async fn wait(self) {
        let _ = self.0.await; // nothing is ever sent
    }
}

impl UnderWay {
    /// Waits until it is durable and applied, or rejected.
    ///
    /// # Errors
    /// As [`Partition::commit`].
    pub async fn decided(self) -> Result<CommitReply, Problem> {
        self.answered().await.0
    }

    /// The same. Where the answer is that nobody knows, the commit may be decided yet: the second tells when no more.
    pub async fn answered(self) -> (Result<CommitReply, Problem>, Ended) {
        let answer = self.answer.await.unwrap_or_else(|_| Err(not_decided(&self.poison)));
        (answer, Ended(self.ended))
    }
}

/// One partition's replica on this host.
pub struct Partition {
    group: Arc<Group>,
    poison: Poison,
    standing: Arc<RwLock<Standing>>,
    /// The catalog knows that the group has begun. Until then nothing is served: the catalog may still let another group
    /// take its place, see [`crate::catalog`].
    open: watch::Sender<bool>,
    commits: mpsc::Sender<Waiting>,
    /// One permit for each entry that may be under way.
    in_flight: Arc<Semaphore>,
    in_flight_max: u32,
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
        let in_flight_max = in_flight.max(1) as u32;
        let in_flight = Arc::new(Semaphore::new(in_flight_max as usize));
        let (standing, finished) = (Arc::default(), CancellationToken::new());
        let proposer =
            Proposer::new(group.clone(), poison.clone(), arrivals, in_flight.clone(), finished.clone());
        let open = watch::Sender::new(false);
        let partition =
            Self { group, poison, standing, open, commits, in_flight, in_flight_max, stop, finished };
        (partition, proposer)
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

    /// The same, if a commit can be decided now.
    ///
    /// # Errors
    /// As [`Self::leadership`]; `no-quorum` when a majority was not heard of for a while.
    pub fn serves(&self) -> Result<u64, Problem> {
        let term = self.leadership()?;
        if self.group.is_cut_off() { Err(cut_off()) } else { Ok(term) }
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
        // The term comes first: the lease is looked for in that very term, so that no other can have led since the entry
        // of that term was applied here.
        if consistency == Consistency::Lease && self.group.lease_holds(term) {
            return Ok(term);
        }
        // in a box, so that the usual case carries nothing of it
        let asked = Box::pin(self.group.read_index()).await;
        asked.map_err(|error| of_read(error, &self.poison))?;
        // what was asked of the quorum may have been asked in a later term, which serves as well
        self.leadership()
    }

    /// Milliseconds since this replica certainly had all that was acknowledged anywhere; 0 on a leader with its lease, none
    /// when it has not heard from one since it started. To be asked before what it is said of is read.
    pub fn stale_ms(&self) -> Option<u64> {
        self.group.stale_ms()
    }

    /// Whether this replica has started just now and does not know yet whether what it has is of long ago.
    pub fn is_starting(&self) -> bool {
        self.group.is_starting()
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
        self.decide(commit.into()).await
    }

    /// The same for a commit as it lies in the log.
    pub(crate) async fn decide(&self, commit: CommitRecord) -> Result<CommitReply, Problem> {
        self.take_in(commit).await?.decided().await
    }

    /// Hands a commit over. Commits lie in the log in the order in which they are handed over.
    ///
    /// # Errors
    /// As [`Self::commit`]; nothing has taken effect.
    pub async fn hand_over(&self, commit: Commit) -> Result<UnderWay, Problem> {
        self.take_in(commit.into()).await
    }

    async fn take_in(&self, commit: CommitRecord) -> Result<UnderWay, Problem> {
        self.poison.check().map_err(not_run)?;
        if self.group.is_cut_off() {
            return Err(cut_off());
        }
        let ((reply, answer), (end, ended)) = (oneshot::channel(), oneshot::channel());
        let waiting = Waiting { commit, caller: Caller { answer: reply, ended: end } };
        if self.commits.send(waiting).await.is_err() {
            return Err(not_decided(&self.poison).with_effect(Effect::NotRun));
        }
        Ok(UnderWay { answer, ended, poison: self.poison.clone() })
    }

    /// Follows the number of the newest event here: what can be read with [`Self::read_events`].
    pub fn follow_events(&self) -> watch::Receiver<u64> {
        self.group.state().follow_events()
    }

    /// A page of the events that are wanted after a number, as this replica has them: all of them are committed, also where
    /// it is behind.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn read_events(&self, wanted: EventsOf<'_>, after: u64) -> Result<EventPage, OdgmError> {
        self.group.state().read_events(wanted, after)
    }

    /// How far this replica is.
    pub fn status(&self) -> ReplicaStatus {
        self.group.status()
    }

    /// Lets it serve: the catalog knows that its group has begun.
    pub(crate) fn open(&self) {
        self.open.send_if_modified(|open| !std::mem::replace(open, true));
    }

    pub(crate) fn poison(&self) -> &Poison {
        &self.poison
    }

    pub(crate) fn raft(&self) -> &Arc<Group> {
        &self.group
    }

    /// Waits until no commit is under way; while what it gives is held, further ones wait.
    pub(crate) async fn pause(&self) -> Option<SemaphorePermit<'_>> {
        self.in_flight.acquire_many(self.in_flight_max).await.ok() // never closed
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
