//! Gathers a partition's commits into Raft entries. Few entries are under way at once; what arrives meanwhile waits
//! and leaves together in the next one, so that entries grow with the load and the cost per commit falls.

use std::collections::VecDeque;
use std::sync::Arc;

use oprc_mesh::outcome::Problem;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::poison::Poison;
use crate::problem::{not_decided, of_proposal};
use crate::raft::{Command, Group, ProposalError, Reply};
use crate::record::{CommitBatch, CommitRecord};
use crate::types::{CommitReply, ENTRY_COMMITS_MAX};

/// Commits that wait for their entry, at the most; more make their callers wait to be taken in.
pub(crate) const WAITING_COMMITS_MAX: usize = 4096;
/// An entry is closed once it is this large; one commit alone may be larger.
const ENTRY_BYTES_MAX: usize = 1024 * 1024;

/// How a commit came out.
pub(crate) type Outcome = Result<CommitReply, Problem>;

/// A commit and who waits for it.
pub(crate) struct Waiting {
    pub(crate) commit: CommitRecord,
    pub(crate) reply: oneshot::Sender<Outcome>,
}

/// See the module.
pub(crate) struct Proposer {
    group: Arc<Group>,
    poison: Poison,
    arrivals: mpsc::Receiver<Waiting>,
    gathered: VecDeque<Waiting>,
    in_flight: Arc<Semaphore>,
    in_flight_max: usize,
    finished: CancellationToken,
}

impl Proposer {
    pub(crate) fn new(
        group: Arc<Group>,
        poison: Poison,
        arrivals: mpsc::Receiver<Waiting>,
        in_flight_max: usize,
        finished: CancellationToken,
    ) -> Self {
        let in_flight_max = in_flight_max.max(1);
        let in_flight = Arc::new(Semaphore::new(in_flight_max));
        Self { group, poison, arrivals, gathered: VecDeque::new(), in_flight, in_flight_max, finished }
    }

    /// Runs until every sender is gone, or `stop`; then no further commit is taken in, and what was taken is decided
    /// before it returns.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let finished = self.finished.clone().drop_guard();
        self.propose_all(&stop).await;
        let all = self.in_flight.acquire_many(self.in_flight_max as u32).await;
        drop((all, finished));
    }

    async fn propose_all(&mut self, stop: &CancellationToken) {
        let mut stopping = false;
        loop {
            if self.gathered.is_empty() && !self.wait(stop, &mut stopping).await {
                return;
            }
            // the permit first: everything that arrives while waiting for it goes into this entry
            let Ok(permit) = self.in_flight.clone().acquire_owned().await else { return };
            self.gather();
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

    /// The commits of the next entry. A caller that is gone is left out: nothing was promised to it yet.
    fn close_entry(&mut self) -> (Vec<CommitRecord>, Vec<oneshot::Sender<Outcome>>) {
        let mut commits = Vec::with_capacity(self.gathered.len());
        let mut replies = Vec::with_capacity(self.gathered.len());
        let mut bytes = 0;
        while let Some(next) = self.gathered.front() {
            bytes += next.commit.bytes();
            let full = commits.len() == ENTRY_COMMITS_MAX || (bytes > ENTRY_BYTES_MAX && !commits.is_empty());
            if full {
                break;
            }
            if let Some(Waiting { commit, reply }) = self.gathered.pop_front()
                && !reply.is_closed()
            {
                commits.push(commit);
                replies.push(reply);
            }
        }
        (commits, replies)
    }

    async fn propose(
        &self,
        commits: Vec<CommitRecord>,
        waiting: Vec<oneshot::Sender<Outcome>>,
        permit: OwnedSemaphorePermit,
    ) {
        let entry = Command::Commits(Arc::new(CommitBatch { commits }));
        let answers = Answers { waiting, poison: self.poison.clone(), _permit: permit };
        // an entry that could not be handed over drops its answers, which tells the callers
        let _ = self.group.propose(entry, move |outcome| answers.give(outcome)).await;
    }
}

/// Whom to answer when the entry is decided. Dropped unanswered, it says that nobody knows.
struct Answers {
    waiting: Vec<oneshot::Sender<Outcome>>,
    poison: Poison,
    _permit: OwnedSemaphorePermit,
}

impl Answers {
    fn give(mut self, outcome: Result<Reply, ProposalError>) {
        let waiting = std::mem::take(&mut self.waiting);
        match outcome {
            Ok(Reply::Commits(replies)) => {
                for (caller, reply) in waiting.into_iter().zip(replies) {
                    // a caller that is gone needs no answer
                    let _ = caller.send(Ok(reply));
                }
            }
            Ok(Reply::None | Reply::Catalog(_)) => tell_all(waiting, &not_decided(&self.poison)),
            Err(error) => tell_all(waiting, &of_proposal(error, &self.poison)),
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        tell_all(std::mem::take(&mut self.waiting), &not_decided(&self.poison));
    }
}

fn tell_all(waiting: Vec<oneshot::Sender<Outcome>>, problem: &Problem) {
    for caller in waiting {
        let _ = caller.send(Err(problem.clone()));
    }
}
