//! Hosts that become one cluster within one process: founding, joining, moving, draining, refusals.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::hosts::{PATIENCE, leader, start, stop};
use common::{commit, fields, revision, tag, write};
use futures::future::join_all;
use oprc_mesh::catalog::{CatalogView, NodeState, PartitionInfo};
use oprc_mesh::id::NodeId;
use oprc_mesh::outcome::Code;
use oprc_mesh::testing::LocalNetwork;
use oprc_mesh::wire::{Greeting, GridAsk, GridQuestion};
use oprc_odgm::{Change, CommitReply, Joining, Odgm, OdgmConfig, OdgmError};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

fn config(dir: &Path, joining: Joining) -> OdgmConfig {
    let grace = Duration::from_secs(3);
    OdgmConfig { joining, grace, moves_max: 4, ..OdgmConfig::new(dir) }
}

async fn ready(odgm: &Odgm) -> Result<(), OdgmError> {
    timeout(PATIENCE, odgm.ready()).await.unwrap()
}

/// Three hosts that have founded a cluster together, and their directories.
async fn three(network: &LocalNetwork) -> (Vec<Arc<Odgm>>, Vec<TempDir>) {
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let started = dirs.iter().map(|dir| start(network, config(dir.path(), Joining::Expect(3))));
    let hosts = join_all(started).await;
    for ready in join_all(hosts.iter().map(|host| ready(host))).await {
        ready.unwrap();
    }
    (hosts, dirs)
}

/// Waits until a host's copy of the catalog looks so.
async fn see(host: &Odgm, what: &str, mut looks: impl FnMut(&CatalogView) -> bool) -> Arc<CatalogView> {
    let mut views = host.catalog().watch();
    let Ok(view) = timeout(PATIENCE, views.wait_for(|view| looks(view))).await else {
        panic!("not in time: {what}; the catalog is {:#?}", host.catalog().view());
    };
    view.unwrap().clone()
}

fn settled(view: &CatalogView) -> bool {
    !view.grids.is_empty() && view.partitions().all(PartitionInfo::is_settled)
}

async fn set(hosts: &[Arc<Odgm>], group: u64, value: &str) {
    let end = Instant::now() + PATIENCE;
    loop {
        let partition = leader(hosts, group).await;
        // one that stood still for long leads no more, or must hear of the others first
        if partition.serves().is_ok() {
            let base = tag(&partition.reader(), "a");
            let writes = vec![write("value", Some(value))];
            let reply = partition.commit(commit(&partition, "a", base, Change::Merge, writes)).await;
            if matches!(reply, Ok(CommitReply::Committed(_))) {
                return;
            }
        }
        assert!(Instant::now() < end, "not in time: group {group} takes nothing in");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn stop_all(network: &LocalNetwork, hosts: Vec<Arc<Odgm>>) {
    join_all(hosts.into_iter().map(|host| stop(network, host))).await;
}

fn copies(view: &CatalogView, node: NodeId) -> usize {
    view.partitions().filter(|info| info.is_held_by(node)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_expect_each_other_found_one_cluster() {
    let network = LocalNetwork::new(1);
    let (hosts, _dirs) = three(&network).await;
    let view = see(&hosts[0], "settled", settled).await;
    let founding = view.founding.unwrap();
    assert_eq!((founding.expect, founding.replicas, view.nodes.len()), (3, 3, 3));
    for host in &hosts {
        let own = see(host, "the same everywhere", settled).await;
        assert_eq!(own.founding, Some(founding));
        assert_eq!(host.partitions().len(), 16);
    }
    for info in view.partitions() {
        set(&hosts, info.group, "1").await;
    }
    // a class deployed on any host is known on all, and the answer comes after its own copy shows it
    for (host, name) in hosts.iter().zip(["A", "B", "C"]) {
        let deployed = host.catalog().deploy(revision(name, "one")).await.unwrap();
        assert_eq!(host.catalog().view().class(name), Some(&deployed.class));
    }
    for host in &hosts {
        see(host, "all classes", |view| view.classes.len() == 3).await;
    }
    stop_all(&network, hosts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_hosts_stop_and_start_and_it_is_the_same_cluster() {
    let network = LocalNetwork::new(2);
    let (hosts, dirs) = three(&network).await;
    let before = see(&hosts[0], "settled", settled).await;
    let group = before.partitions().next().unwrap().group;
    set(&hosts, group, "kept").await;
    stop_all(&network, hosts).await;
    let started = dirs.iter().map(|dir| start(&network, config(dir.path(), Joining::Expect(3))));
    let hosts = join_all(started).await;
    for ready in join_all(hosts.iter().map(|host| ready(host))).await {
        ready.unwrap();
    }
    let after = see(&hosts[1], "settled", settled).await;
    assert_eq!(after.founding, before.founding);
    let partition = leader(&hosts, group).await;
    assert_eq!(fields(&partition.reader(), "a"), [("value".to_owned(), "kept".to_owned())]);
    stop_all(&network, hosts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_host_grows_to_three_and_a_drained_one_leaves_nothing_behind() {
    let network = LocalNetwork::new(3);
    let dirs: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let first = start(&network, config(dirs[0].path(), Joining::Alone)).await;
    ready(&first).await.unwrap();
    let mut hosts = vec![first];
    let groups: Vec<u64> = hosts[0].catalog().view().partitions().map(|info| info.group).collect();
    for group in &groups {
        set(&hosts, *group, "from the first").await;
    }
    for dir in &dirs[1..] {
        let host = start(&network, config(dir.path(), Joining::Join)).await;
        ready(&host).await.unwrap();
        hosts.push(host);
    }
    let full = |view: &CatalogView| settled(view) && view.partitions().all(|info| info.nodes.len() == 3);
    let level =
        |view: &CatalogView| full(view) && view.nodes.iter().all(|node| copies(view, NodeId(node.id)) == 12);
    see(&hosts[0], "three copies of each, and every host has its share", level).await;
    let gone = hosts[0].node_id();
    hosts[1].catalog().set_node_state(gone, NodeState::Draining).await.unwrap();
    let refused = hosts[2].catalog().set_node_state(gone, NodeState::Removed).await;
    if let Err(problem) = refused {
        assert_eq!(problem.kind(), Code::Conflict, "{problem}");
    }
    see(&hosts[1], "drained", |view| full(view) && copies(view, gone) == 0).await;
    // what it held is forgotten once the groups agree
    let end = Instant::now() + PATIENCE;
    while !hosts[0].partitions().is_empty() {
        assert!(Instant::now() < end, "the drained host still runs partitions");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    hosts[1].catalog().set_node_state(gone, NodeState::Removed).await.unwrap();
    for group in groups {
        let partition = leader(&hosts[1..], group).await;
        assert_eq!(fields(&partition.reader(), "a"), [("value".to_owned(), "from the first".to_owned())]);
    }
    timeout(PATIENCE, hosts[0].removed()).await.unwrap();
    let removed = hosts.remove(0);
    stop(&network, removed).await;
    // its directory is not let in again
    let back = start(&network, config(dirs[0].path(), Joining::Join)).await;
    let error = ready(&back).await.unwrap_err();
    assert!(error.to_string().contains("removed"), "{error}");
    hosts.push(back);
    stop_all(&network, hosts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_host_is_replaced_and_returns_to_its_share() {
    let network = LocalNetwork::new(4);
    let (mut hosts, mut dirs) = three(&network).await;
    dirs.push(tempfile::tempdir().unwrap());
    let fourth = start(&network, config(dirs[3].path(), Joining::Join)).await;
    ready(&fourth).await.unwrap();
    hosts.push(fourth);
    let level = |view: &CatalogView| {
        settled(view) && view.nodes.iter().all(|node| copies(view, NodeId(node.id)) == 12)
    };
    let view = see(&hosts[3], "every host has its share", level).await;
    let group = view.partitions().next().unwrap().group;
    set(&hosts, group, "before").await;

    let dead = hosts.remove(0);
    let id = dead.node_id();
    stop(&network, dead).await;
    let without = |view: &CatalogView| {
        view.node(id).is_some_and(|node| node.state() == NodeState::Down)
            && settled(view)
            && copies(view, id) == 0
    };
    see(&hosts[0], "others have taken its place", without).await;
    set(&hosts, group, "while it was away").await;

    let back = start(&network, config(dirs[0].path(), Joining::Expect(3))).await;
    ready(&back).await.unwrap();
    hosts.insert(0, back);
    see(&hosts[0], "it has its share again", level).await;
    assert_eq!(
        fields(&leader(&hosts, group).await.reader(), "a"),
        [("value".to_owned(), "while it was away".to_owned())]
    );
    stop_all(&network, hosts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_of_another_cluster_is_refused_and_says_so() {
    let network = LocalNetwork::new(5);
    let dirs: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let other = Odgm::open(OdgmConfig::new(dirs[1].path())).await.unwrap();
    let cluster = other.catalog().view().founding.unwrap().cluster;
    other.shutdown().await;
    drop(other);
    let host = start(&network, config(dirs[0].path(), Joining::Alone)).await;
    ready(&host).await.unwrap();
    let stranger = start(&network, config(dirs[1].path(), Joining::Join)).await;
    let question = GridAsk {
        from: stranger.node_id().0,
        cluster,
        question: Some(GridQuestion::Hello(Greeting::default())),
    };
    let refused = host.answer(question, Instant::now() + PATIENCE).await.unwrap_err();
    assert_eq!(refused.kind(), Code::Denied);
    assert!(refused.detail.contains(&format!("{cluster:016x}")), "{refused}");
    stop_all(&network, vec![host, stranger]).await;
}
