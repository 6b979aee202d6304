//! One node's side of a [`LocalNetwork`].

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::network::LocalNetwork;
use crate::config::{Handler, MeshError};
use crate::id::NodeId;
use crate::member::{lost, too_late, unreachable};
use crate::outcome::Problem;
use crate::peers::{Lane, Peers, Receiver};
use crate::wire::{Answer, Op};

/// One process on a [`LocalNetwork`]. Once its node has left, or joined again as another process, it carries nothing.
pub struct LocalPeers {
    pub(super) network: LocalNetwork,
    pub(super) node: NodeId,
    pub(super) life: u64,
    pub(super) alive: watch::Receiver<BTreeSet<NodeId>>,
}

impl LocalPeers {
    /// Who this is.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// From now on posts to this node are `receiver`'s; until then they are lost.
    pub fn receive_posts(&self, receiver: Arc<dyn Receiver>) {
        self.network.shared.with_node(self.node, self.life, |own| *own.receiver = Some(receiver));
    }

    /// From now on calls to this node are `handler`'s; until then it is not to be reached by them.
    pub fn serve(&self, handler: Arc<dyn Handler>) {
        self.network.shared.with_node(self.node, self.life, |own| *own.handler = Some(handler));
    }

    fn is_up(&self) -> bool {
        self.network.shared.life(self.node) == Some(self.life)
    }

    fn handler(&self, node: NodeId) -> Option<Arc<dyn Handler>> {
        let life = self.network.shared.life(node)?;
        self.network.shared.with_node(node, life, |own| own.handler.clone())?
    }

    async fn call_remote(&self, to: NodeId, op: Op, deadline: Instant) -> Result<Answer, Problem> {
        let mut alive = self.alive.clone();
        let seen = self.is_up() && alive.borrow().contains(&to);
        let Some(handler) = seen.then(|| self.handler(to)).flatten() else { return Err(unreachable(to)) };
        let answer = async {
            self.travel(self.node, to).await;
            // in a task of its own: it runs on when the link is lost or the caller gives up
            let work = async move { timeout_at(deadline, handler.handle(op, deadline)).await };
            let outcome = self.network.shared.runtime.spawn(work).await;
            self.travel(to, self.node).await;
            outcome.map_or_else(|_| Err(lost(to)), |outcome| outcome.unwrap_or_else(|_| Err(too_late())))
        };
        let gone = async {
            // an error: this node itself has gone
            let _ = alive.wait_for(|alive| !alive.contains(&to)).await;
        };
        let outcome = async {
            tokio::select! {
                answer = answer => answer,
                () = gone => Err(lost(to)),
            }
        };
        timeout_at(deadline, outcome).await.unwrap_or_else(|_| Err(too_late()))
    }

    /// Passes when the message arrives; never when it is lost.
    async fn travel(&self, from: NodeId, to: NodeId) {
        let Some(delay) = self.network.shared.travel(from, to) else { return std::future::pending().await };
        if !delay.is_zero() {
            sleep_until(Instant::now() + delay).await;
        }
        if !self.network.shared.carries(from, to) {
            std::future::pending::<()>().await;
        }
    }
}

impl Peers for LocalPeers {
    fn post(&self, to: NodeId, lane: Lane, message: Bytes) -> Result<(), MeshError> {
        if !self.is_up() {
            return Err(MeshError::Closed);
        }
        if to != self.node {
            return self.network.shared.post(self.node, to, lane, message);
        }
        let receiver = self.network.shared.with_node(self.node, self.life, |own| own.receiver.clone());
        if let Some(receiver) = receiver.flatten() {
            receiver.receive(self.node, lane, message);
        }
        Ok(())
    }

    fn call(&self, to: NodeId, op: Op, deadline: Instant) -> BoxFuture<'_, Result<Answer, Problem>> {
        Box::pin(async move {
            if to != self.node {
                return self.call_remote(to, op, deadline).await;
            }
            let Some(handler) = self.handler(to) else { return Err(unreachable(to)) };
            timeout_at(deadline, handler.handle(op, deadline)).await.unwrap_or_else(|_| Err(too_late()))
        })
    }

    fn watch_nodes(&self) -> watch::Receiver<BTreeSet<NodeId>> {
        self.alive.clone()
    }
}
