//! Where the copies of each partition should be: a pure function of the hosts, their zones and states, and of where the
//! copies are. It moves as little as possible: first what must move does (a host is down, draining or gone), then copies
//! spread over zones, then over hosts, then the preferred leaders. Asked again with its own answer it changes nothing, and
//! the changes may be carried out a few at a time, asking anew in between.

mod board;
mod leaders;
mod paths;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use oprc_mesh::catalog::{Node, NodeState};

use self::board::Board;

/// Voters of the catalog's own group, at the most.
const CATALOG_VOTERS_MAX: usize = 5;

/// How far a partition may be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freedom {
    /// As is best.
    Free,
    /// Only away from hosts that cannot hold it: it is moving already.
    Repair,
    /// Not at all: it has not begun.
    Fixed,
}

/// A partition to be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) group: u64,
    /// Copies wanted, as far as there are hosts.
    pub(crate) replicas: u32,
    /// Where it should be as of now, the preferred leader first.
    pub(crate) nodes: Vec<u64>,
    pub(crate) freedom: Freedom,
}

/// Where the partitions should be, of those for which that changes.
pub(crate) fn place(nodes: &[Node], partitions: &[Placed]) -> BTreeMap<u64, Vec<u64>> {
    let mut board = Board::new(nodes, partitions);
    board.repair();
    board.spread_over_zones();
    paths::level_copies(&mut board);
    let preferred = leaders::choose(&board);
    let mut changes = BTreeMap::new();
    for ((placed, set), leader) in partitions.iter().zip(&board.sets).zip(preferred) {
        let wanted = in_order(&placed.nodes, set, leader);
        if placed.freedom != Freedom::Fixed && wanted != placed.nodes {
            changes.insert(placed.group, wanted);
        }
    }
    changes
}

/// The set with its leader first and the others as they were, new ones last.
fn in_order(before: &[u64], set: &BTreeSet<u64>, leader: Option<u64>) -> Vec<u64> {
    let mut order: Vec<u64> = leader.into_iter().collect();
    let stayed = before.iter().filter(|id| set.contains(id));
    for id in stayed.chain(set) {
        if !order.contains(id) {
            order.push(*id);
        }
    }
    order
}

/// Who belongs to the catalog's own group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CatalogMembers {
    pub(crate) voters: BTreeSet<u64>,
    pub(crate) learners: BTreeSet<u64>,
}

/// Who should belong to the catalog's own group: up to five hosts vote, all others follow, so that each reads the catalog
/// locally. `voters` are those of now.
pub(crate) fn catalog_members(nodes: &[Node], voters: &BTreeSet<u64>) -> CatalogMembers {
    let catalog = Placed {
        group: 0,
        replicas: CATALOG_VOTERS_MAX as u32,
        nodes: voters.iter().copied().collect(),
        freedom: Freedom::Free,
    };
    let mut board = Board::new(nodes, std::slice::from_ref(&catalog));
    board.repair();
    board.spread_over_zones();
    board.make_odd(0);
    let voters = board.sets.swap_remove(0);
    let follows = |node: &&Node| matches!(node.state(), NodeState::Live | NodeState::Draining);
    let others = nodes.iter().filter(follows).map(|node| node.id);
    let learners = others.filter(|id| !voters.contains(id)).collect();
    CatalogMembers { voters, learners }
}

/// Copies that there can be on so many hosts: an even number would bear no more losses than one less.
fn effective(replicas: usize, hosts: usize) -> usize {
    let most = replicas.min(hosts);
    if most.is_multiple_of(2) { most.saturating_sub(1) } else { most }
}
