//! Where partitions should be, and where they are.

use std::collections::BTreeSet;

use oprc_mesh::catalog::{NodeState, PartitionInfo};
use oprc_mesh::id::NodeId;
use oprc_mesh::outcome::{Code, Problem};

use super::draft::{Decision, Draft, sorted, unchanged};
use super::state::CatalogState;
use crate::record::{CatalogItem, PlaceRecord, SettleRecord};

/// Those that held it still may, until its leader says that it has settled.
pub(super) fn place(state: &CatalogState, place: &PlaceRecord, index: u64) -> Decision {
    let info = known(state, place.group)?;
    if info.nodes == place.nodes {
        return unchanged(state);
    }
    let refuse =
        |detail: &str| Err(Problem::new(Code::Conflict, format!("partition {} {detail}", place.group)));
    if !info.founded {
        return refuse("has not begun yet");
    }
    if info.placed != place.placed {
        return refuse("was placed anew meanwhile");
    }
    let each_once: BTreeSet<_> = place.nodes.iter().collect();
    if place.nodes.is_empty() || each_once.len() != place.nodes.len() {
        return refuse("needs hosts, each named once");
    }
    for id in &place.nodes {
        if state.nodes.get(id).is_none_or(|node| node.state() == NodeState::Removed) {
            return refuse(&format!("cannot be on {}, which is no host of this cluster", NodeId(*id)));
        }
    }
    let held = sorted([info.held.as_slice(), &place.nodes].concat());
    let nodes = place.nodes.clone();
    replace(state, &PartitionInfo { nodes, held, placed: info.placed + 1, ..info.clone() }, index)
}

/// Takes a leader's word for who its group's members are. Whoever is no member any more, and should not become one, is
/// let go of; but not by a word about an earlier placement: it may have been long on its way, and those that it does not
/// name may be members again. (A host that is let go of asks the group itself before it forgets anything.)
pub(super) fn settle(state: &CatalogState, settle: &SettleRecord, index: u64) -> Decision {
    let info = known(state, settle.group)?;
    if settle.members.is_empty() {
        return Err(Problem::new(Code::Invalid, "a group without members"));
    }
    let current = info.placed == settle.placed;
    let others = if current { &info.nodes } else { &info.held };
    let held = sorted([settle.members.as_slice(), others].concat());
    let settled = PartitionInfo { held, founded: true, ..info.clone() };
    if settled == *info {
        return unchanged(state);
    }
    replace(state, &settled, index)
}

fn known(state: &CatalogState, group: u64) -> Result<&PartitionInfo, Problem> {
    let found = state.partition(group).map(|(_, info)| info);
    found.ok_or_else(|| Problem::new(Code::NotFound, format!("there is no partition {group}")))
}

fn replace(state: &CatalogState, new: &PartitionInfo, index: u64) -> Decision {
    let mut draft = Draft::new(state, index);
    if let Some((grid, _)) = state.partition(new.group) {
        let mut grid = grid.clone();
        grid.partitions
            .iter_mut()
            .filter(|info| info.group == new.group)
            .for_each(|info| *info = new.clone());
        draft.put(CatalogItem::Grid(grid));
    }
    draft.changed()
}
