//! What one process is on the mesh: its link, its directory, its waiting calls, and what it serves. Shared by the parts
//! of this crate; the face around it is [`crate::Mesh`].

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::RwLock;
use prost::Message as _;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Handler, MeshConfig, MeshError};
use crate::directory::Directory;
use crate::id::NodeId;
use crate::keys::Route;
use crate::outcome::{Code, Effect, Problem};
use crate::peers::{Lane, Receiver};
use crate::pending::Pending;
use crate::session::Link;
use crate::trace::{KeyValue, Kind, Span};
use crate::ways::{Way, Ways};
use crate::wire::{Answer, Op, Reply, Request, VERSION};

/// See the module.
pub(crate) struct Member {
    pub(crate) node: Option<NodeId>,
    pub(crate) directory: Directory,
    pub(crate) link: Option<Link>,
    pub(crate) tasks: TaskTracker,
    pub(crate) closing: CancellationToken,
    pub(crate) pending: Pending,
    pub(crate) inbox: String,
    pub(crate) ways: Ways,
    /// Serves what is asked of this very process.
    pub(crate) local: RwLock<Option<Arc<dyn Handler>>>,
    /// Takes what is posted to this very host.
    pub(crate) receiver: RwLock<Option<Arc<dyn Receiver>>>,
}

impl Member {
    pub(crate) async fn join(config: &MeshConfig) -> Result<Arc<Self>, MeshError> {
        let alone = config.listen.is_empty() && config.connect.is_empty() && config.zenoh_config.is_none();
        let link = if alone { None } else { Some(Link::open(config).await?) };
        Ok(Arc::new(Self {
            node: config.node,
            directory: Directory::default(),
            link,
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            pending: Pending::default(),
            inbox: uuid::Uuid::new_v4().simple().to_string(),
            ways: Ways::default(),
            local: RwLock::new(None),
            receiver: RwLock::new(None),
        }))
    }

    /// Replies go straight from Zenoh's callback to the waiting call. The callback holds the member weakly: the
    /// session owns the callback and the member owns the session.
    pub(crate) async fn receive_replies(self: &Arc<Self>, link: &Link) -> Result<(), MeshError> {
        let key = Route::Replies(self.inbox.clone()).key();
        let member = Arc::downgrade(self);
        link.receive(key, move |_, message| {
            let Some(member) = member.upgrade() else { return };
            match Reply::decode(message) {
                Ok(reply) => {
                    member.pending.complete(reply.correlation, outcome_of(reply.answer, reply.problem));
                }
                Err(error) => tracing::warn!(%error, "dropped a malformed reply"),
            }
        })
        .await
    }

    /// Posts are the receiver's, straight from Zenoh's callback.
    pub(crate) async fn receive_posts(self: &Arc<Self>, link: &Link, node: NodeId) -> Result<(), MeshError> {
        for lane in Lane::ALL {
            let member = Arc::downgrade(self);
            link.receive(Route::Posts(node, lane).key(), move |origin, message| {
                let Some(member) = member.upgrade() else { return };
                member.deliver(origin.from, lane, message);
            })
            .await?;
        }
        Ok(())
    }

    /// Hands a post to the receiver, if there is one.
    pub(crate) fn deliver(&self, from: NodeId, lane: Lane, message: Bytes) {
        let receiver = self.receiver.read().clone();
        if let Some(receiver) = receiver {
            receiver.receive(from, lane, message);
        }
    }

    /// Asks `node` for `op` and waits for its answer until `deadline`.
    ///
    /// # Errors
    /// The problem that the node answered with; `unavailable` with effect `not-run` when the node is not to be reached,
    /// with effect `unknown` when it was lost meanwhile; `deadline` with effect `unknown`.
    pub(crate) fn call(
        &self,
        node: NodeId,
        op: Op,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Answer, Problem>> {
        let span = Span::current().child(Kind::Client, || "mesh call".into());
        let asked = self.ask(node, op, deadline);
        if span.is_none() {
            return asked;
        }
        let is_local = Some(node) == self.node;
        span.set(|| [KeyValue::new("oprc.node", node.to_string()), KeyValue::new("oprc.local", is_local)]);
        Box::pin(span.run(asked))
    }

    /// In a box, and each way in its own: callers hold it within many others of their own, and each of those is moved.
    fn ask(&self, node: NodeId, op: Op, deadline: Instant) -> BoxFuture<'_, Result<Answer, Problem>> {
        if Some(node) == self.node {
            let local = self.local.read().clone();
            return Box::pin(async move {
                let Some(handler) = local else { return Err(unreachable(node)) };
                let answer = timeout_at(deadline, handler.handle(op, deadline)).await;
                answer.unwrap_or_else(|_| Err(too_late()))
            });
        }
        Box::pin(async move {
            if !self.directory.is_alive(node) {
                return Err(unreachable(node)); // Zenoh would drop it silently; lost from here on, the ticket fails
            }
            self.exchange(self.ways.to(node), node, Some(op), deadline).await.flatten()
        })
    }

    /// Greets `node` by one way; whether it answered. The mesh itself answers there.
    pub(crate) async fn greet(&self, way: Way, node: NodeId, deadline: Instant) -> bool {
        self.exchange(way, node, None, deadline).await.is_ok()
    }

    /// Sends `node` a request by `way`, and waits for its reply.
    ///
    /// # Errors
    /// There was no reply.
    async fn exchange(
        &self,
        way: Way,
        node: NodeId,
        op: Option<Op>,
        deadline: Instant,
    ) -> Result<Result<Answer, Problem>, Problem> {
        let Some(link) = &self.link else { return Err(unreachable(node)) };
        let mut ticket = self.pending.register(node);
        let request = Request {
            version: VERSION,
            correlation: ticket.correlation,
            reply_to: self.inbox.clone(),
            timeout_ms: (deadline - Instant::now()).as_millis() as u64,
            trace: Span::current().to_wire(),
            op,
            withdrawn: false,
        };
        let route = way.route(Route::Calls(node));
        if let Err(error) = link.send(route.clone(), request.encode_to_vec()) {
            return Err(Problem::new(Code::Unavailable, error.to_string()).with_effect(Effect::NotRun));
        }
        // from here on the node is told when this call is given up, by its deadline or by whoever dropped it
        let correlation = ticket.correlation;
        let mut abandon = Abandon { member: self, route: Some(route), correlation };
        match timeout_at(deadline, &mut ticket.reply).await {
            Ok(reply) => {
                abandon.route = None;
                reply.map_err(|_| lost(node))
            }
            Err(_) => Err(too_late()),
        }
    }
}

/// Dropped with a call that was given up before its reply came: tells the node.
struct Abandon<'a> {
    member: &'a Member,
    /// How the request went; none once it was answered.
    route: Option<Route>,
    correlation: u64,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        let Some(route) = self.route.take() else { return };
        let withdrawn = Request {
            correlation: self.correlation,
            reply_to: self.member.inbox.clone(),
            withdrawn: true,
            ..Request::default()
        };
        if let Some(link) = &self.member.link {
            // a hint, and it may be lost: the node's own deadline ends the request as well
            let _ = link.send(route, withdrawn.encode_to_vec());
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

pub(crate) fn unreachable(node: NodeId) -> Problem {
    Problem::new(Code::Unavailable, format!("host {node} is not reachable")).with_effect(Effect::NotRun)
}

pub(crate) fn lost(node: NodeId) -> Problem {
    Problem::new(Code::Unavailable, format!("host {node} was lost during the call"))
        .with_effect(Effect::Unknown)
}

pub(crate) fn too_late() -> Problem {
    Problem::new(Code::Deadline, "no answer before the deadline").with_effect(Effect::Unknown)
}
