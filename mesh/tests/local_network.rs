//! The network for tests fails as it is told, by its seed, and in no other way.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Named, Posts, eventually, name_of, soon, until_seen};
use oprc_mesh::id::NodeId;
use oprc_mesh::outcome::{Code, Effect};
use oprc_mesh::testing::{Faults, LocalNetwork, LocalPeers};
use oprc_mesh::wire::{ClassAddress, Op};
use oprc_mesh::{Lane, Peers as _};

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);
const THREE: NodeId = NodeId(3);

fn join(network: &LocalNetwork, node: NodeId) -> (Arc<LocalPeers>, Arc<Posts>) {
    let (peers, posts) = (network.join(node), Arc::<Posts>::default());
    peers.receive_posts(posts.clone());
    peers.serve(Arc::new(Named(node.to_string())));
    (peers, posts)
}

fn number(n: u32) -> Bytes {
    Bytes::from(n.to_be_bytes().to_vec())
}

fn seen(peers: &LocalPeers) -> BTreeSet<NodeId> {
    peers.watch_nodes().borrow().clone()
}

#[tokio::test]
async fn a_link_cut_one_way_carries_the_other() {
    let network = LocalNetwork::new(1);
    let ((one, at_one), (two, at_two)) = (join(&network, ONE), join(&network, TWO));
    network.cut(ONE, TWO);
    one.post(TWO, Lane::Data, number(1)).unwrap();
    two.post(ONE, Lane::Data, number(2)).unwrap();
    eventually("the other way is open", || at_one.of(TWO, Lane::Data) == [number(2)]).await;
    assert_eq!(seen(&one), BTreeSet::from([ONE]), "a link that is no good one way is lost for both");
    network.heal();
    one.post(TWO, Lane::Data, number(3)).unwrap();
    eventually("all is well", || !at_two.of(ONE, Lane::Data).is_empty()).await;
    assert_eq!(at_two.of(ONE, Lane::Data), [number(3)], "what was lost stays lost");
    assert_eq!(seen(&two), BTreeSet::from([ONE, TWO]));
}

#[tokio::test]
async fn an_isolated_node_reaches_nobody_and_others_go_on() {
    let network = LocalNetwork::new(1);
    let ((one, _), (two, at_two), (three, at_three)) =
        (join(&network, ONE), join(&network, TWO), join(&network, THREE));
    network.isolate(ONE);
    one.post(TWO, Lane::Data, number(1)).unwrap();
    three.post(TWO, Lane::Data, number(3)).unwrap();
    two.post(THREE, Lane::Data, number(2)).unwrap();
    eventually("the others talk", || {
        !at_two.of(THREE, Lane::Data).is_empty() && !at_three.of(TWO, Lane::Data).is_empty()
    })
    .await;
    assert!(at_two.of(ONE, Lane::Data).is_empty());
    assert_eq!((seen(&one), seen(&two)), (BTreeSet::from([ONE]), BTreeSet::from([TWO, THREE])));
    network.heal();
    network.split(&[ONE, TWO]);
    assert_eq!((seen(&one), seen(&three)), (BTreeSet::from([ONE, TWO]), BTreeSet::from([THREE])));
}

/// What arrives of 500 messages.
async fn arrivals(seed: u64) -> Vec<Bytes> {
    let network = LocalNetwork::new(seed);
    let ((one, _), (_two, at_two)) = (join(&network, ONE), join(&network, TWO));
    network.set_faults(Faults { lost_per_mille: 300, delay_max_ms: 3 });
    (0..500).for_each(|n| one.post(TWO, Lane::Data, number(n)).unwrap());
    network.set_faults(Faults::default());
    one.post(TWO, Lane::Data, number(500)).unwrap();
    eventually("the last arrives", || at_two.of(ONE, Lane::Data).last() == Some(&number(500))).await;
    at_two.of(ONE, Lane::Data)
}

#[tokio::test]
async fn a_seed_loses_the_same_and_a_lane_keeps_its_order() {
    let first = arrivals(7).await;
    assert_eq!(first, arrivals(7).await);
    assert_ne!(first, arrivals(8).await);
    assert!((250..450).contains(&first.len()), "about a third is lost: {} arrived", first.len());
    assert!(first.is_sorted());
}

#[tokio::test]
async fn lanes_overtake_each_other() {
    let network = LocalNetwork::new(3);
    let ((one, _), (_two, at_two)) = (join(&network, ONE), join(&network, TWO));
    network.set_faults(Faults { lost_per_mille: 0, delay_max_ms: 200 });
    // of many pairs some swap: the first of a lane that is long under way is overtaken by the other lane's
    for n in 0..50 {
        one.post(TWO, Lane::Bulk, number(n)).unwrap();
        one.post(TWO, Lane::Urgent, number(n)).unwrap();
    }
    eventually("all arrive", || {
        at_two.of(ONE, Lane::Bulk).len() == 50 && at_two.of(ONE, Lane::Urgent).len() == 50
    })
    .await;
    let order = at_two.order();
    assert_ne!(order, [Lane::Bulk, Lane::Urgent].repeat(50), "they came as they were sent");
    assert!(at_two.of(ONE, Lane::Urgent).is_sorted());
}

#[tokio::test]
async fn calls_fail_as_on_the_mesh() {
    let network = LocalNetwork::new(1);
    let ((one, _), (_two, _)) = (join(&network, ONE), join(&network, TWO));
    assert_eq!(name_of(&*one, TWO).await.unwrap(), TWO.to_string());

    let never = Op::ListVersions(ClassAddress::default());
    let late = one.call(TWO, never.clone(), soon(20)).await.unwrap_err();
    assert_eq!((late.kind(), late.effect()), (Code::Deadline, Effect::Unknown));

    let (lost, ()) = tokio::join!(one.call(TWO, never.clone(), soon(60_000)), async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        network.isolate(TWO);
    });
    assert_eq!(lost.unwrap_err().effect(), Effect::Unknown);
    let unreachable = one.call(TWO, never, soon(60_000)).await.unwrap_err();
    assert_eq!((unreachable.kind(), unreachable.effect()), (Code::Unavailable, Effect::NotRun));

    network.heal();
    network.set_faults(Faults { lost_per_mille: 1_000, delay_max_ms: 0 });
    let lost = one.call(TWO, Op::ReadStatus(oprc_mesh::wire::Empty {}), soon(20)).await.unwrap_err();
    assert_eq!(lost.effect(), Effect::Unknown);
}

#[tokio::test]
async fn a_process_that_starts_anew_gets_nothing_of_the_old_one() {
    let network = LocalNetwork::new(1);
    let ((one, at_one), (old, _)) = (join(&network, ONE), join(&network, TWO));
    network.set_faults(Faults { lost_per_mille: 0, delay_max_ms: 50 });
    (0..100).for_each(|n| one.post(TWO, Lane::Data, number(n)).unwrap());
    network.leave(TWO);
    until_seen(&*one, TWO, false).await;
    let (new, at_new) = join(&network, TWO);
    assert!(old.post(ONE, Lane::Data, number(1)).is_err());
    new.post(ONE, Lane::Data, number(2)).unwrap();
    one.post(TWO, Lane::Data, number(100)).unwrap();
    eventually("the new one is reached", || at_new.of(ONE, Lane::Data) == [number(100)]).await;
    eventually("the new one reaches others", || at_one.of(TWO, Lane::Data) == [number(2)]).await;
}
