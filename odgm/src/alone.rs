//! The peers of a host that has none.

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
pub(crate) struct Alone(watch::Sender<BTreeSet<NodeId>>);

impl Alone {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(BTreeSet::new()))
    }
}

impl Peers for Alone {
    fn post(&self, _to: NodeId, _lane: Lane, _message: Bytes) -> Result<(), MeshError> {
        Ok(())
    }

    fn call(&self, to: NodeId, _op: Op, _deadline: Instant) -> BoxFuture<'_, Result<Answer, Problem>> {
        let detail = format!("host {to} is not to be reached: this host is on no mesh");
        std::future::ready(Err(Problem::new(Code::Unavailable, detail).with_effect(Effect::NotRun))).boxed()
    }

    fn watch_nodes(&self) -> watch::Receiver<BTreeSet<NodeId>> {
        self.0.subscribe()
    }
}
