//! The mesh's face: open, serve, call, announce.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use prost::Message as _;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::catalog::CatalogView;
use crate::config::{Handler, MeshConfig, MeshError};
use crate::directory::Directory;
use crate::follow;
use crate::id::NodeId;
use crate::keys::{Route, alive_key};
use crate::member::Member;
use crate::outcome::Problem;
use crate::peers::{Lane, Peers, Receiver};
use crate::serve::Server;
use crate::session::Link;
use crate::wire::{Answer, Leads, Op, Revision};

/// How long [`Mesh::close`] waits for replies under way.
const CLOSE_MS: u64 = 5_000;

/// How often a sign waits for whatever else this process has to do.
const SIGN_TURNS: usize = 4;

/// A process's part in the mesh. Cheap to clone.
#[derive(Clone)]
pub struct Mesh {
    member: Arc<Member>,
}

/// See [`Mesh::load`].
pub(crate) struct Load {
    /// Calls without an answer yet.
    pub(crate) calls: usize,
    /// Messages that are not sent yet, and their bytes.
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    /// Messages that were refused since the start.
    pub(crate) refused: u64,
}

impl Mesh {
    /// Joins the mesh. Returns once the session is open; peers may be found later.
    ///
    /// # Errors
    /// [`MeshError::Setting`], [`MeshError::Open`] or [`MeshError::Declare`].
    pub async fn open(config: MeshConfig) -> Result<Self, MeshError> {
        let member = Member::join(&config).await?;
        if let Some(link) = &member.link {
            member.receive_replies(link).await?;
            follow::follow(&member, link).await?;
        }
        Ok(Self { member })
    }

    /// Makes this process the host `config.node`: its operations are `handler`'s. Local calls go to it directly.
    ///
    /// # Errors
    /// [`MeshError::NoNode`] or [`MeshError::Declare`].
    pub async fn serve(&self, handler: Arc<dyn Handler>) -> Result<(), MeshError> {
        let node = self.member.node.ok_or(MeshError::NoNode)?;
        *self.member.local.write() = Some(handler.clone());
        if let Some(link) = &self.member.link {
            // the subscribers come before the token, so that whoever sees the node alive reaches it
            let server = Server::new(Arc::downgrade(&self.member), handler);
            link.receive(Route::Calls(node).key(), move |origin, message| server.accept(origin, message))
                .await?;
            link.show_alive(alive_key(node, &self.member.inbox)).await?;
        }
        self.member.directory.learn_node(node);
        Ok(())
    }

    /// Gives `receiver` whatever other hosts post to this one. Comes before [`Mesh::serve`], which makes this host seen:
    /// what is posted to a host that does not receive is lost.
    ///
    /// # Errors
    /// [`MeshError::NoNode`] or [`MeshError::Declare`].
    pub async fn receive_posts(&self, receiver: Arc<dyn Receiver>) -> Result<(), MeshError> {
        let node = self.member.node.ok_or(MeshError::NoNode)?;
        *self.member.receiver.write() = Some(receiver);
        match &self.member.link {
            Some(link) => self.member.receive_posts(link, node).await,
            None => Ok(()),
        }
    }

    /// Asks `node` for `op` and waits for its answer until `deadline`. A call that is dropped, or whose deadline passes, is
    /// cancelled on the node as far as it has not taken effect.
    ///
    /// # Errors
    /// The problem that the node answered with; `unavailable` with effect `not-run` when the node is not to be reached,
    /// with effect `unknown` when it was lost meanwhile; `deadline` with effect `unknown`.
    pub fn call(&self, node: NodeId, op: Op, deadline: Instant) -> BoxFuture<'_, Result<Answer, Problem>> {
        self.member.call(node, op, deadline)
    }

    /// Asks `node` for no more than a sign, and waits for it until `deadline`: whether it came. How long that takes tells
    /// how busy the node is, and this process.
    pub async fn greet(&self, node: NodeId, deadline: Instant) -> bool {
        // whoever runs before it comes first: on another host once there, here a few times, as a call would wait
        for _ in 0..SIGN_TURNS {
            tokio::task::yield_now().await;
        }
        Some(node) == self.member.node || self.member.greet(self.member.ways.to(node), node, deadline).await
    }

    /// What this process knows of the cluster.
    pub fn directory(&self) -> &Directory {
        &self.member.directory
    }

    /// Tells the mesh, this process included, that a node leads a group.
    pub fn announce_leader(&self, leads: Leads) {
        self.member.directory.learn_leader(leads);
        self.announce(Route::Leads, leads.encode_to_vec());
    }

    /// Tells the mesh, this process included, of a new catalog revision.
    pub fn announce_catalog(&self, view: Arc<CatalogView>) {
        let revision = Revision { revision: view.revision };
        self.member.directory.learn_view(view);
        self.announce(Route::Catalog, revision.encode_to_vec());
    }

    /// What waits here for other processes.
    pub(crate) fn load(&self) -> Load {
        let (messages, bytes, refused) = self.link().map(Link::waiting).unwrap_or_default();
        Load { calls: self.member.pending.len(), messages, bytes, refused }
    }

    /// What it is linked by; none in a process that is alone.
    pub(crate) fn link(&self) -> Option<&Link> {
        self.member.link.as_ref()
    }

    fn announce(&self, route: impl Fn(NodeId) -> Route, message: Vec<u8>) {
        if let (Some(link), Some(node)) = (&self.member.link, self.member.node)
            && let Err(error) = link.send(route(node), message)
        {
            tracing::warn!(%error, "an announcement was lost; others find out when they ask");
        }
    }

    /// Leaves the mesh: new requests are refused as not run, those under way are answered (for 5 s at the most; posts still
    /// pass meanwhile), then the session closes.
    pub async fn close(&self) {
        self.member.closing.cancel();
        self.member.tasks.close();
        let drained = tokio::time::timeout(Duration::from_millis(CLOSE_MS), self.member.tasks.wait()).await;
        if drained.is_err() {
            tracing::warn!("the mesh closed with calls under way");
        }
        self.member.local.write().take();
        self.member.receiver.write().take();
        if let Some(link) = &self.member.link {
            link.close().await;
        }
    }
}

impl Peers for Mesh {
    fn post(&self, to: NodeId, lane: Lane, message: Bytes) -> Result<(), MeshError> {
        let from = self.member.node.ok_or(MeshError::NoNode)?;
        if to == from {
            self.member.deliver(from, lane, message);
            return Ok(());
        }
        match &self.member.link {
            Some(link) => link.send(self.member.ways.to(to).route(Route::Posts(to, lane)), message),
            None => Ok(()), // alone: there is no such node
        }
    }

    fn call(&self, to: NodeId, op: Op, deadline: Instant) -> BoxFuture<'_, Result<Answer, Problem>> {
        self.member.call(to, op, deadline)
    }

    fn watch_nodes(&self) -> watch::Receiver<BTreeSet<NodeId>> {
        self.member.directory.watch_nodes()
    }
}
