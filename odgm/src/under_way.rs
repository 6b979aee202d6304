//! Entries that are proposed and not decided yet, and the end of their callers' patience. An entry may wait for a majority
//! for ever, and so may its place among those under way; who asked for it is told in time that nobody knows.

use std::sync::{Arc, Weak};
use std::time::Duration;

use oprc_mesh::outcome::Problem;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::problem::undecided;
use crate::raft::Group;
use crate::types::CommitReply;

/// How often it is looked whether entries can still be decided.
const LOOK: Duration = Duration::from_millis(250);
/// After so many looks in a row at which they cannot, their callers are told. Looks are counted rather than time, so
/// that a process that was stopped for a while does not give up at the moment when it goes on.
const LOOKS_MAX: u32 = 12;

/// How a commit came out.
pub(crate) type Outcome = Result<CommitReply, Problem>;

/// Who waits for a commit.
pub(crate) struct Caller {
    /// Takes what came of it, or that nobody knows.
    pub(crate) answer: oneshot::Sender<Outcome>,
    /// Dropped once it is decided, or certainly not proposed: later than the answer that nobody knows.
    pub(crate) ended: oneshot::Sender<()>,
}

/// The callers of one entry: whoever comes first answers them.
pub(crate) struct Callers {
    answers: Mutex<Vec<oneshot::Sender<Outcome>>>,
    _ended: Vec<oneshot::Sender<()>>,
}

impl Callers {
    pub(crate) fn new(callers: Vec<Caller>) -> Self {
        let (answers, ended): (Vec<_>, _) =
            callers.into_iter().map(|caller| (caller.answer, caller.ended)).unzip();
        Self { answers: Mutex::new(answers), _ended: ended }
    }

    /// Those that were not answered yet.
    pub(crate) fn take(&self) -> Vec<oneshot::Sender<Outcome>> {
        std::mem::take(&mut *self.answers.lock())
    }

    /// Answers those that were not answered yet.
    pub(crate) fn tell(&self, problem: &Problem) {
        tell_all(self.take(), problem);
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct UnderWay {
    entries: Mutex<Vec<Entry>>,
    begun: Notify,
}

struct Entry {
    callers: Weak<Callers>,
    /// Looks in a row at which it could not be decided.
    looks: u32,
}

impl UnderWay {
    /// An entry is proposed; it is decided once nothing holds `callers` any more.
    pub(crate) fn begin(&self, callers: &Arc<Callers>) {
        let mut entries = self.entries.lock();
        entries.retain(Entry::is_open); // no more are left than may be under way at once
        entries.push(Entry { callers: Arc::downgrade(callers), looks: 0 });
        self.begun.notify_one();
    }

    /// Looks after the entries for ever; while there are none it sleeps.
    pub(crate) async fn watch(&self, group: &Group) {
        loop {
            self.begun.notified().await;
            loop {
                tokio::time::sleep(LOOK).await;
                if !self.look(!group.leads() || group.is_cut_off()) {
                    break;
                }
            }
        }
    }

    /// One look; `stuck` tells that nothing can be decided now. Gives whether entries are left.
    fn look(&self, stuck: bool) -> bool {
        let mut entries = self.entries.lock();
        entries.retain(Entry::is_open);
        for entry in entries.iter_mut() {
            entry.looks = if stuck { entry.looks + 1 } else { 0 };
            if entry.looks >= LOOKS_MAX
                && let Some(callers) = entry.callers.upgrade()
            {
                callers.tell(&undecided());
            }
        }
        !entries.is_empty()
    }
}

impl Entry {
    fn is_open(&self) -> bool {
        self.callers.strong_count() > 0
    }
}

/// Gives all of them the same answer.
pub(crate) fn tell_all(callers: impl IntoIterator<Item = oneshot::Sender<Outcome>>, problem: &Problem) {
    for caller in callers {
        // one that is gone needs no answer
        let _ = caller.send(Err(problem.clone()));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use oprc_mesh::outcome::{Code, Effect};

    #[test]
    fn callers_are_told_once_after_their_patience() {
        let under_way = UnderWay::default();
        assert!(!under_way.look(true));
        let (answer, mut told) = oneshot::channel();
        let (ended, mut end) = oneshot::channel();
        let callers = Arc::new(Callers::new(vec![Caller { answer, ended }]));
        under_way.begin(&callers);
        // a look at which all is well begins the count anew
        for stuck in [true, false] {
            for _ in 1..LOOKS_MAX {
                assert!(under_way.look(stuck));
            }
        }
        for _ in 1..LOOKS_MAX {
            assert!(under_way.look(true));
        }
        assert!(told.try_recv().is_err());
        assert!(under_way.look(true), "the entry is still under way");
        let problem = told.try_recv().unwrap().unwrap_err();
        assert_eq!((problem.kind(), problem.effect()), (Code::NoQuorum, Effect::Unknown));
        assert!(callers.take().is_empty());
        assert_eq!(end.try_recv(), Err(oneshot::error::TryRecvError::Empty), "it may be decided yet");
        drop(callers);
        assert_eq!(end.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert!(!under_way.look(true));
    }
}
