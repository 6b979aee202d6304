//! A call has the same outcome in the same process and across a real Zenoh link over loopback TCP.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use oprc_mesh::catalog::CatalogView;
use oprc_mesh::id::NodeId;
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::wire::{Answer, CatalogRead, ClassAddress, Empty, Leads, NodeStatus, Op, ReadField};
use oprc_mesh::{Handler, Mesh, MeshConfig};
use tokio::time::Instant;

const NODE: NodeId = NodeId(7);
const LEADS: Leads = Leads { group: 3, term: 5, node: NODE.0 };

/// Answers status with what it was told, fields with a problem, and never answers a listing of versions.
#[derive(Default)]
struct Host {
    /// Operations that came and are never answered.
    unanswered: AtomicUsize,
}

impl Handler for Host {
    fn handle(&self, op: Op, _deadline: Instant) -> BoxFuture<'_, Result<Answer, Problem>> {
        Box::pin(async move {
            match op {
                Op::ReadStatus(_) => {
                    Ok(Answer::Status(NodeStatus { poisoned: "fine".into(), ..Default::default() }))
                }
                Op::ReadField(read) => Err(Problem::new(Code::NotFound, "no such field").on("get", read.key)),
                Op::ReadCatalog(_) => Ok(Answer::Catalog(CatalogRead {
                    view: CatalogView { revision: 9, ..Default::default() },
                    leads: vec![LEADS],
                })),
                _ => {
                    self.unanswered.fetch_add(1, Ordering::SeqCst);
                    std::future::pending().await
                }
            }
        })
    }
}

fn soon(ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(ms)
}

/// On a port below the range from which the kernel gives ports to clients, so that none takes it before the host does.
fn free_endpoint() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = 10_000 + (std::process::id() % 2_000) as u16;
    loop {
        let port = begin + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return format!("tcp/127.0.0.1:{port}");
        }
    }
}

async fn host(listen: &str) -> Mesh {
    host_with(listen, Arc::default()).await
}

async fn host_with(listen: &str, handler: Arc<Host>) -> Mesh {
    let config = MeshConfig { node: Some(NODE), listen: vec![listen.into()], ..MeshConfig::default() };
    let mesh = Mesh::open(config).await.unwrap();
    mesh.serve(handler).await.unwrap();
    mesh
}

async fn gateway(connect: &str) -> Mesh {
    Mesh::open(MeshConfig { connect: vec![connect.into()], ..MeshConfig::default() }).await.unwrap()
}

async fn until_node_is(mesh: &Mesh, alive: bool) {
    let mut nodes = mesh.directory().watch_nodes();
    let wait = nodes.wait_for(|nodes| nodes.contains(&NODE) == alive);
    tokio::time::timeout(Duration::from_mins(1), wait).await.expect("liveliness").unwrap();
}

async fn outcomes(mesh: &Mesh) {
    let status = mesh.call(NODE, Op::ReadStatus(Empty {}), soon(30_000)).await.unwrap();
    assert!(matches!(status, Answer::Status(status) if status.poisoned == "fine"));

    let read = ReadField { class: "C".into(), object: "o".into(), key: "k".into(), ..ReadField::default() };
    let problem = mesh.call(NODE, Op::ReadField(read), soon(30_000)).await.unwrap_err();
    assert_eq!((problem.kind(), problem.subject.as_str()), (Code::NotFound, "k"));

    let never = mesh.call(NODE, Op::ListVersions(ClassAddress::default()), soon(50)).await.unwrap_err();
    assert_eq!((never.kind(), never.effect()), (Code::Deadline, Effect::Unknown));

    let nobody = mesh.call(NodeId(99), Op::ReadStatus(Empty {}), soon(30_000)).await.unwrap_err();
    assert_eq!((nobody.kind(), nobody.effect()), (Code::Unavailable, Effect::NotRun));

    assert!(mesh.greet(NODE, soon(30_000)).await, "it gives a sign");
    assert!(!mesh.greet(NodeId(99), soon(300)).await, "nobody gives one");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_outcomes_in_process_and_over_a_link() {
    let endpoint = free_endpoint();
    let host = host(&endpoint).await;
    outcomes(&host).await;

    let gateway = gateway(&endpoint).await;
    until_node_is(&gateway, true).await;
    outcomes(&gateway).await;
    gateway.close().await;
    host.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_learns_what_the_host_knows_and_follows_its_changes() {
    let endpoint = free_endpoint();
    let host = host(&endpoint).await;
    let gateway = gateway(&endpoint).await;
    let mut view = gateway.directory().watch_view();
    let known = view.wait_for(|view| view.revision == 9);
    tokio::time::timeout(Duration::from_mins(1), known).await.expect("the catalog").unwrap();
    assert_eq!(gateway.directory().leader(LEADS.group), Some(NODE));

    // an announced leader arrives without a question
    host.announce_leader(Leads { group: 4, term: 1, node: NODE.0 });
    let arrived = async {
        while gateway.directory().leader(4).is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), arrived).await.expect("the announcement");
    gateway.close().await;
    host.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_comes_back_is_learned_anew() {
    let endpoint = free_endpoint();
    let gateway = gateway(&endpoint).await;
    for _ in 0..10 {
        let host = host(&endpoint).await;
        until_node_is(&gateway, true).await;
        until_leader_is(&gateway, Some(NODE)).await;
        host.close().await;
        until_node_is(&gateway, false).await;
        until_leader_is(&gateway, None).await;
    }
    gateway.close().await;
}

async fn until_leader_is(mesh: &Mesh, leader: Option<NodeId>) {
    let known = async {
        while mesh.directory().leader(LEADS.group) != leader {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), known).await.expect("the leader");
}

#[tokio::test(flavor = "multi_thread")]
async fn losing_a_host_fails_its_calls_at_once() {
    let endpoint = free_endpoint();
    let handler = Arc::new(Host::default());
    let host = host_with(&endpoint, handler.clone()).await;
    let gateway = gateway(&endpoint).await;
    until_node_is(&gateway, true).await;
    let calling = {
        let gateway = gateway.clone();
        tokio::spawn(async move {
            gateway.call(NODE, Op::ListVersions(ClassAddress::default()), soon(60_000)).await
        })
    };
    // the call is under way once the host has work that does not end
    let under_way = async {
        while handler.unanswered.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), under_way).await.expect("the call arrives");
    host.close().await;
    let lost = tokio::time::timeout(Duration::from_secs(50), calling).await.expect("far below the deadline");
    assert_eq!(lost.unwrap().unwrap_err().effect(), Effect::Unknown);
    until_node_is(&gateway, false).await;
    gateway.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_on_the_keys_disturbs_nobody() {
    let endpoint = free_endpoint();
    let host = host(&endpoint).await;
    let gateway = gateway(&endpoint).await;
    until_node_is(&gateway, true).await;
    let mut config = zenoh::Config::default();
    for (key, value) in [
        ("scouting/multicast/enabled", "false"),
        ("listen/endpoints", "[]"),
        ("connect/endpoints", &format!("[{endpoint:?}]")),
    ] {
        config.insert_json5(key, value).unwrap();
    }
    let stranger = zenoh::open(config).await.unwrap();
    for key in [
        "oprc/n/0000000000000007/call",
        "oprc/n/zzz/leads",
        "oprc/n/0000000000000007/d",
        "oprc/n/zzz/catalog",
        "oprc/n/0000000000000007/catalog",
    ] {
        stranger.put(key, vec![0xff; 64]).await.unwrap();
        stranger.put(key, Vec::new()).await.unwrap();
    }
    stranger.close().await.unwrap();
    outcomes(&gateway).await;
    gateway.close().await;
    host.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_of_different_names_do_not_mix() {
    let endpoint = free_endpoint();
    let host = host(&endpoint).await;
    let config =
        MeshConfig { connect: vec![endpoint.clone()], cluster: "other".into(), ..MeshConfig::default() };
    let stranger = Mesh::open(config).await.unwrap();
    // the link stands: a second session of the same cluster sees the host over it
    let friend = gateway(&endpoint).await;
    until_node_is(&friend, true).await;
    assert!(stranger.directory().nodes().is_empty());
    for mesh in [stranger, friend, host] {
        mesh.close().await;
    }
}
