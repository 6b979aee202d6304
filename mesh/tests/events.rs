//! Events on the mesh: any Zenoh client gets them as JSON under `oprc/events/<class>/<id>`, and a host notices whether
//! anybody listens at all.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::time::Duration;

use common::{free_endpoint, host};
use oprc_mesh::events::document;
use oprc_mesh::id::NodeId;
use oprc_mesh::testing::Stranger;
use oprc_mesh::wire::Event;
use oprc_mesh::{Mesh, MeshConfig};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_listens_and_goes() {
    let endpoint = free_endpoint();
    let listen = MeshConfig { listen: vec![endpoint.clone()], ..MeshConfig::default() };
    let (mesh, _posts) = host(NodeId(1), listen).await;
    let publisher = mesh.event_publisher().await.unwrap();
    let mut listened = publisher.listened();
    assert!(!*listened.borrow(), "nobody listens yet");
    let mut stranger = Stranger::listen(&endpoint, "oprc/events/Counter/*").await.unwrap();
    timeout(PATIENCE, listened.wait_for(|listened| *listened)).await.expect("it is noticed").unwrap();
    let event = Event { seq: 1, object: "alice@x".into(), ..Event::default() };
    publisher.publish("Other", "alice@x", document("X", "Other", &event));
    publisher.publish("Counter", "alice@x", document("X", "Counter", &event));
    let (key, payload) = timeout(PATIENCE, stranger.next()).await.expect("it comes").unwrap();
    assert_eq!(key, "oprc/events/Counter/alice@x");
    assert_eq!(payload, document("X", "Counter", &event));
    stranger.leave().await;
    timeout(PATIENCE, listened.wait_for(|listened| !*listened)).await.expect("it is noticed").unwrap();
    mesh.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_alone_is_not_listened_to() {
    let mesh = Mesh::open(MeshConfig { node: Some(NodeId(1)), ..MeshConfig::default() }).await.unwrap();
    let publisher = mesh.event_publisher().await.unwrap();
    assert!(!*publisher.listened().borrow());
    publisher.publish("Counter", "alice", Vec::new());
}
