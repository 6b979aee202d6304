//! Calls that wait for their reply, by correlation id. Bounded by the gateways' and hosts' own admission; every entry
//! leaves when its caller stops waiting.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::id::NodeId;
use crate::outcome::Problem;
use crate::wire::Answer;

type Outcome = Result<Answer, Problem>;

/// See the module.
#[derive(Default)]
pub(crate) struct Pending {
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, (NodeId, oneshot::Sender<Outcome>)>>,
}

/// One waiting call; dropping it withdraws the call.
pub(crate) struct Ticket<'a> {
    pending: &'a Pending,
    pub(crate) correlation: u64,
    pub(crate) reply: oneshot::Receiver<Outcome>,
}

impl Pending {
    /// Begins to wait for a reply of `node`.
    pub(crate) fn register(&self, node: NodeId) -> Ticket<'_> {
        let correlation = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, reply) = oneshot::channel();
        self.waiting.lock().insert(correlation, (node, sender));
        Ticket { pending: self, correlation, reply }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Hands over a reply; one that nobody waits for any more is dropped.
    pub(crate) fn complete(&self, correlation: u64, outcome: Outcome) {
        let waiting = self.waiting.lock().remove(&correlation);
        if let Some((_, sender)) = waiting {
            let _ = sender.send(outcome); // the caller may have gone
        }
    }

    /// Fails every call that waits for `node`.
    pub(crate) fn fail(&self, node: NodeId, problem: &Problem) {
        let mut waiting = self.waiting.lock();
        let lost: Vec<u64> = waiting.iter().filter(|(_, call)| call.0 == node).map(|(id, _)| *id).collect();
        for correlation in lost {
            if let Some((_, sender)) = waiting.remove(&correlation) {
                let _ = sender.send(Err(problem.clone())); // the caller may have gone
            }
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.pending.waiting.lock().remove(&self.correlation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Code;

    #[tokio::test]
    async fn a_lost_node_fails_its_calls_and_no_others() {
        let pending = Pending::default();
        let mut lost = pending.register(NodeId(1));
        let mut other = pending.register(NodeId(2));
        pending.fail(NodeId(1), &Problem::new(Code::Unavailable, "gone"));
        assert_eq!((&mut lost.reply).await.unwrap().unwrap_err().kind(), Code::Unavailable);
        assert!(other.reply.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_caller_that_left_leaves_nothing_behind() {
        let pending = Pending::default();
        let correlation = pending.register(NodeId(1)).correlation;
        assert!(pending.waiting.lock().is_empty());
        pending.complete(correlation, Err(Problem::new(Code::Internal, "late")));
    }
}
