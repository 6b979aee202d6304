//! A gateway among several hosts, over the mesh: who is asked, and what happens when one does not answer.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use oprc_gateway::GatewayConfig;
use oprc_mesh::id::{Digest, NodeId};
use oprc_mesh::outcome::Code;
use oprc_mesh::wire::{Leads, Op};
use oprc_mesh::{Mesh, MeshConfig};

use crate::fake::{Fake, PARTITIONS, not_run, settings};
use crate::running::{Running, serve, text};

const NODES: [NodeId; 3] = [NodeId(0xa1), NodeId(0xb2), NodeId(0xc3)];
/// Long enough for a loaded machine; nothing waits so long unless it fails.
const PATIENCE: Duration = Duration::from_secs(30);

struct Host {
    mesh: Mesh,
    fake: Arc<Fake>,
}

struct Cluster {
    hosts: Vec<Host>,
    /// Its `fake` is the first host's.
    gateway: Running,
}

impl Cluster {
    /// Three hosts that hold everything, with class `Counter`; the first one leads all.
    async fn start() -> Self {
        let mut hosts = Vec::new();
        let mut endpoints: Vec<String> = Vec::new();
        for node in NODES {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let endpoint = format!("tcp/{}", listener.local_addr().unwrap());
            drop(listener);
            let listen = vec![endpoint.clone()];
            let config =
                MeshConfig { node: Some(node), listen, connect: endpoints.clone(), ..MeshConfig::default() };
            let mesh = Mesh::open(config).await.unwrap();
            let fake = Arc::new(Fake::among(mesh.clone(), node, &NODES));
            let readonly = oprc_mesh::catalog::ClassSettings { readonly: vec!["hang".into()], ..settings() };
            fake.put_class("Counter", Digest::of(b"counter"), readonly);
            fake.put_object("Counter", "alice", &[("k", b"1")]);
            mesh.serve(fake.clone()).await.unwrap();
            mesh.announce_catalog(fake.view().into());
            endpoints.push(endpoint);
            hosts.push(Host { mesh, fake });
        }
        let mesh = Mesh::open(MeshConfig { connect: endpoints, ..MeshConfig::default() }).await.unwrap();
        let mut alive = mesh.directory().watch_nodes();
        let all = BTreeSet::from(NODES);
        within(alive.wait_for(|alive| *alive == all)).await.unwrap();
        let mut view = mesh.directory().watch_view();
        within(view.wait_for(|view| view.class("Counter").is_some())).await.unwrap();
        let gateway = serve(GatewayConfig::default(), mesh, hosts[0].fake.clone()).await;
        let cluster = Self { hosts, gateway };
        cluster.lead(1, 0);
        cluster
    }

    /// From now on a host leads all partitions.
    fn lead(&self, term: u64, host: usize) {
        for group in 1..=u64::from(PARTITIONS) {
            let leads = Leads { group, term, node: NODES[host].0 };
            self.gateway.mesh.directory().learn_leader(leads);
        }
    }

    /// How many operations of a kind each host has seen.
    fn seen(&self, kind: impl Fn(&Op) -> bool) -> Vec<usize> {
        let count = |host: &Host| host.fake.seen.lock().unwrap().iter().filter(|op| kind(op)).count();
        self.hosts.iter().map(count).collect()
    }

    async fn stop(self) {
        self.gateway.stop.cancel();
        for host in &self.hosts {
            host.mesh.close().await;
        }
        self.gateway.mesh.close().await;
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it takes too long")
}

fn is_call(op: &Op) -> bool {
    matches!(op, Op::Invoke(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_are_spread_over_live_hosts() {
    let cluster = Cluster::start().await;
    for n in 0..30 {
        let echoed = text(cluster.gateway.post("/classes/Counter/functions/echo", n.to_string()), 200).await;
        assert_eq!(echoed, n.to_string());
    }
    assert_eq!(cluster.seen(is_call), [10, 10, 10]);
    cluster.hosts[1].mesh.close().await;
    let mut alive = cluster.gateway.mesh.directory().watch_nodes();
    within(alive.wait_for(|alive| !alive.contains(&NODES[1]))).await.unwrap();
    for _ in 0..10 {
        text(cluster.gateway.post("/classes/Counter/functions/echo", "1"), 200).await;
    }
    assert_eq!(cluster.seen(is_call), [15, 10, 15]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_read_goes_to_any_replica_and_others_to_the_leader() {
    let cluster = Cluster::start().await;
    let is_read = |op: &Op| matches!(op, Op::ReadObject(_));
    for _ in 0..9 {
        text(cluster.gateway.get("/classes/Counter/objects/alice"), 200).await;
    }
    assert_eq!(cluster.seen(is_read), [9, 0, 0]);
    for _ in 0..9 {
        text(cluster.gateway.get("/classes/Counter/objects/alice?consistency=stale"), 200).await;
    }
    assert_eq!(cluster.seen(is_read), [12, 3, 3]);
    // a replica that cannot is passed over
    cluster.hosts[0].fake.fail_with([not_run(Code::Unavailable)]);
    cluster.hosts[1].fake.fail_with([not_run(Code::Unavailable)]);
    text(cluster.gateway.get("/classes/Counter/objects/alice?consistency=stale"), 200).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_asked_elsewhere_when_another_host_comes_to_lead() {
    let cluster = Cluster::start().await;
    cluster.hosts[2].fake.gate.add_permits(1);
    let request = cluster.gateway.post("/classes/Counter/objects/alice/invoke/hang", "5");
    let read = tokio::spawn(text(request.header("X-Request-Timeout-Ms", "60000"), 200));
    within(async {
        while cluster.seen(is_call)[0] == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    cluster.lead(2, 2);
    assert_eq!(within(read).await.unwrap(), "5");
    assert_eq!(cluster.seen(is_call), [1, 0, 1]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_a_majority_is_not_the_last_word() {
    let cluster = Cluster::start().await;
    // it says that nothing has run; a replica that it does not hear of may lead by now
    cluster.hosts[0].fake.fail_with([not_run(Code::NoQuorum)]);
    text(cluster.gateway.post("/classes/Counter/objects/alice/invoke/echo", "5"), 200).await;
    assert_eq!(cluster.seen(is_call).iter().sum::<usize>(), 2);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_goes_elsewhere_when_a_host_cannot() {
    let cluster = Cluster::start().await;
    cluster.gateway.mesh.directory().learn_leader(Leads { group: 0, term: 1, node: NODES[0].0 });
    cluster.hosts[0].fake.fail_with([not_run(Code::Unavailable)]);
    text(cluster.gateway.put("/classes/New", "component"), 201).await;
    let deploys = cluster.seen(|op| matches!(op, Op::Deploy(_)));
    assert_eq!((deploys[0], deploys.iter().sum::<usize>()), (0, 1));
    // what a host says of the component itself is final
    let refused = cluster.gateway.put("/classes/New", "bad component").send().await.unwrap();
    assert_eq!(refused.status(), 422);
    assert_eq!(cluster.seen(|op| matches!(op, Op::Deploy(_))).iter().sum::<usize>(), 2);
    cluster.stop().await;
}
