//! A link that one end lost and the other kept: the mesh comes back by itself.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::time::Duration;

use common::{Wire, eventually, free_endpoint, host, name_of, until_received, until_seen};
use oprc_mesh::id::NodeId;
use oprc_mesh::{Lane, MeshConfig};
use tokio::time::sleep;

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);

/// Each of two hosts calls the other, so that there are two connections. Both fall silent, but so that host one finds out
/// first, and is back before host two has lost both: host two then takes the new connection for one more of those it has.
#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_disagree_on_their_link_find_each_other_again() {
    let folder = tempfile::tempdir().unwrap();
    let without_gossip = folder.path().join("zenoh.json5");
    std::fs::write(&without_gossip, "{ scouting: { gossip: { enabled: false } } }").unwrap();
    let [at_one, at_two] = [free_endpoint(), free_endpoint()];
    let (one_calls, two_calls) = (Wire::to(&at_two).await, Wire::to(&at_one).await);
    let joining = |listen: &str, wire: &Wire| MeshConfig {
        listen: vec![listen.to_owned()],
        connect: vec![wire.endpoint.clone()],
        zenoh_config: Some(without_gossip.clone()),
        ..MeshConfig::default()
    };
    let (one, posted_one) = host(ONE, joining(&at_one, &one_calls)).await;
    let (two, posted_two) = host(TWO, joining(&at_two, &two_calls)).await;
    eventually("each called the other", || one_calls.connections() > 0 && two_calls.connections() > 0).await;
    until_seen(&one, TWO, true).await;
    until_seen(&two, ONE, true).await;
    until_received(ONE, &one, TWO, &posted_two, Lane::Data).await;
    until_received(TWO, &two, ONE, &posted_one, Lane::Data).await;

    // host one hears nothing any more, and host two goes on to hear it on its own connection for longer than on the other
    two_calls.swallow_there();
    sleep(Duration::from_millis(500)).await;
    one_calls.swallow_there();
    one_calls.swallow_back();
    sleep(Duration::from_millis(1_300)).await;
    two_calls.swallow_back();
    until_seen(&one, TWO, false).await;
    sleep(Duration::from_secs(3)).await; // host two lost both of the old connections

    until_seen(&one, TWO, true).await;
    until_seen(&two, ONE, true).await;
    assert_eq!(name_of(&one, TWO).await.unwrap(), TWO.to_string());
    assert_eq!(name_of(&two, ONE).await.unwrap(), ONE.to_string());
    for mesh in [one, two] {
        mesh.close().await;
    }
}
