//! The mesh of a host that is alone: nobody is there to be reached.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use oprc_mesh::id::NodeId;
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::wire::{Answer, Op};
use oprc_mesh::{Lane, MeshError, Peers};
use tokio::sync::watch;
use tokio::time::Instant;

/// See the module.
pub(crate) struct Lone {
    nodes: watch::Sender<BTreeSet<NodeId>>,
}

impl Lone {
    pub(crate) fn new(node: NodeId) -> Self {
        Self { nodes: watch::Sender::new(BTreeSet::from([node])) }
    }
}

impl Peers for Lone {
    fn post(&self, _to: NodeId, _lane: Lane, _message: Bytes) -> Result<(), MeshError> {
        Ok(())
    }

    fn call(&self, to: NodeId, _op: Op, _deadline: Instant) -> BoxFuture<'_, Result<Answer, Problem>> {
        let problem =
            Problem::new(Code::Unavailable, format!("this host is alone; {to} is not to be reached"));
        std::future::ready(Err(problem.with_effect(Effect::NotRun))).boxed()
    }

    fn watch_nodes(&self) -> watch::Receiver<BTreeSet<NodeId>> {
        self.nodes.subscribe()
    }
}
