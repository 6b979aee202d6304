//! How a process joins the mesh, what it serves there, and how that may fail.

use std::path::PathBuf;

use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::id::NodeId;
use crate::outcome::Problem;
use crate::secret::MeshSecret;
use crate::wire::{Answer, Op};

/// How a process takes part in the mesh. Without `listen`, `connect` and `zenoh_config` it is alone: no Zenoh session
/// is opened and only calls to itself work.
#[derive(Debug, Clone, Default)]
pub struct MeshConfig {
    /// The id of the host in this process, if there is one.
    pub node: Option<NodeId>,
    /// Separates clusters on one network; empty for the unnamed one.
    pub cluster: String,
    /// Zenoh endpoints to listen on, such as `tcp/127.0.0.1:7447`.
    pub listen: Vec<String>,
    /// Zenoh endpoints to connect to, kept trying for ever.
    pub connect: Vec<String>,
    /// A Zenoh configuration file for what the flags do not cover (TLS, access control).
    pub zenoh_config: Option<PathBuf>,
    /// What whoever links with this process must have; without, whoever comes is let in.
    pub secret: Option<MeshSecret>,
}

/// A failure of the mesh itself, not of a call on it.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// A setting was refused by Zenoh.
    #[error("mesh setting {key}: {source}")]
    Setting {
        /// The setting and its value, or the file.
        key: String,
        /// Zenoh's reason.
        source: zenoh::Error,
    },
    /// The mesh secret could not be handed to Zenoh.
    #[error("handing the mesh secret to Zenoh: {source}")]
    Secret {
        /// The system's reason.
        source: std::io::Error,
    },
    /// The session could not be opened.
    #[error("opening the mesh (listen: {listen}; connect: {connect}): {source}")]
    Open {
        /// Where it should listen.
        listen: String,
        /// Where it should connect to.
        connect: String,
        /// Zenoh's reason.
        source: zenoh::Error,
    },
    /// A declaration on the session failed.
    #[error("declaring {key} on the mesh: {source}")]
    Declare {
        /// The key expression.
        key: String,
        /// Zenoh's reason.
        source: zenoh::Error,
    },
    /// So much waits for a peer already that nothing more is taken; nothing was sent.
    #[error("too much waits to be sent to {peer}")]
    Congested {
        /// The peer, or the key expression on which it listens.
        peer: String,
    },
    /// A thread could not be started.
    #[error("starting a thread to send from: {source}")]
    Thread {
        /// The system's reason.
        source: std::io::Error,
    },
    /// A process that has no node id was asked to do what only a host does.
    #[error("a process without a node id is no host")]
    NoNode,
    /// This process has left the mesh.
    #[error("this process has left the mesh")]
    Closed,
}

/// Serves the operations of one host; the same for calls from this process and from the mesh.
pub trait Handler: Send + Sync + 'static {
    /// Runs `op`. Dropping the future cancels what has not been proposed yet.
    ///
    /// # Errors
    /// The [`Problem`] that the caller gets.
    fn handle(&self, op: Op, deadline: Instant) -> BoxFuture<'_, Result<Answer, Problem>>;
}
