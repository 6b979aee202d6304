//! Questions to the grids of other hosts.

use std::sync::Arc;

use bytes::Bytes;
use oprc_mesh::Peers;
use oprc_mesh::id::NodeId;
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::wire::{Answer, FetchComponent, GridAnswer, GridAsk, GridQuestion, GridReply, Op};
use tokio::time::Instant;

use crate::identity::Identity;

/// See the module.
#[derive(Clone)]
pub(crate) struct Asker {
    peers: Arc<dyn Peers>,
    identity: Arc<Identity>,
}

impl Asker {
    pub(crate) fn new(peers: Arc<dyn Peers>, identity: Arc<Identity>) -> Self {
        Self { peers, identity }
    }

    /// This host.
    pub(crate) fn me(&self) -> NodeId {
        self.identity.node()
    }

    /// The other hosts that seem alive.
    pub(crate) fn others(&self) -> Vec<NodeId> {
        let nodes = self.peers.watch_nodes();
        let nodes = nodes.borrow();
        nodes.iter().copied().filter(|node| *node != self.identity.node()).collect()
    }

    /// Asks one host.
    ///
    /// # Errors
    /// What it answered with, `denied` when it is of another cluster, or that it is not to be reached.
    pub(crate) async fn ask(
        &self,
        to: NodeId,
        question: GridQuestion,
        deadline: Instant,
    ) -> Result<GridReply, Problem> {
        let (from, cluster) = (self.identity.node().0, self.identity.cluster());
        let ask = GridAsk { from, cluster, question: Some(question) };
        match self.peers.call(to, Op::Grid(ask), deadline).await? {
            Answer::Grid(GridAnswer { reply: Some(reply) }) => Ok(reply),
            _ => Err(strange(to)),
        }
    }

    /// Makes sure that a host holds a component durably; it fetches it, from this host first, if it does not yet.
    ///
    /// # Errors
    /// It could not, or is not to be reached.
    pub(crate) async fn supply(&self, to: NodeId, digest: Bytes, deadline: Instant) -> Result<(), Problem> {
        let fetch = FetchComponent { digest, from: self.identity.node().0 };
        match self.peers.call(to, Op::FetchComponent(fetch), deadline).await? {
            Answer::Fetched(_) => Ok(()),
            _ => Err(strange(to)),
        }
    }
}

/// The host answered something else than was asked.
pub(crate) fn strange(node: NodeId) -> Problem {
    let detail = format!("host {node} answered something that this build does not know");
    Problem::new(Code::Internal, detail).with_effect(Effect::Unknown)
}
