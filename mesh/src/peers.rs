//! What hosts' grids say to each other: small messages, posted and forgotten, in lanes that do not wait for one another.
//! What must be answered is a call. [`crate::Mesh`] carries both over Zenoh, [`crate::testing`] within one process.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::MeshError;
use crate::id::NodeId;
use crate::outcome::Problem;
use crate::wire::{Answer, Op};

/// How a post travels. Messages of one lane keep their order; lanes overtake each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Votes and heartbeats: before all else, and dropped rather than late.
    Urgent,
    /// Appends and their replies.
    Data,
    /// Snapshots: after all else.
    Bulk,
}

impl Lane {
    /// Every lane, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Urgent, Self::Data, Self::Bulk];
}

/// Takes what other hosts post.
pub trait Receiver: Send + Sync + 'static {
    /// Takes one message of `from`. Called in order for each (from, lane), from the thread that moves the bytes: it must not
    /// block. Messages may be lost and, when a link is made anew, late.
    fn receive(&self, from: NodeId, lane: Lane, message: Bytes);
}

/// What a host's grid needs of the mesh.
pub trait Peers: Send + Sync + 'static {
    /// Queues one message for `to` and never blocks. Nobody learns whether it arrives: a node that is unknown or gone is no
    /// error. A message to this very host has been received when this returns.
    ///
    /// # Errors
    /// [`MeshError::Congested`] when too much waits for `to` already, [`MeshError::Closed`], [`MeshError::NoNode`],
    /// [`MeshError::Thread`]: nothing is sent.
    fn post(&self, to: NodeId, lane: Lane, message: Bytes) -> Result<(), MeshError>;

    /// Asks `to` for `op`; see [`crate::Mesh::call`].
    fn call(&self, to: NodeId, op: Op, deadline: Instant) -> BoxFuture<'_, Result<Answer, Problem>>;

    /// The hosts that seem alive, this one included. A hint, never more.
    fn watch_nodes(&self) -> watch::Receiver<BTreeSet<NodeId>>;
}
