//! Gathers a partition's commits into Raft entries. Few entries are under way at once; what arrives meanwhile waits
//! and leaves together in the next one, so that entries grow with the load and the cost per commit falls.
//!
//! Nobody waits for a majority that is not there: what is not proposed yet is refused once the leader is cut off, and of
//! what is proposed [`UnderWay`] tells that nobody knows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use oprc_mesh::clock::now_ms;
use oprc_mesh::outcome::Problem;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::poison::Poison;
use crate::problem::{cut_off, not_decided, not_leader, of_proposal};
use crate::raft::{Command, Group, ProposalError, Reply};
use crate::record::{CommitBatch, CommitRecord};
use crate::types::ENTRY_COMMITS_MAX;
use crate::under_way::{Caller, Callers, UnderWay, tell_all};

/// Commits that wait for their entry, at the most; more make their callers wait to be taken in.
pub(crate) const WAITING_COMMITS_MAX: usize = 4096;
/// An entry is closed once it is this large; one commit alone may be larger.
const ENTRY_BYTES_MAX: usize = 1024 * 1024;
/// How often it is looked whether the leader is cut off, while an entry waits to be proposed.
const LOOK: Duration = Duration::from_millis(250);
/// The end waits no longer for entries under way: whoever waited for them has been told by then.
const FINISH_MAX: Duration = Duration::from_secs(8);

/// A commit and who waits for it.
pub(crate) struct Waiting {
    pub(crate) commit: CommitRecord,
    pub(crate) caller: Caller,
}

/// See the module.
pub(crate) struct Proposer {
    group: Arc<Group>,
    poison: Poison,
    arrivals: mpsc::Receiver<Waiting>,
    gathered: VecDeque<Waiting>,
    in_flight: Arc<Semaphore>,
    in_flight_max: u32,
    under_way: Arc<UnderWay>,
    finished: CancellationToken,
}

impl Proposer {
    /// `in_flight` has one permit for each entry that may be under way.
    pub(crate) fn new(
        group: Arc<Group>,
        poison: Poison,
        arrivals: mpsc::Receiver<Waiting>,
        in_flight: Arc<Semaphore>,
        finished: CancellationToken,
    ) -> Self {
        let in_flight_max = in_flight.available_permits() as u32;
        let (gathered, under_way) = (VecDeque::new(), Arc::default());
        Self { group, poison, arrivals, gathered, in_flight, in_flight_max, under_way, finished }
    }

    /// Runs until every sender is gone, or `stop`; then no further commit is taken in, and what was taken is decided
    /// before it returns.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let finished = self.finished.clone().drop_guard();
        let (group, under_way) = (self.group.clone(), self.under_way.clone());
        let work = async {
            self.propose_all(&stop).await;
            // dropped at the latest when the group stops
            let _ = timeout(FINISH_MAX, self.in_flight.acquire_many(self.in_flight_max)).await;
        };
        tokio::select! {
            () = work => {}
            () = under_way.watch(&group) => {}
        }
        drop(finished);
    }

    async fn propose_all(&mut self, stop: &CancellationToken) {
        let mut stopping = false;
        loop {
            if self.gathered.is_empty() && !self.wait(stop, &mut stopping).await {
                return;
            }
            // the permit first: everything that arrives while waiting for it goes into this entry
            let permit = timeout(LOOK, self.in_flight.clone().acquire_owned()).await;
            self.gather();
            if self.group.is_cut_off() {
                self.refuse(&cut_off());
                continue;
            }
            let Ok(permit) = permit else {
                if !self.group.leads() {
                    // what is under way is decided by others now, or never
                    self.refuse(&not_leader(self.group.leader()));
                }
                continue;
            };
            let Ok(permit) = permit else { return };
            let (commits, waiting) = self.close_entry();
            if !commits.is_empty() {
                self.propose(commits, waiting, permit).await;
            }
        }
    }

    /// Waits for a commit; `false` when there will be none.
    async fn wait(&mut self, stop: &CancellationToken, stopping: &mut bool) -> bool {
        let arrival = tokio::select! {
            biased;
            arrival = self.arrivals.recv() => arrival,
            () = stop.cancelled(), if !*stopping => {
                *stopping = true;
                self.arrivals.close();
                self.arrivals.recv().await
            }
        };
        let there = arrival.is_some();
        self.gathered.extend(arrival);
        there
    }

    /// Takes in what has arrived, without waiting.
    fn gather(&mut self) {
        while self.gathered.len() < ENTRY_COMMITS_MAX {
            let Ok(waiting) = self.arrivals.try_recv() else { return };
            self.gathered.push_back(waiting);
        }
    }

    /// Refuses what was gathered: nothing of it was proposed.
    fn refuse(&mut self, problem: &Problem) {
        tell_all(self.gathered.drain(..).map(|waiting| waiting.caller.answer), problem);
    }

    /// The commits of the next entry. A caller that is gone is left out: nothing was promised to it yet.
    fn close_entry(&mut self) -> (Vec<CommitRecord>, Vec<Caller>) {
        let mut commits = Vec::with_capacity(self.gathered.len());
        let mut callers = Vec::with_capacity(self.gathered.len());
        let mut bytes = 0;
        while let Some(next) = self.gathered.front() {
            bytes += next.commit.bytes();
            let full = commits.len() == ENTRY_COMMITS_MAX || (bytes > ENTRY_BYTES_MAX && !commits.is_empty());
            if full {
                break;
            }
            if let Some(Waiting { commit, caller }) = self.gathered.pop_front()
                && !caller.answer.is_closed()
            {
                commits.push(commit);
                callers.push(caller);
            }
        }
        (commits, callers)
    }

    async fn propose(&self, commits: Vec<CommitRecord>, waiting: Vec<Caller>, permit: OwnedSemaphorePermit) {
        let entry = Command::Commits(Arc::new(CommitBatch { commits, now_ms: now_ms() }));
        let callers = Arc::new(Callers::new(waiting));
        self.under_way.begin(&callers);
        let answers = Answers { callers, poison: self.poison.clone(), _permit: permit };
        // an entry that could not be handed over drops its answers, which tells the callers
        let _ = self.group.propose(entry, move |outcome| answers.give(outcome)).await;
    }
}

/// Whom to answer when the entry is decided. Dropped unanswered, it says that nobody knows.
struct Answers {
    callers: Arc<Callers>,
    poison: Poison,
    _permit: OwnedSemaphorePermit,
}

impl Answers {
    fn give(self, outcome: Result<Reply, ProposalError>) {
        match outcome {
            Ok(Reply::Commits(replies)) => {
                for (caller, reply) in self.callers.take().into_iter().zip(replies) {
                    // a caller that is gone needs no answer
                    let _ = caller.send(Ok(reply));
                }
            }
            Ok(Reply::None | Reply::Catalog(_) | Reply::Mail(_)) => {
                self.callers.tell(&not_decided(&self.poison));
            }
            Err(error) => self.callers.tell(&of_proposal(error, &self.poison)),
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.callers.tell(&not_decided(&self.poison));
    }
}
