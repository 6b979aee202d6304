//! The nodes and links of a [`LocalNetwork`], and what is on its way.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::peers::LocalPeers;
use crate::config::{Handler, MeshError};
use crate::id::NodeId;
use crate::peers::{Lane, Receiver};

/// Messages on their way in one lane of one link; one more is refused as congested.
const UNDER_WAY_MAX: usize = 16_384;

/// What happens to messages on their way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// How many of a thousand messages vanish; requests and replies of calls too.
    pub lost_per_mille: u32,
    /// Each message is late by up to so much. One lane of one link keeps its order; lanes overtake each other.
    pub delay_max_ms: u64,
}

/// Nodes in one process and the links between them. Cheap to clone. Needs a tokio runtime with time.
#[derive(Clone)]
pub struct LocalNetwork {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) runtime: Handle,
}

struct State {
    random: u64,
    faults: Faults,
    /// Links that carry nothing, (from, to).
    cut: HashSet<(NodeId, NodeId)>,
    nodes: HashMap<NodeId, Node>,
    /// Every process that ever joined has a number of its own.
    lives: u64,
    paths: HashMap<Path, mpsc::Sender<Parcel>>,
}

struct Node {
    life: u64,
    receiver: Option<Arc<dyn Receiver>>,
    handler: Option<Arc<dyn Handler>>,
    alive: watch::Sender<BTreeSet<NodeId>>,
}

/// One lane from one node to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Path {
    from: NodeId,
    to: NodeId,
    lane: Lane,
}

struct Parcel {
    due: Instant,
    /// The process that it was sent to: one that starts in its place does not get it.
    life: u64,
    message: Bytes,
}

impl LocalNetwork {
    /// No nodes and no faults yet. The same seed loses and delays the same messages, as far as they are sent in the same
    /// order.
    pub fn new(seed: u64) -> Self {
        let state = State {
            random: seed,
            faults: Faults::default(),
            cut: HashSet::new(),
            nodes: HashMap::new(),
            lives: 0,
            paths: HashMap::new(),
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), runtime: Handle::current() }) }
    }

    /// Starts a process of `node`. One that is there already is as good as killed: its peers carry nothing any more.
    pub fn join(&self, node: NodeId) -> Arc<LocalPeers> {
        let mut state = self.shared.state.lock();
        state.lives += 1;
        let life = state.lives;
        let (alive, seen) = watch::channel(BTreeSet::new());
        state.nodes.insert(node, Node { life, receiver: None, handler: None, alive });
        state.show_nodes();
        Arc::new(LocalPeers { network: self.clone(), node, life, alive: seen })
    }

    /// Ends the process of `node`, without a word: what it sent arrives, what is on its way to it does not.
    pub fn leave(&self, node: NodeId) {
        let mut state = self.shared.state.lock();
        state.nodes.remove(&node);
        state.show_nodes();
    }

    /// Nothing gets from `from` to `to` any more, also of what is on its way. Neither sees the other alive.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.change(|state| {
            state.cut.insert((from, to));
        });
    }

    /// Undoes [`LocalNetwork::cut`].
    pub fn mend(&self, from: NodeId, to: NodeId) {
        self.change(|state| {
            state.cut.remove(&(from, to));
        });
    }

    /// Cuts `node` off from all others, both ways.
    pub fn isolate(&self, node: NodeId) {
        self.change(|state| {
            let others: Vec<_> = state.nodes.keys().copied().filter(|other| *other != node).collect();
            state.cut.extend(others.iter().flat_map(|other| [(node, *other), (*other, node)]));
        });
    }

    /// Cuts every link between the nodes of `side` and the others, both ways.
    pub fn split(&self, side: &[NodeId]) {
        self.change(|state| {
            let (here, there): (Vec<_>, Vec<_>) = state.nodes.keys().partition(|node| side.contains(node));
            for near in here {
                state.cut.extend(there.iter().flat_map(|far| [(near, *far), (*far, near)]));
            }
        });
    }

    /// Mends every link and ends all faults.
    pub fn heal(&self) {
        self.change(|state| {
            state.cut.clear();
            state.faults = Faults::default();
        });
    }

    /// What happens from now on to messages on every link.
    pub fn set_faults(&self, faults: Faults) {
        self.change(|state| state.faults = faults);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.shared.state.lock();
        change(&mut state);
        state.show_nodes();
    }
}

impl State {
    /// Tells every node whom it can see: who is up, and linked with it both ways.
    fn show_nodes(&self) {
        for (node, own) in &self.nodes {
            let apart =
                |other: &NodeId| self.cut.contains(&(*node, *other)) || self.cut.contains(&(*other, *node));
            let seen: BTreeSet<_> = self.nodes.keys().copied().filter(|other| !apart(other)).collect();
            own.alive.send_if_modified(|known| {
                let changed = *known != seen;
                *known = seen;
                changed
            });
        }
    }

    /// `SplitMix64` (Steele, Lea and Flood, 2014).
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// How long a message from `from` to `to` is on its way; none when it is lost.
    fn travel(&mut self, from: NodeId, to: NodeId) -> Option<Duration> {
        let (fate, late) = (self.draw() % 1_000, self.draw());
        if self.cut.contains(&(from, to)) || fate < u64::from(self.faults.lost_per_mille) {
            return None;
        }
        Some(Duration::from_millis(late % (self.faults.delay_max_ms + 1)))
    }
}

impl Shared {
    pub(super) fn with_node<T>(
        &self,
        node: NodeId,
        life: u64,
        with: impl FnOnce(NodeParts<'_>) -> T,
    ) -> Option<T> {
        let mut state = self.state.lock();
        let own = state.nodes.get_mut(&node).filter(|own| own.life == life)?;
        let parts = NodeParts { receiver: &mut own.receiver, handler: &mut own.handler };
        Some(with(parts))
    }

    /// The number of the process that runs as `node`.
    pub(super) fn life(&self, node: NodeId) -> Option<u64> {
        self.state.lock().nodes.get(&node).map(|node| node.life)
    }

    /// How long a message that is sent now is on its way; none when it is lost.
    pub(super) fn travel(&self, from: NodeId, to: NodeId) -> Option<Duration> {
        self.state.lock().travel(from, to)
    }

    /// Whether what is on its way may arrive.
    pub(super) fn carries(&self, from: NodeId, to: NodeId) -> bool {
        !self.state.lock().cut.contains(&(from, to))
    }

    /// Sends one message, or loses it.
    pub(super) fn post(
        self: &Arc<Self>,
        from: NodeId,
        to: NodeId,
        lane: Lane,
        message: Bytes,
    ) -> Result<(), MeshError> {
        let mut state = self.state.lock();
        let Some(life) = state.nodes.get(&to).map(|node| node.life) else { return Ok(()) };
        let Some(delay) = state.travel(from, to) else { return Ok(()) };
        let path = Path { from, to, lane };
        let sender = state.paths.entry(path).or_insert_with(|| {
            let (sender, parcels) = mpsc::channel(UNDER_WAY_MAX);
            self.runtime.spawn(carry(Arc::downgrade(self), path, parcels));
            sender
        });
        let parcel = Parcel { due: Instant::now() + delay, life, message };
        sender.try_send(parcel).map_err(|_| MeshError::Congested { peer: to.to_string() })
    }

    fn recipient(&self, path: Path, life: u64) -> Option<Arc<dyn Receiver>> {
        let state = self.state.lock();
        if state.cut.contains(&(path.from, path.to)) {
            return None;
        }
        state.nodes.get(&path.to).filter(|node| node.life == life)?.receiver.clone()
    }
}

/// What a node's own peers may look at and change.
pub(super) struct NodeParts<'a> {
    pub(super) receiver: &'a mut Option<Arc<dyn Receiver>>,
    pub(super) handler: &'a mut Option<Arc<dyn Handler>>,
}

/// Delivers one lane's messages in order, each when it is due. Ends with the network.
async fn carry(network: Weak<Shared>, path: Path, mut parcels: mpsc::Receiver<Parcel>) {
    while let Some(parcel) = parcels.recv().await {
        if parcel.due > Instant::now() {
            tokio::time::sleep_until(parcel.due).await;
        }
        let Some(network) = network.upgrade() else { return };
        if let Some(receiver) = network.recipient(path, parcel.life) {
            receiver.receive(path.from, path.lane, parcel.message);
        }
    }
}
