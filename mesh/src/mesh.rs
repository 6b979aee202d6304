//! The mesh's face: open, serve, call, announce.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::RwLock;
use prost::Message as _;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::catalog::CatalogView;
use crate::directory::Directory;
use crate::follow;
use crate::id::NodeId;
use crate::outcome::{Code, Effect, Problem};
use crate::pending::Pending;
use crate::serve::Server;
use crate::session::{Link, alive_key, call_key, cancel_key, catalog_key, group_key, reply_key};
use crate::wire::{Answer, Cancel, Leads, Op, Reply, Request, Revision, VERSION};

/// How long [`Mesh::close`] waits for replies under way.
const CLOSE_MS: u64 = 5_000;

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
        /// The peer's node id or inbox.
        peer: String,
    },
    /// A thread could not be started.
    #[error("starting a thread to send from: {source}")]
    Thread {
        /// The system's reason.
        source: std::io::Error,
    },
    /// [`Mesh::serve`] without a node id.
    #[error("a process without a node id cannot serve")]
    NoNode,
}

/// Serves the operations of one host; the same for calls from this process and from the mesh.
pub trait Handler: Send + Sync + 'static {
    /// Runs `op`. Dropping the future cancels what has not been proposed yet.
    ///
    /// # Errors
    /// The [`Problem`] that the caller gets.
    fn handle(&self, op: Op, deadline: Instant) -> BoxFuture<'_, Result<Answer, Problem>>;
}

/// A process's part in the mesh. Cheap to clone.
#[derive(Clone)]
pub struct Mesh {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) node: Option<NodeId>,
    pub(crate) directory: Directory,
    pub(crate) link: Option<Link>,
    pub(crate) tasks: TaskTracker,
    pub(crate) closing: CancellationToken,
    pub(crate) pending: Pending,
    inbox: String,
    local: RwLock<Option<Arc<dyn Handler>>>,
}

impl Mesh {
    /// Joins the mesh. Returns once the session is open; peers may be found later.
    ///
    /// # Errors
    /// [`MeshError::Setting`], [`MeshError::Open`] or [`MeshError::Declare`].
    pub async fn open(config: MeshConfig) -> Result<Self, MeshError> {
        let alone = config.listen.is_empty() && config.connect.is_empty() && config.zenoh_config.is_none();
        let link = if alone { None } else { Some(Link::open(&config).await?) };
        let inner = Arc::new(Inner {
            node: config.node,
            directory: Directory::default(),
            link,
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            pending: Pending::default(),
            inbox: uuid::Uuid::new_v4().simple().to_string(),
            local: RwLock::new(None),
        });
        let mesh = Self { inner };
        if let Some(link) = &mesh.inner.link {
            mesh.receive_replies(link).await?;
            follow::follow(&mesh, link).await?;
        }
        Ok(mesh)
    }

    /// Replies go straight from Zenoh's callback to the waiting call. The callback holds the mesh weakly: the session
    /// owns the callback and the mesh owns the session.
    async fn receive_replies(&self, link: &Link) -> Result<(), MeshError> {
        let key = reply_key(&self.inner.inbox);
        let inner = Arc::downgrade(&self.inner);
        link.subscribe(key, move |sample| {
            let Some(inner) = inner.upgrade() else { return };
            match Reply::decode(&*sample.payload().to_bytes()) {
                Ok(reply) => inner.pending.complete(reply.correlation, outcome_of(reply.answer, reply.problem)),
                Err(error) => tracing::warn!(%error, "dropped a malformed reply"),
            }
        })
        .await
    }

    /// Makes this process the host `config.node`: its operations are `handler`'s. Local calls go to it directly.
    ///
    /// # Errors
    /// [`MeshError::NoNode`] or [`MeshError::Declare`].
    pub async fn serve(&self, handler: Arc<dyn Handler>) -> Result<(), MeshError> {
        let node = self.inner.node.ok_or(MeshError::NoNode)?;
        *self.inner.local.write() = Some(handler.clone());
        if let Some(link) = &self.inner.link {
            // the subscribers come before the token, so that whoever sees the node alive reaches it
            let server = Server::new(self.downgrade(), handler);
            let canceller = server.clone();
            link.subscribe(call_key(node), move |sample| server.accept(&sample.payload().to_bytes())).await?;
            link.subscribe(cancel_key(node), move |sample| canceller.cancel(&sample.payload().to_bytes())).await?;
            let key = alive_key(node);
            let token = link.session.liveliness().declare_token(key.clone()).await;
            link.keep_alive(token.map_err(|source| MeshError::Declare { key, source })?);
        }
        self.inner.directory.learn_node(node);
        Ok(())
    }

    /// Asks `node` for `op` and waits for its answer until `deadline`.
    ///
    /// # Errors
    /// The problem that the node answered with; `unavailable` with effect `not-run` when the node is not to be reached,
    /// with effect `unknown` when it was lost meanwhile; `deadline` with effect `unknown`.
    pub async fn call(&self, node: NodeId, op: Op, deadline: Instant) -> Result<Answer, Problem> {
        if Some(node) == self.inner.node {
            let local = self.inner.local.read().clone();
            let Some(handler) = local else { return Err(unreachable(node)) };
            return timeout_at(deadline, handler.handle(op, deadline))
                .await
                .unwrap_or_else(|_| Err(too_late()));
        }
        self.call_remote(node, op, deadline).await
    }

    async fn call_remote(&self, node: NodeId, op: Op, deadline: Instant) -> Result<Answer, Problem> {
        let Some(link) = &self.inner.link else { return Err(unreachable(node)) };
        let mut ticket = self.inner.pending.register(node);
        let request = Request {
            version: VERSION,
            correlation: ticket.correlation,
            reply_to: self.inner.inbox.clone(),
            timeout_ms: (deadline - Instant::now()).as_millis() as u64,
            op: Some(op),
        };
        if !self.inner.directory.nodes().contains(&node) {
            return Err(unreachable(node)); // Zenoh would drop it silently; lost from here on, the ticket fails
        }
        if let Err(error) = link.send(&node.to_string(), call_key(node), request.encode_to_vec()) {
            return Err(Problem::new(Code::Unavailable, error.to_string()).with_effect(Effect::NotRun));
        }
        // from here on the node is told when this call is given up, by its deadline or by whoever dropped it
        let correlation = ticket.correlation;
        let mut abandon = Abandon { inner: &self.inner, node, correlation, answered: false };
        match timeout_at(deadline, &mut ticket.reply).await {
            Ok(reply) => {
                abandon.answered = true;
                reply.unwrap_or_else(|_| Err(lost(node)))
            }
            Err(_) => Err(too_late()),
        }
    }

    /// What this process knows of the cluster.
    pub fn directory(&self) -> &Directory {
        &self.inner.directory
    }

    /// Tells the mesh, this process included, that a node leads a group.
    pub fn announce_leader(&self, leads: Leads) {
        self.inner.directory.learn_leader(leads);
        self.announce(group_key(leads.group), leads.encode_to_vec());
    }

    /// Tells the mesh, this process included, of a new catalog revision.
    pub fn announce_catalog(&self, view: Arc<CatalogView>) {
        let revision = Revision { revision: view.revision };
        self.inner.directory.learn_view(view);
        if let Some(node) = self.inner.node {
            self.announce(catalog_key(node), revision.encode_to_vec());
        }
    }

    fn announce(&self, key: String, payload: Vec<u8>) {
        if let Some(link) = &self.inner.link
            && let Err(error) = link.announce(key, payload)
        {
            tracing::warn!(%error, "an announcement was lost; others find out when they ask");
        }
    }

    /// Leaves the mesh: new requests are refused as not run, those under way are answered (for 5 s at the most), then the
    /// session closes.
    pub async fn close(&self) {
        self.inner.closing.cancel();
        if let Some(link) = &self.inner.link {
            link.withdraw();
        }
        self.inner.tasks.close();
        let drained = tokio::time::timeout(Duration::from_millis(CLOSE_MS), self.inner.tasks.wait()).await;
        if drained.is_err() {
            tracing::warn!("the mesh closed with calls under way");
        }
        self.inner.local.write().take();
        if let Some(link) = &self.inner.link {
            link.close().await;
        }
    }

    pub(crate) fn downgrade(&self) -> std::sync::Weak<Inner> {
        Arc::downgrade(&self.inner)
    }

    pub(crate) fn upgrade(inner: &std::sync::Weak<Inner>) -> Option<Self> {
        inner.upgrade().map(|inner| Self { inner })
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }
}

/// Dropped with a call that was given up before its reply came: tells the node.
struct Abandon<'a> {
    inner: &'a Inner,
    node: NodeId,
    correlation: u64,
    answered: bool,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let cancel = Cancel { correlation: self.correlation, reply_to: self.inner.inbox.clone() };
        if let Some(link) = &self.inner.link {
            // a hint, and it may be lost: the node's own deadline ends the request as well
            let _ = link.send(&self.node.to_string(), cancel_key(self.node), cancel.encode_to_vec());
        }
    }
}

fn outcome_of(answer: Option<Answer>, problem: Option<Problem>) -> Result<Answer, Problem> {
    match (problem, answer) {
        (Some(problem), _) => Err(problem),
        (None, Some(answer)) => Ok(answer),
        (None, None) => {
            Err(Problem::new(Code::Internal, "the answer is of a kind unknown here")
                .with_effect(Effect::Unknown))
        }
    }
}

fn unreachable(node: NodeId) -> Problem {
    Problem::new(Code::Unavailable, format!("host {node} is not reachable")).with_effect(Effect::NotRun)
}

pub(crate) fn lost(node: NodeId) -> Problem {
    Problem::new(Code::Unavailable, format!("host {node} was lost during the call"))
        .with_effect(Effect::Unknown)
}

pub(crate) fn too_late() -> Problem {
    Problem::new(Code::Deadline, "no answer before the deadline").with_effect(Effect::Unknown)
}
