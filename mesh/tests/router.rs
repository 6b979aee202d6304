//! A router: hosts that reach only it reach each other; what can go directly does; clusters on it do not mix.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::BTreeSet;

use bytes::Bytes;
use common::{Posts, Wire, eventually, free_endpoint, host, name_of, until_received, until_seen};
use oprc_mesh::id::NodeId;
use oprc_mesh::outcome::Effect;
use oprc_mesh::{Lane, Mesh, MeshConfig, Peers as _, Router};

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);

async fn router() -> (Router, String) {
    let endpoint = free_endpoint();
    let config = MeshConfig { listen: vec![endpoint.clone()], ..MeshConfig::default() };
    (Router::open(&config).await.unwrap(), endpoint)
}

fn joining(endpoint: &str) -> MeshConfig {
    MeshConfig { connect: vec![endpoint.into()], ..MeshConfig::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_and_gateways_that_reach_only_a_router_reach_each_other() {
    let (router, endpoint) = router().await;
    let (one, at_one) = host(ONE, joining(&endpoint)).await;
    let (two, at_two) = host(TWO, joining(&endpoint)).await;
    let gateway = Mesh::open(joining(&endpoint)).await.unwrap();
    for (peers, other) in [(&one, TWO), (&two, ONE), (&gateway, ONE), (&gateway, TWO)] {
        until_seen(peers, other, true).await;
        assert_eq!(name_of(peers, other).await.unwrap(), other.to_string());
    }
    for lane in Lane::ALL {
        until_received(ONE, &one, TWO, &at_two, lane).await;
        until_received(TWO, &two, ONE, &at_one, lane).await;
    }
    let large = Bytes::from(vec![7; 5 * 1024 * 1024]);
    one.post(TWO, Lane::Bulk, large.clone()).unwrap();
    eventually("a large one arrives", || at_two.of(ONE, Lane::Bulk).last() == Some(&large)).await;

    // liveliness passes through: a host that goes is missed, and one that comes back is seen
    two.close().await;
    until_seen(&one, TWO, false).await;
    until_seen(&gateway, TWO, false).await;
    assert_eq!(name_of(&gateway, TWO).await.unwrap_err().effect(), Effect::NotRun);
    let (two, at_two) = host(TWO, joining(&endpoint)).await;
    until_seen(&one, TWO, true).await;
    until_received(ONE, &one, TWO, &at_two, Lane::Data).await;
    for mesh in [one, two, gateway] {
        mesh.close().await;
    }
    router.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_routers_are_one_mesh() {
    let (router, endpoint) = router().await;
    let other_endpoint = free_endpoint();
    let config = MeshConfig { listen: vec![other_endpoint.clone()], ..joining(&endpoint) };
    let other = Router::open(&config).await.unwrap();
    let (one, _) = host(ONE, joining(&endpoint)).await;
    let (two, at_two) = host(TWO, joining(&other_endpoint)).await;
    until_seen(&one, TWO, true).await;
    until_received(ONE, &one, TWO, &at_two, Lane::Data).await;
    for mesh in [one, two] {
        mesh.close().await;
    }
    router.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_go_directly_does_and_goes_on_without_the_router() {
    let (router, endpoint) = router().await;
    let wire = Wire::to(&endpoint).await;
    // both join the router alone, and hear of each other from it; one of them can be called
    let (one, _) = host(ONE, MeshConfig { listen: vec![free_endpoint()], ..joining(&wire.endpoint) }).await;
    let (two, at_two) = host(TWO, joining(&wire.endpoint)).await;
    until_seen(&one, TWO, true).await;
    until_seen(&two, ONE, true).await;
    until_direct(&one, &at_two, &wire).await;

    router.close().await;
    let last = Bytes::from_static(b"without the router");
    one.post(TWO, Lane::Data, last.clone()).unwrap();
    eventually("posts still pass", || at_two.of(ONE, Lane::Data).last() == Some(&last)).await;
    assert_eq!(name_of(&two, ONE).await.unwrap(), ONE.to_string());
    for mesh in [one, two] {
        mesh.close().await;
    }
}

/// Posts a mebibyte after the other until one of them has not come by the router.
async fn until_direct(one: &Mesh, at_two: &Posts, wire: &Wire) {
    const MEBIBYTE: usize = 1024 * 1024;
    for round in 1..100 {
        let before = wire.bytes();
        one.post(TWO, Lane::Data, Bytes::from(vec![1; MEBIBYTE])).unwrap();
        eventually("it arrives", || at_two.bytes() >= round * MEBIBYTE).await;
        if wire.bytes() - before < MEBIBYTE / 2 {
            return;
        }
        // routes are made anew up to a tenth of a second after a link
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("all goes by the router, though there is a link");
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_on_one_router_do_not_mix() {
    let (router, endpoint) = router().await;
    let cluster = |name: &str| MeshConfig { cluster: name.into(), ..joining(&endpoint) };
    let (red_one, at_red_one) = host(ONE, cluster("red")).await;
    let (red_two, _) = host(TWO, cluster("red")).await;
    let (blue_one, at_blue_one) = host(ONE, cluster("blue")).await;
    let blue = Mesh::open(cluster("blue")).await.unwrap();
    until_seen(&red_one, TWO, true).await;
    until_seen(&blue, ONE, true).await;
    until_received(TWO, &red_two, ONE, &at_red_one, Lane::Data).await;
    // all of blue is linked, and would have seen what red showed before
    assert_eq!(blue.directory().nodes(), BTreeSet::from([ONE]));
    assert_eq!(at_blue_one.bytes(), 0, "what is posted in red never gets to the same node of blue");
    for mesh in [red_one, red_two, blue_one, blue] {
        mesh.close().await;
    }
    router.close().await;
}
