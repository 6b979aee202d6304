//! Posts between hosts do the same over a real link and on the network for tests: each lane in order, nothing lost while
//! nothing fails, messages of any size, and to oneself at once.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{Named, Posts, eventually, free_endpoint, host, name_of, until_seen};
use oprc_mesh::id::NodeId;
use oprc_mesh::outcome::{Code, Effect};
use oprc_mesh::testing::LocalNetwork;
use oprc_mesh::{Lane, MeshConfig, MeshError, Peers};

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);

async fn contract(one: &dyn Peers, at_one: &Posts, two: &dyn Peers, at_two: &Posts) {
    until_seen(one, TWO, true).await;
    until_seen(two, ONE, true).await;
    // every lane, both ways; what is urgent may be dropped when a link is congested, so little of it
    for (lane, count) in [(Lane::Urgent, 5), (Lane::Data, 2_000), (Lane::Bulk, 200)] {
        for (from, to, peers, posts) in [(ONE, TWO, one, at_two), (TWO, ONE, two, at_one)] {
            let messages: Vec<_> = (0..count).map(|n: u32| Bytes::from(n.to_be_bytes().to_vec())).collect();
            for message in &messages {
                peers.post(to, lane, message.clone()).unwrap();
            }
            eventually("all arrive", || posts.of(from, lane).len() >= messages.len()).await;
            assert_eq!(posts.of(from, lane), messages, "{lane:?} from {from}");
        }
    }
    let large = Bytes::from(vec![7; 3 * 1024 * 1024]);
    one.post(TWO, Lane::Bulk, large.clone()).unwrap();
    eventually("a large one arrives", || at_two.of(ONE, Lane::Bulk).last() == Some(&large)).await;

    one.post(ONE, Lane::Data, Bytes::from_static(b"to myself")).unwrap();
    assert_eq!(at_one.of(ONE, Lane::Data), ["to myself"], "before `post` returns");
    one.post(NodeId(99), Lane::Data, Bytes::from_static(b"to nobody")).unwrap();

    assert_eq!(name_of(one, TWO).await.unwrap(), TWO.to_string());
    assert_eq!(name_of(one, ONE).await.unwrap(), ONE.to_string());
    let nobody = name_of(one, NodeId(99)).await.unwrap_err();
    assert_eq!((nobody.kind(), nobody.effect()), (Code::Unavailable, Effect::NotRun));
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_link() {
    let endpoint = free_endpoint();
    let listen = MeshConfig { listen: vec![endpoint.clone()], ..MeshConfig::default() };
    let (one, at_one) = host(ONE, listen).await;
    let connect = MeshConfig { connect: vec![endpoint], ..MeshConfig::default() };
    let (two, at_two) = host(TWO, connect).await;
    contract(&one, &at_one, &two, &at_two).await;
    one.close().await;
    assert!(matches!(one.post(TWO, Lane::Data, Bytes::new()), Err(MeshError::Closed)));
    until_seen(&two, ONE, false).await;
    two.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_network_for_tests() {
    let network = LocalNetwork::new(1);
    let (one, two) = (network.join(ONE), network.join(TWO));
    let (at_one, at_two) = (Arc::<Posts>::default(), Arc::<Posts>::default());
    for (peers, posts) in [(&one, &at_one), (&two, &at_two)] {
        peers.receive_posts(posts.clone());
        peers.serve(Arc::new(Named(peers.node().to_string())));
    }
    contract(&*one, &at_one, &*two, &at_two).await;
    network.leave(ONE);
    assert!(matches!(one.post(TWO, Lane::Data, Bytes::new()), Err(MeshError::Closed)));
    until_seen(&*two, ONE, false).await;
}
