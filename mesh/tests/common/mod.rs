//! What the tests of the mesh share: hosts that answer and note what they are posted, and waiting for conditions.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    dead_code,
    reason = "each test uses a part, and fails by panicking"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use oprc_mesh::id::NodeId;
use oprc_mesh::outcome::Problem;
use oprc_mesh::wire::{Answer, Empty, NodeStatus, Op};
use oprc_mesh::{Handler, Lane, Mesh, MeshConfig, Peers, Receiver};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// What a host was posted, in the order of arrival.
#[derive(Default)]
pub(crate) struct Posts(Mutex<Vec<(NodeId, Lane, Bytes)>>);

impl Receiver for Posts {
    fn receive(&self, from: NodeId, lane: Lane, message: Bytes) {
        self.0.lock().push((from, lane, message));
    }
}

impl Posts {
    /// What came from `from` in `lane`.
    pub(crate) fn of(&self, from: NodeId, lane: Lane) -> Vec<Bytes> {
        let posts = self.0.lock();
        posts.iter().filter(|post| (post.0, post.1) == (from, lane)).map(|post| post.2.clone()).collect()
    }

    /// The lanes of all, in the order of arrival.
    pub(crate) fn order(&self) -> Vec<Lane> {
        self.0.lock().iter().map(|post| post.1).collect()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.lock().iter().map(|post| post.2.len()).sum()
    }
}

/// Answers a question for its status with its name, and nothing else ever.
pub(crate) struct Named(pub(crate) String);

impl Handler for Named {
    fn handle(&self, op: Op, _deadline: Instant) -> BoxFuture<'_, Result<Answer, Problem>> {
        Box::pin(async move {
            match op {
                Op::ReadStatus(_) => {
                    Ok(Answer::Status(NodeStatus { poisoned: self.0.clone(), ..Default::default() }))
                }
                _ => std::future::pending().await,
            }
        })
    }
}

/// A way to an endpoint that counts what passes, and whose connections can fall silent.
pub(crate) struct Wire {
    /// Where to connect to.
    pub(crate) endpoint: String,
    passed: Arc<AtomicUsize>,
    connections: Arc<Mutex<Vec<Arc<Silent>>>>,
}

/// Whether a connection swallows what comes from who made it, and what goes back; it never closes then.
#[derive(Default)]
struct Silent {
    there: AtomicBool,
    back: AtomicBool,
}

impl Wire {
    pub(crate) async fn to(endpoint: &str) -> Self {
        let target = endpoint.strip_prefix("tcp/").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("tcp/{}", listener.local_addr().unwrap());
        let (passed, connections) =
            (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<Arc<Silent>>>>::default());
        let wire = Self { endpoint, passed: passed.clone(), connections: connections.clone() };
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(&target).await else { continue };
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                let silent = Arc::<Silent>::default();
                connections.lock().push(silent.clone());
                let there = silent.clone();
                tokio::spawn(pass(near_in, far_out, passed.clone(), move || {
                    there.there.load(Ordering::SeqCst)
                }));
                tokio::spawn(pass(far_in, near_out, passed.clone(), move || {
                    silent.back.load(Ordering::SeqCst)
                }));
            }
        });
        wire
    }

    /// Bytes that passed either way.
    pub(crate) fn bytes(&self) -> usize {
        self.passed.load(Ordering::SeqCst)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.lock().len()
    }

    /// From now on the connections that there are carry nothing from who made them.
    pub(crate) fn swallow_there(&self) {
        self.connections.lock().iter().for_each(|silent| silent.there.store(true, Ordering::SeqCst));
    }

    /// Nor to who made them.
    pub(crate) fn swallow_back(&self) {
        self.connections.lock().iter().for_each(|silent| silent.back.store(true, Ordering::SeqCst));
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    passed: Arc<AtomicUsize>,
    swallows: impl Fn() -> bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).await.unwrap_or(0);
        if swallows() && count == 0 {
            return std::future::pending().await; // the end is swallowed as well
        }
        if swallows() {
            continue;
        }
        if count == 0 || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
        passed.fetch_add(count, Ordering::SeqCst);
    }
}

pub(crate) fn soon(ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(ms)
}

pub(crate) fn free_endpoint() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("tcp/{}", listener.local_addr().unwrap())
}

/// A host that is named after its id, with what it is posted.
pub(crate) async fn host(node: NodeId, config: MeshConfig) -> (Mesh, Arc<Posts>) {
    let mesh = Mesh::open(MeshConfig { node: Some(node), ..config }).await.unwrap();
    let posts = Arc::<Posts>::default();
    mesh.receive_posts(posts.clone()).await.unwrap();
    mesh.serve(Arc::new(Named(node.to_string()))).await.unwrap();
    (mesh, posts)
}

/// Waits until `condition` holds; a minute is as good as never.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_mins(1);
    while !condition() {
        assert!(Instant::now() < until, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until `peers` sees `node` alive, or no more.
pub(crate) async fn until_seen(peers: &dyn Peers, node: NodeId, alive: bool) {
    let mut nodes = peers.watch_nodes();
    let wait = nodes.wait_for(|nodes| nodes.contains(&node) == alive);
    tokio::time::timeout(Duration::from_mins(1), wait).await.expect("liveliness").unwrap();
}

/// Asks `node` for its name.
pub(crate) async fn name_of(peers: &dyn Peers, node: NodeId) -> Result<String, Problem> {
    match peers.call(node, Op::ReadStatus(Empty {}), soon(30_000)).await? {
        Answer::Status(status) => Ok(status.poisoned),
        other => panic!("{other:?}"),
    }
}

/// Posts `message` again and again until it comes: a link may still be on its way to standing.
pub(crate) async fn until_received(from: NodeId, peers: &dyn Peers, to: NodeId, posts: &Posts, lane: Lane) {
    let until = Instant::now() + Duration::from_mins(1);
    while posts.of(from, lane).is_empty() {
        assert!(Instant::now() < until, "no post of {from} reaches {to}");
        peers.post(to, lane, Bytes::from_static(b"hello")).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
