//! Components that this host lacks, fetched from hosts that hold them, and pieces of its own for those that lack them.
//! A component is known by its digest, so it does not matter who gives it: it is checked before it counts as there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oprc_mesh::Peers;
use oprc_mesh::id::{Digest, NodeId};
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::wire::{Answer, ChunkRead, Op, PutChunk, ReadChunk};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::wasm::Components;

/// Components fetched at the same time; further ones wait.
const FETCHED_AT_ONCE: usize = 4;
/// Components that are fetched or wait for it; one more is `overloaded`.
const FETCHES_MAX: usize = 256;
/// Pieces read for other hosts at the same time; further ones wait.
const READ_AT_ONCE: usize = 8;
/// How long another host may take for one piece.
const PIECE_MS: u64 = 10_000;

/// See the module. Clones share it.
#[derive(Clone)]
pub(crate) struct Supply(Arc<Shared>);

struct Shared {
    me: NodeId,
    peers: Arc<dyn Peers>,
    components: Components,
    /// What is under way; everybody who wants the same component waits for the one fetch of it.
    fetches: Mutex<HashMap<Digest, Outcome>>,
    fetched_at_once: Semaphore,
    read_at_once: Semaphore,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What a fetch came to; none while it is under way.
type Outcome = watch::Receiver<Option<Result<(), Problem>>>;

impl Supply {
    /// Fetches run as tasks of `tasks` until `stop`: one that was begun goes on when those who wanted it have gone.
    pub(crate) fn new(
        me: NodeId,
        peers: Arc<dyn Peers>,
        components: Components,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self(Arc::new(Shared {
            me,
            peers,
            components,
            fetches: Mutex::default(),
            fetched_at_once: Semaphore::new(FETCHED_AT_ONCE),
            read_at_once: Semaphore::new(READ_AT_ONCE),
            tasks,
            stop,
        }))
    }

    /// Returns once the component is whole and durable here; another host is asked for it if need be, `from` first.
    ///
    /// # Errors
    /// `unavailable` when no host that is alive gives it, `overloaded`. Nothing has run.
    pub(crate) async fn fetch(&self, digest: Digest, from: Option<NodeId>) -> Result<(), Problem> {
        if self.0.components.hold(&digest) {
            return Ok(());
        }
        let mut outcome = self.join(digest, from)?;
        match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Ok(())),
            Err(_) => Err(unavailable("the host is stopping")),
        }
    }

    /// The one fetch of the component, begun if it was not yet.
    fn join(&self, digest: Digest, from: Option<NodeId>) -> Result<Outcome, Problem> {
        let mut under_way = self.0.fetches.lock();
        if let Some(outcome) = under_way.get(&digest) {
            return Ok(outcome.clone());
        }
        if under_way.len() == FETCHES_MAX {
            let detail = format!("{FETCHES_MAX} components are being fetched already");
            let problem = Problem::new(Code::Overloaded, detail).with_effect(Effect::NotRun);
            return Err(problem.retry_after_ms(1_000));
        }
        let (tell, outcome) = watch::channel(None);
        under_way.insert(digest, outcome.clone());
        let shared = self.0.clone();
        let work = async move {
            let fetched = shared.fetch(digest, from).await;
            shared.fetches.lock().remove(&digest);
            let _ = tell.send(Some(fetched)); // nobody may want it any more
        };
        self.0.tasks.spawn(self.0.stop.clone().run_until_cancelled_owned(work));
        Ok(outcome)
    }

    /// A piece of a component that this host holds.
    ///
    /// # Errors
    /// `not-found`, `internal` when the disk fails.
    pub(crate) async fn read(&self, read: ReadChunk) -> Result<ChunkRead, Problem> {
        let digest = Digest::from_bytes(&read.digest)?;
        let _permit = self.0.read_at_once.acquire().await; // never closed
        self.0.components.piece(digest, read.offset).await
    }
}

impl Shared {
    async fn fetch(&self, digest: Digest, from: Option<NodeId>) -> Result<(), Problem> {
        let _permit = self.fetched_at_once.acquire().await; // never closed
        let alive = self.peers.watch_nodes().borrow().clone();
        let others = alive.into_iter().filter(|node| Some(*node) != from && *node != self.me);
        let mut why = "no other host is alive".to_owned();
        for node in from.into_iter().chain(others) {
            match self.fetch_from(node, digest).await {
                Ok(()) => {
                    tracing::info!(%digest, %node, "fetched a component");
                    return Ok(());
                }
                Err(problem) => why = format!("host {node}: {problem}"),
            }
        }
        Err(unavailable(&format!("component {digest} could not be fetched from any host; {why}")))
    }

    /// The pieces go the way of an upload: the store checks the digest and makes it durable with the last one.
    async fn fetch_from(&self, node: NodeId, digest: Digest) -> Result<(), Problem> {
        let bytes = Bytes::copy_from_slice(digest.as_bytes());
        let mut offset = 0;
        loop {
            let deadline = Instant::now() + Duration::from_millis(PIECE_MS);
            let read = Op::ReadChunk(ReadChunk { digest: bytes.clone(), offset });
            let Answer::Piece(ChunkRead { size, data }) = self.peers.call(node, read, deadline).await? else {
                return Err(Problem::new(Code::Internal, "it answered something else"));
            };
            let (digest, upload) = (bytes.clone(), "fetch".to_owned());
            let length = data.len() as u64;
            if self.components.put(PutChunk { digest, size, offset, data, upload }).await?.complete {
                return Ok(());
            }
            offset += length;
        }
    }
}

fn unavailable(detail: &str) -> Problem {
    Problem::new(Code::Unavailable, detail).with_effect(Effect::NotRun)
}

#[cfg(test)]
#[path = "supply_tests.rs"]
mod tests;
