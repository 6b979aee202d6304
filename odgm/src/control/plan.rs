//! What the catalog's leader decides: who counts as down, and where partitions should be. Pure; asked again whenever
//! something changed.

use std::time::Duration;

use oprc_mesh::catalog::{CatalogView, Node, NodeState, PartitionInfo};
use tokio::time::Instant;

use super::sightings::Sightings;
use crate::placement::{Freedom, Placed, place};
use crate::record::{CatalogCommand, PlaceRecord, StateChange};

/// A host that was down and is seen for so long is live again.
const RETURN_MS: u64 = 2_000;
/// Changes of who should lead, at once.
const TURNS_MAX: usize = 64;

/// How the catalog's leader decides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// A host that is not seen for so long is down.
    pub(crate) grace: Duration,
    /// Partitions that move at once.
    pub(crate) moves_max: usize,
}

/// The commands that are due. `me` is the deciding host.
pub(crate) fn plan(
    view: &CatalogView,
    me: u64,
    sightings: &Sightings,
    rules: Rules,
    now: Instant,
) -> Vec<CatalogCommand> {
    let states = states(view, me, sightings, rules.grace, now);
    if states.is_empty() { placements(view, rules.moves_max) } else { states }
}

fn states(
    view: &CatalogView,
    me: u64,
    sightings: &Sightings,
    grace: Duration,
    now: Instant,
) -> Vec<CatalogCommand> {
    let due = |node: &Node| {
        let to = match node.state() {
            NodeState::Live if node.id != me && sightings.gone_for(node.id, now) >= grace => NodeState::Down,
            NodeState::Down
                if node.id == me || sightings.alive_for(node.id, now) >= Duration::from_millis(RETURN_MS) =>
            {
                NodeState::Live
            }
            _ => return None,
        };
        // only from the state that was seen: an operator's word in between stands
        let change = StateChange { node: node.id, state: to as i32, from: Some(node.state) };
        Some(CatalogCommand::SetState(change))
    };
    view.nodes.iter().filter_map(due).collect()
}

fn placements(view: &CatalogView, moves_max: usize) -> Vec<CatalogCommand> {
    let placed = |replicas: u32, info: &PartitionInfo| Placed {
        group: info.group,
        replicas,
        nodes: info.nodes.clone(),
        freedom: freedom(info),
    };
    let grids = view.grids.iter();
    let all: Vec<Placed> =
        grids.flat_map(|grid| grid.partitions.iter().map(|info| placed(grid.replicas, info))).collect();
    let mut changes = place(&view.nodes, &all);
    let under_way = |info: &&PartitionInfo| info.founded && !info.is_settled() && can_move(view, info);
    let mut moving = view.partitions().filter(under_way).count();
    let mut turns = 0;
    // what lost a host goes before what is only better elsewhere
    let mut infos: Vec<&PartitionInfo> = view.partitions().collect();
    infos.sort_by_key(|info| (!is_hurt(view, info), info.group));
    let mut commands = Vec::new();
    for info in infos {
        let Some(nodes) = changes.remove(&info.group) else { continue };
        let same_hosts = nodes.len() == info.nodes.len() && nodes.iter().all(|id| info.nodes.contains(id));
        let counter = if same_hosts { &mut turns } else { &mut moving };
        let most = if same_hosts { TURNS_MAX } else { moves_max };
        // one that moves already takes no further place
        let free = !same_hosts && !info.is_settled();
        if *counter >= most && !free {
            continue;
        }
        *counter += usize::from(!free);
        commands.push(CatalogCommand::Place(PlaceRecord { group: info.group, nodes, placed: info.placed }));
    }
    commands
}

fn freedom(info: &PartitionInfo) -> Freedom {
    if !info.founded {
        Freedom::Fixed
    } else if info.is_settled() {
        Freedom::Free
    } else {
        Freedom::Repair
    }
}

fn is_live(view: &CatalogView, id: u64) -> bool {
    view.nodes.iter().any(|node| node.id == id && node.state() == NodeState::Live)
}

fn is_hurt(view: &CatalogView, info: &PartitionInfo) -> bool {
    !info.nodes.iter().all(|id| is_live(view, *id))
}

/// Whether a majority of those that may hold it is there: without one it waits, and holds up nobody else.
fn can_move(view: &CatalogView, info: &PartitionInfo) -> bool {
    let there = |id: &&u64| {
        let able = |node: &Node| matches!(node.state(), NodeState::Live | NodeState::Draining);
        view.nodes.iter().any(|node| node.id == **id && able(node))
    };
    info.held.iter().filter(there).count() * 2 > info.held.len()
}
