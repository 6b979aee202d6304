//! The cluster's founding and its hosts.

use oprc_mesh::catalog::{Founding, Grid, Node, NodeState, PartitionInfo};
use oprc_mesh::id::NodeId;
use oprc_mesh::limits::DEFAULT_GRID_PARTITIONS;
use oprc_mesh::outcome::{Code, Problem};

use super::DEFAULT_GRID;
use super::draft::{Decision, Draft, unchanged};
use super::state::CatalogState;
use crate::record::{CatalogItem, StateChange};

pub(super) fn found(state: &CatalogState, founding: Founding, index: u64) -> Decision {
    match state.founding {
        Some(known) if known.cluster == founding.cluster => return unchanged(state),
        Some(known) => {
            let detail = format!("this is the cluster {:016x} already", known.cluster);
            return Err(Problem::new(Code::Conflict, detail));
        }
        None => {}
    }
    let mut draft = Draft::new(state, index);
    draft.put(CatalogItem::Founding(founding));
    draft.changed()
}

pub(super) fn set_node(state: &CatalogState, node: &Node, index: u64) -> Decision {
    let Some(founding) = state.founding else {
        return Err(Problem::new(Code::Unavailable, "the cluster is not founded yet"));
    };
    let known = state.nodes.get(&node.id);
    let standing = match known.map(Node::state) {
        Some(NodeState::Removed) => return Err(removed(node.id)),
        // an operator's wish outlives a restart
        Some(NodeState::Draining) => NodeState::Draining,
        Some(NodeState::Live | NodeState::Down) | None => NodeState::Live,
    };
    let node = Node { state: standing as i32, ..node.clone() };
    if known == Some(&node) {
        return unchanged(state);
    }
    let mut draft = Draft::new(state, index);
    draft.put(CatalogItem::Node(node.clone()));
    if !state.grids.contains_key(DEFAULT_GRID) {
        let others = state.live().filter(|other| other.id != node.id);
        let live: Vec<_> = others.chain(Some(&node).filter(|node| node.state() == NodeState::Live)).collect();
        if !live.is_empty() && live.len() >= founding.expect as usize {
            draft.add_grid(DEFAULT_GRID, DEFAULT_GRID_PARTITIONS, founding.replicas.max(1), &live);
        }
    }
    draft.changed()
}

fn removed(node: u64) -> Problem {
    let detail = format!("host {} was removed from this cluster for good", NodeId(node));
    Problem::new(Code::Conflict, detail).hint("start it with an empty data directory: it joins as a new host")
}

pub(super) fn set_state(state: &CatalogState, change: StateChange, index: u64) -> Decision {
    let absent = || Problem::new(Code::NotFound, format!("there is no host {}", NodeId(change.node)));
    let node = state.nodes.get(&change.node).ok_or_else(absent)?;
    if change.from.is_some_and(|from| from != node.state) || change.state == node.state {
        return unchanged(state);
    }
    if node.state() == NodeState::Removed {
        return Err(removed(node.id));
    }
    match change.state() {
        NodeState::Live | NodeState::Down => {}
        NodeState::Draining => check_drain(state, node)?,
        NodeState::Removed => check_remove(state, node)?,
    }
    let mut draft = Draft::new(state, index);
    draft.put(CatalogItem::Node(Node { state: change.state, ..node.clone() }));
    if change.state() == NodeState::Removed {
        begin_anew(state, &mut draft, node.id);
    }
    draft.changed()
}

fn check_drain(state: &CatalogState, node: &Node) -> Result<(), Problem> {
    if state.live().any(|other| other.id != node.id) {
        return Ok(());
    }
    Err(Problem::new(Code::Conflict, "no other live host is there to take what it holds"))
}

/// A host may go for good when nobody needs what it holds: it is drained, or dead with copies elsewhere.
fn check_remove(state: &CatalogState, node: &Node) -> Result<(), Problem> {
    let founded = state.grids.values().flat_map(|grid| &grid.partitions).filter(|info| info.founded);
    let mut held = founded.filter(|info| info.is_held_by(NodeId(node.id)));
    let others = |info: &PartitionInfo| {
        let there = |id: &&u64| {
            **id != node.id && state.nodes.get(*id).is_some_and(|other| other.state() != NodeState::Removed)
        };
        info.held.iter().any(|id| there(&id))
    };
    match node.state() {
        NodeState::Down => match held.find(|info| !others(info)) {
            None => Ok(()),
            Some(info) => {
                let detail = format!("it holds the only copy of partition {}", info.group);
                Err(Problem::new(Code::Conflict, detail).hint("start it again and drain it first"))
            }
        },
        NodeState::Draining => match held.count() {
            0 => Ok(()),
            count => {
                let detail = format!("it still holds {count} partitions that have not moved yet");
                Err(Problem::new(Code::Conflict, detail).hint("wait until it is drained"))
            }
        },
        NodeState::Live | NodeState::Removed => {
            Err(Problem::new(Code::Conflict, "it is in use").hint("drain it first"))
        }
    }
}

/// Partitions that should have begun with a host that is gone now begin anew, under new numbers. Whatever became of the
/// old groups, nothing in them was ever acknowledged: a partition serves only once the catalog knows that it is founded.
fn begin_anew(state: &CatalogState, draft: &mut Draft, gone: u64) {
    let live: Vec<_> = state.live().filter(|node| node.id != gone).collect();
    if live.is_empty() {
        return;
    }
    for grid in state.grids.values() {
        let lost = |info: &PartitionInfo| !info.founded && info.nodes.contains(&gone);
        if !grid.partitions.iter().any(lost) {
            continue;
        }
        let mut grid: Grid = grid.clone();
        for info in grid.partitions.iter_mut().filter(|info| lost(info)) {
            let begun = draft.begin(&[(info.slot_first, info.slot_last)], grid.replicas, &live);
            *info = begun.into_iter().next().unwrap_or_default();
        }
        draft.put(CatalogItem::Grid(grid));
    }
}
