//! The exchange with other hosts: requests of all groups on their way, matched with their replies by number, and the
//! requests that come in, handed to their group. One per host. Nothing here waits, so that the mesh may deliver right
//! from its own threads; what is in order between two hosts stays so up to the group.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use oprc_mesh::id::NodeId;
use oprc_mesh::{Lane, Peers, Receiver};
use parking_lot::{Mutex, RwLock};
use prost::Message as _;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::holds::Holds;
use super::inbound::Inbound;
use super::rest::{self, Rest};
use super::sending::Sending;
use super::signs::Signs;
use super::window::Windows;
use super::wire::{Body, GroupMessage, Refused};

/// How often each host says that it is there.
const SIGN_OF_LIFE: Duration = Duration::from_millis(250);
/// Every so many of them idle groups are looked for.
const SETTLE_ROUNDS: u32 = 4;
/// The group of a message that is of no group.
const OF_NO_GROUP: u64 = u64::MAX;

/// See the module.
pub(crate) struct Exchange {
    peers: Arc<dyn Peers>,
    runtime: Handle,
    tasks: TaskTracker,
    /// The cluster that this host belongs to; 0 until it is known.
    cluster: AtomicU64,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Body>>>,
    sending: Sending,
    windows: Windows,
    holds: Holds,
    groups: RwLock<HashMap<u64, Arc<Inbound>>>,
    signs: Arc<Signs>,
}

/// A request that waits for its reply; dropping it gives up.
pub(super) struct Ticket {
    exchange: Arc<Exchange>,
    number: u64,
    reply: oneshot::Receiver<Body>,
}

impl Exchange {
    /// To be made within a runtime.
    pub(crate) fn new(peers: Arc<dyn Peers>) -> Arc<Self> {
        Arc::new(Self {
            peers,
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
            cluster: AtomicU64::new(0),
            next: AtomicU64::new(1),
            waiting: Mutex::default(),
            sending: Sending::default(),
            windows: Windows::default(),
            holds: Holds::default(),
            groups: RwLock::default(),
            signs: Arc::new(Signs::new()),
        })
    }

    /// From now on messages carry this cluster's number, and those of another are refused.
    pub(crate) fn set_cluster(&self, cluster: u64) {
        self.cluster.store(cluster, Ordering::Release);
    }

    pub(crate) fn peers(&self) -> &Arc<dyn Peers> {
        &self.peers
    }

    pub(super) fn sending(&self) -> &Sending {
        &self.sending
    }

    /// How many snapshots other hosts have taken from this one.
    pub(crate) fn snapshots_sent(&self) -> u64 {
        self.sending.sent.get()
    }

    pub(super) fn windows(&self) -> &Windows {
        &self.windows
    }

    /// The groups whose logs must not be purged for now.
    pub(crate) fn holds(&self) -> &Holds {
        &self.holds
    }

    /// A number that this host gives out once.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Hands a group what is asked of it.
    pub(super) fn register(&self, group: u64, inbound: Arc<Inbound>) {
        self.groups.write().insert(group, inbound);
    }

    /// The group takes nothing any more.
    pub(super) fn unregister(&self, group: u64) {
        self.groups.write().remove(&group);
    }

    /// Sends a request to a host's replica of a group.
    pub(super) fn ask(self: &Arc<Self>, to: u64, lane: Lane, group: u64, body: Body) -> Ticket {
        let number = self.number();
        let (sender, reply) = oneshot::channel();
        self.waiting.lock().insert(number, sender);
        let ticket = Ticket { exchange: self.clone(), number, reply };
        if let Err(error) = self.send(to, lane, group, number, body) {
            let refused = Refused { reason: error.to_string() };
            self.complete(number, Body::Refused(refused));
        }
        ticket
    }

    /// Sends what nobody replies to.
    pub(super) fn tell(&self, to: u64, lane: Lane, group: u64, body: Body) {
        // lost: the sender notices by itself that nothing came of it
        let _ = self.send(to, lane, group, 0, body);
    }

    fn send(
        &self,
        to: u64,
        lane: Lane,
        group: u64,
        number: u64,
        body: Body,
    ) -> Result<(), oprc_mesh::MeshError> {
        let cluster = self.cluster.load(Ordering::Acquire);
        let message = GroupMessage { group, cluster, number, body: Some(body) };
        self.peers.post(NodeId(to), lane, Bytes::from(message.encode_to_vec()))
    }

    fn complete(&self, number: u64, body: Body) {
        let waiting = self.waiting.lock().remove(&number);
        if let Some(waiting) = waiting {
            let _ = waiting.send(body); // who asked may have gone
        }
    }

    /// Begins to answer a request. What can be handed on at once is handed on before this returns, so that requests to
    /// one group keep their order; the rest is awaited in a task.
    fn serve(self: &Arc<Self>, from: NodeId, lane: Lane, message: GroupMessage) {
        let GroupMessage { group, cluster, number, body } = message;
        let inbound = self.groups.read().get(&group).cloned();
        let known = self.cluster.load(Ordering::Acquire);
        let work = match (inbound, body) {
            _ if known != 0 && cluster != 0 && cluster != known => Err("it belongs to another cluster"),
            (None, _) => Err("it does not hold the group"),
            (_, None) => Err("it does not know this kind of request"),
            (Some(inbound), Some(body)) => Ok(inbound.answer(from.0, body)),
        };
        match work {
            Err(reason) => {
                let refused = Body::Refused(Refused { reason: format!("host {from} is refused: {reason}") });
                self.reply(from, lane, group, number, refused);
            }
            Ok(answer) => {
                let exchange = self.clone();
                self.begin(async move {
                    if let Some(body) = answer.await {
                        exchange.reply(from, lane, group, number, body);
                    }
                });
            }
        }
    }

    fn reply(&self, to: NodeId, lane: Lane, group: u64, number: u64, body: Body) {
        // 0: nobody waits
        if number != 0
            && let Err(error) = self.send(to.0, lane, group, number, body)
        {
            tracing::debug!(%to, group, %error, "a reply was lost");
        }
    }

    /// Polls a future once, here and now; if it is not done then, a task goes on with it.
    fn begin(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut work = Box::pin(work);
        let _entered = self.runtime.enter();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        if work.as_mut().poll(&mut context).is_pending() {
            // the task polls it again, with a waker that wakes
            self.tasks.spawn_on(work, &self.runtime);
        }
    }

    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(work, &self.runtime);
    }

    pub(super) fn signs(&self) -> &Arc<Signs> {
        &self.signs
    }

    /// Tells the other hosts that this one is there, and looks after the groups that rest, until `stop`.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut nodes = self.peers.watch_nodes();
        let mut rounds: u32 = 0;
        while stop.run_until_cancelled(tokio::time::sleep(SIGN_OF_LIFE)).await.is_some() {
            rounds = rounds.wrapping_add(1);
            let others: Vec<NodeId> = nodes.borrow_and_update().iter().copied().collect();
            for other in others {
                self.tell(other.0, Lane::Urgent, OF_NO_GROUP, Body::Alive(self.signs.own()));
            }
            let groups: Vec<Arc<Rest>> =
                self.groups.read().values().map(|inbound| inbound.rest().clone()).collect();
            rest::look(&self, &groups, rounds.is_multiple_of(SETTLE_ROUNDS));
        }
    }

    /// Waits for the answers under way.
    pub(crate) async fn drain(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// What the mesh delivers to. Takes in no more once the exchange is gone.
pub(crate) struct Inlet(pub(crate) std::sync::Weak<Exchange>);

impl Receiver for Inlet {
    fn receive(&self, from: NodeId, lane: Lane, message: Bytes) {
        let Some(exchange) = self.0.upgrade() else { return };
        let message = GroupMessage::decode(message);
        let sign = match &message {
            Ok(GroupMessage { body: Some(Body::Alive(sign)), .. }) => Some(*sign),
            _ => None,
        };
        exchange.signs.hear(from.0, sign);
        match message {
            Ok(GroupMessage { body: Some(Body::Alive(_)), .. }) => {}
            Err(error) => tracing::warn!(%from, %error, "dropped a malformed message of a host"),
            Ok(GroupMessage { number, body: Some(body), .. }) if body.is_reply() => {
                exchange.complete(number, body);
            }
            Ok(request) => exchange.serve(from, lane, request),
        }
    }
}

impl Ticket {
    /// The reply; an error text when there is none before `deadline`, or the host did not hand the request on.
    pub(super) async fn reply(&mut self, deadline: Instant) -> Result<Body, String> {
        match tokio::time::timeout_at(deadline, &mut self.reply).await {
            Ok(Ok(Body::Refused(refused))) => Err(refused.reason),
            Ok(Ok(body)) => Ok(body),
            Ok(Err(_)) => Err("the request was given up".to_owned()),
            Err(_) => Err("no reply in time".to_owned()),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.exchange.waiting.lock().remove(&self.number);
    }
}
