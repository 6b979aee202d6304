//! `GET /cluster`: hosts, partitions, who leads, how far each replica is behind. The catalog says what should be; every
//! live host is asked what is, and one that does not answer in time shows as unknown rather than holding up the rest.

use std::collections::HashMap;
use std::time::Duration;

use futures::future::join_all;
use hyper::StatusCode;
use oprc_mesh::catalog::{CatalogView, Grid, NodeState};
use oprc_mesh::id::NodeId;
use oprc_mesh::wire::{Answer, Empty, NodeStatus, Op, ReplicaStatus};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::Instant;

use crate::call::Call;
use crate::problem::Refusal;
use crate::query::Query;
use crate::reply::{Reply, json};

/// The catalog's own group.
const CATALOG_GROUP: u64 = 0;
/// How long a host may take to tell its state.
const STATUS_MS: u64 = 1_000;

/// Hosts, grids and partitions.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Cluster {
    /// Drawn when it was founded: the same on every host for ever.
    id: Option<String>,
    /// The catalog's revision as this gateway knows it.
    revision: u64,
    nodes: Vec<Node>,
    grids: Vec<GridShape>,
    /// Who decides on all of this.
    catalog: Placed,
    partitions: Vec<Partition>,
}

/// A host.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Host")]
struct Node {
    id: String,
    zone: String,
    /// `alive`; `draining`, which is alive too; `lost`; `down` once others take its place; `stopping` for one that hands over
    /// what it leads before it ends; `failed` for one that answers but does not
    /// serve.
    #[schemars(extend("enum" = ["alive", "draining", "lost", "down", "stopping", "failed"]))]
    state: &'static str,
    /// Partitions that it leads, and that it holds, as it says; absent when it did not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "usize")]
    leads: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "usize")]
    holds: Option<usize>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    reason: Option<String>,
    /// Its work since it started; absent when it did not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Work")]
    work: Option<Work>,
}

/// Counters of a host: how well its commits share synced writes.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Work {
    /// Turns that committed.
    commits: u64,
    /// Synced writes of the log.
    fsyncs: u64,
    /// Raft entries in them.
    entries: u64,
    /// Bytes in them.
    bytes: u64,
}

/// A grid.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Grid")]
struct GridShape {
    name: String,
    partitions: usize,
    replicas: u32,
}

/// A partition on its hosts.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Partition {
    grid: String,
    /// Its place in its grid, from 0 in slot order.
    #[serde(rename = "partition")]
    place: usize,
    /// Its Raft group.
    group: u64,
    #[serde(flatten)]
    placed: Placed,
}

/// A Raft group on its hosts.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Placed {
    leader: Option<String>,
    term: Option<u64>,
    applied: Option<u64>,
    replicas: Vec<Replica>,
}

/// A replica on a host.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Replica {
    node: String,
    /// Log entries that the leader holds and this replica has not applied; null when either is unknown.
    lag: Option<u64>,
}

/// See the module.
pub(crate) async fn read(call: &Call<'_>) -> Result<Reply, Refusal> {
    Query::parse(call.query(), &[])?;
    let view = call.app.view();
    let alive = call.app.alive();
    let deadline = call.deadline.at.min(Instant::now() + Duration::from_millis(STATUS_MS));
    let asked = alive.iter().map(|&node| async move {
        match call.app.mesh.call(node, Op::ReadStatus(Empty {}), deadline).await {
            Ok(Answer::Status(status)) => Some((node, status)),
            Ok(_) | Err(_) => None,
        }
    });
    let told: HashMap<NodeId, NodeStatus> = join_all(asked).await.into_iter().flatten().collect();
    let known = |group| call.app.mesh.directory().leader(group);
    Ok(json(StatusCode::OK, &picture(&view, |node| alive.contains(&node), &told, known))?)
}

/// Puts together what the catalog says and what hosts told.
fn picture(
    view: &CatalogView,
    alive: impl Fn(NodeId) -> bool,
    told: &HashMap<NodeId, NodeStatus>,
    known_leader: impl Fn(u64) -> Option<NodeId>,
) -> Cluster {
    let node = |node: &oprc_mesh::catalog::Node| {
        let id = NodeId(node.id);
        let status = told.get(&id);
        let reason = status.map(|status| status.poisoned.clone()).filter(|reason| !reason.is_empty());
        let state = match (&reason, node.state(), alive(id)) {
            (Some(_), ..) => "failed",
            (None, NodeState::Down, _) => "down",
            (None, _, false) => "lost",
            (None, _, true) if status.is_some_and(|status| status.draining) => "stopping",
            (None, NodeState::Draining, true) => "draining",
            (None, _, true) => "alive",
        };
        let leads = status.map(|status| status.replicas.iter().filter(|one| one.leader == id.0).count());
        let holds = status.map(|status| status.replicas.len());
        let work = status.map(|status| Work {
            commits: status.commits,
            fsyncs: status.log_fsyncs,
            entries: status.log_entries,
            bytes: status.log_bytes,
        });
        Node { id: id.to_string(), zone: node.zone.clone(), state, leads, holds, reason, work }
    };
    let shape = |grid: &Grid| GridShape {
        name: grid.name.clone(),
        partitions: grid.partitions.len(),
        replicas: grid.replicas,
    };
    let mut partitions = Vec::new();
    for grid in &view.grids {
        for (at, info) in grid.partitions.iter().enumerate() {
            let replica = |node| told.get(&node)?.replicas.iter().find(|one| one.group == info.group);
            let placed = placed(info.holders(), replica, known_leader(info.group));
            partitions.push(Partition { grid: grid.name.clone(), place: at, group: info.group, placed });
        }
    }
    let catalog = placed(
        view.nodes.iter().map(|node| NodeId(node.id)).filter(|node| told.contains_key(node)),
        |node| told.get(&node)?.catalog.as_ref(),
        known_leader(CATALOG_GROUP),
    );
    Cluster {
        id: view.founding.map(|founding| format!("{:016x}", founding.cluster)),
        revision: view.revision,
        // one that was removed is remembered only so that it never comes back
        nodes: view.nodes.iter().filter(|node| node.state() != NodeState::Removed).map(node).collect(),
        grids: view.grids.iter().map(shape).collect(),
        catalog,
        partitions,
    }
}

/// How a group stands on `hosts`, as far as `replica` tells.
fn placed<'s>(
    hosts: impl Iterator<Item = NodeId>,
    replica: impl Fn(NodeId) -> Option<&'s ReplicaStatus>,
    known_leader: Option<NodeId>,
) -> Placed {
    let hosts: Vec<NodeId> = hosts.collect();
    // of all that say that they lead, the one of the latest term does
    let leading = hosts
        .iter()
        .filter_map(|&node| {
            replica(node).filter(|status| status.leader == node.0).map(|status| (node, status))
        })
        .max_by_key(|(_, status)| status.term);
    let leader = leading.map(|(node, _)| node).or(known_leader);
    let last = leading.map(|(_, status)| status.last);
    let lag = |node| Some(last?.saturating_sub(replica(node)?.applied));
    Placed {
        leader: leader.map(|node| node.to_string()),
        term: leading.map(|(_, status)| status.term),
        applied: leading.map(|(_, status)| status.applied),
        replicas: hosts.iter().map(|&node| Replica { node: node.to_string(), lag: lag(node) }).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oprc_mesh::catalog::PartitionInfo;

    fn told(leader: u64, term: u64, last: u64, applied: u64) -> NodeStatus {
        let replica = ReplicaStatus { group: 7, term, leader, last, applied };
        let catalog = Some(ReplicaStatus { group: CATALOG_GROUP, ..replica.clone() });
        NodeStatus { replicas: vec![replica], catalog, ..NodeStatus::default() }
    }

    fn view() -> CatalogView {
        let node = |id| oprc_mesh::catalog::Node { id, zone: "z".into(), state: 0 };
        let nodes = vec![1, 2, 3];
        let info = PartitionInfo { group: 7, slot_last: 4_095, nodes, ..PartitionInfo::default() };
        CatalogView {
            revision: 4,
            nodes: vec![node(1), node(2), node(3)],
            grids: vec![Grid { name: "default".into(), replicas: 3, partitions: vec![info] }],
            ..CatalogView::default()
        }
    }

    #[test]
    fn the_latest_term_leads_and_lag_is_counted_from_it() {
        let told = HashMap::from([(NodeId(1), told(1, 4, 90, 90)), (NodeId(2), told(2, 5, 100, 98))]);
        let cluster = picture(&view(), |node| node != NodeId(3), &told, |_| None);
        let states: Vec<_> = cluster.nodes.iter().map(|node| node.state).collect();
        assert_eq!(states, ["alive", "alive", "lost"]);
        let partition = &cluster.partitions[0].placed;
        assert_eq!(partition.leader.as_deref(), Some("0000000000000002"));
        assert_eq!((partition.term, partition.applied), (Some(5), Some(98)));
        let lags: Vec<_> = partition.replicas.iter().map(|replica| replica.lag).collect();
        assert_eq!(lags, [Some(10), Some(2), None]);
        let held: Vec<_> = cluster.nodes.iter().map(|node| (node.leads, node.holds)).collect();
        assert_eq!(held, [(Some(1), Some(1)), (Some(1), Some(1)), (None, None)]);
        // the catalog's replicas are those that tell of one
        let catalog = &cluster.catalog;
        assert_eq!((catalog.leader.as_deref(), catalog.replicas.len()), (Some("0000000000000002"), 2));
    }

    #[test]
    fn what_is_expected_of_a_host_shows() {
        let mut view = view();
        let states = [NodeState::Draining, NodeState::Down, NodeState::Removed];
        view.nodes.iter_mut().zip(states).for_each(|(node, state)| node.set_state(state));
        let shown = |alive: bool| {
            let cluster = picture(&view, |_| alive, &HashMap::new(), |_| None);
            cluster.nodes.iter().map(|node| node.state).collect::<Vec<_>>()
        };
        assert_eq!(shown(true), ["draining", "down"]);
        assert_eq!(shown(false), ["lost", "down"]);
    }

    #[test]
    fn what_nobody_tells_is_unknown() {
        let cluster = picture(&view(), |_| false, &HashMap::new(), |_| Some(NodeId(1)));
        let partition = &cluster.partitions[0].placed;
        assert_eq!(partition.leader.as_deref(), Some("0000000000000001"));
        assert_eq!((partition.term, partition.applied), (None, None));
        assert!(partition.replicas.iter().all(|replica| replica.lag.is_none()));
    }

    #[test]
    fn a_node_that_stopped_serving_says_why() {
        let failed = NodeStatus { poisoned: "fsync failed".into(), ..NodeStatus::default() };
        let cluster = picture(&view(), |_| true, &HashMap::from([(NodeId(1), failed)]), |_| None);
        assert_eq!(
            (cluster.nodes[0].state, cluster.nodes[0].reason.as_deref()),
            ("failed", Some("fsync failed"))
        );
        assert_eq!(cluster.nodes[1].state, "alive");
        let stopping = NodeStatus { draining: true, ..NodeStatus::default() };
        let cluster = picture(&view(), |_| true, &HashMap::from([(NodeId(1), stopping)]), |_| None);
        assert_eq!(cluster.nodes[0].state, "stopping");
    }
}
