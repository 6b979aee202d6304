//! Components between hosts of one process.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use oprc_mesh::Handler;
use oprc_mesh::limits::COMPONENT_CHUNK_BYTES;
use oprc_mesh::testing::LocalNetwork;
use tempfile::TempDir;

use super::*;
use crate::wasm::bench::upload;
use crate::wasm::{Runtime, RuntimeConfig};

/// A host that gives away what it holds.
struct Giver {
    supply: Supply,
    asked: AtomicUsize,
    /// It spoils every piece.
    lies: bool,
}

impl Handler for Giver {
    fn handle(&self, op: Op, _: Instant) -> BoxFuture<'_, Result<Answer, Problem>> {
        async move {
            let Op::ReadChunk(read) = op else { panic!("{op:?}") };
            self.asked.fetch_add(1, Ordering::Relaxed);
            let mut piece = self.supply.read(read).await?;
            if self.lies {
                piece.data = vec![0; piece.data.len()].into();
            }
            Ok(Answer::Piece(piece))
        }
        .boxed()
    }
}

struct Host {
    giver: Arc<Giver>,
    runtime: Runtime,
    _dir: TempDir,
}

impl Host {
    fn new(network: &LocalNetwork, id: u64, lies: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new(&RuntimeConfig::new(dir.path())).unwrap();
        let peers = network.join(NodeId(id));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let supply = Supply::new(NodeId(id), peers.clone(), runtime.components().clone(), tasks, stop);
        let giver = Arc::new(Giver { supply, asked: AtomicUsize::new(0), lies });
        peers.serve(giver.clone());
        Self { giver, runtime, _dir: dir }
    }

    async fn fetch(&self, digest: Digest, from: Option<u64>) -> Result<(), Problem> {
        self.giver.supply.fetch(digest, from.map(NodeId)).await
    }

    fn holds(&self, digest: &Digest) -> bool {
        self.runtime.components().contains(digest)
    }
}

fn component() -> Vec<u8> {
    // two whole pieces and a rest
    (0..2 * COMPONENT_CHUNK_BYTES + 7).map(|n| (n % 251) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_host_lacks_comes_from_one_that_holds_it_once() {
    let network = LocalNetwork::new(1);
    let (one, two, three) =
        (Host::new(&network, 1, false), Host::new(&network, 2, false), Host::new(&network, 3, false));
    let digest = upload(&one.runtime, &component()).await.unwrap();
    // many want it at once: it is fetched once, from the host that is named
    let fetched = join_all((0..20).map(|_| two.fetch(digest, Some(1)))).await;
    assert!(fetched.into_iter().all(|fetched| fetched.is_ok()));
    assert!(two.holds(&digest));
    assert_eq!(one.giver.asked.load(Ordering::Relaxed), 3);
    assert_eq!(two.runtime.components().read(&digest).unwrap(), component());
    // nobody is named, and the first that is asked has gone
    network.leave(NodeId(1));
    three.fetch(digest, None).await.unwrap();
    assert!(three.holds(&digest));
    // it is here: nobody is asked
    network.leave(NodeId(2));
    three.fetch(digest, Some(2)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_goes_on_when_nobody_waits_for_it_any_more() {
    let network = LocalNetwork::new(2);
    let (one, two) = (Host::new(&network, 1, false), Host::new(&network, 2, false));
    let digest = upload(&one.runtime, &component()).await.unwrap();
    assert!(two.fetch(digest, None).now_or_never().is_none());
    while !two.holds(&digest) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_what_it_should_be_is_not_kept() {
    let network = LocalNetwork::new(3);
    let (liar, two) = (Host::new(&network, 1, true), Host::new(&network, 2, false));
    let digest = upload(&liar.runtime, &component()).await.unwrap();
    let problem = two.fetch(digest, Some(1)).await.unwrap_err();
    assert_eq!((problem.kind(), problem.effect()), (Code::Unavailable, Effect::NotRun));
    assert!(!two.holds(&digest));
    // an honest host gives it, also after the liar was asked
    let honest = Host::new(&network, 3, false);
    upload(&honest.runtime, &component()).await.unwrap();
    two.fetch(digest, Some(1)).await.unwrap();
    assert!(two.holds(&digest));
    let nobody = two.fetch(Digest::of(b"never uploaded"), None).await.unwrap_err();
    assert_eq!(nobody.kind(), Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_are_those_of_the_file() {
    let network = LocalNetwork::new(4);
    let one = Host::new(&network, 1, false);
    let bytes = component();
    let digest = upload(&one.runtime, &bytes).await.unwrap();
    let read = |offset| ReadChunk { digest: Bytes::copy_from_slice(digest.as_bytes()), offset };
    let end = bytes.len() as u64;
    for (offset, length) in [(0, COMPONENT_CHUNK_BYTES), (end - 3, 3), (end, 0), (u64::MAX, 0)] {
        let piece = one.giver.supply.read(read(offset)).await.unwrap();
        assert_eq!((piece.size, piece.data.len()), (end, length), "at {offset}");
    }
    let absent = ReadChunk { digest: Bytes::copy_from_slice(Digest::of(b"x").as_bytes()), offset: 0 };
    assert_eq!(one.giver.supply.read(absent).await.unwrap_err().kind(), Code::NotFound);
}
