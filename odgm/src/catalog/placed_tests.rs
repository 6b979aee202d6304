//! How a cluster is founded, how its hosts come and go, and how partitions are placed: what each command does, and what
//! it must refuse.

#![allow(clippy::unwrap_used)]

use oprc_mesh::catalog::{Founding, Node, NodeState, OwnGrid, PartitionInfo};
use oprc_mesh::limits::SLOTS;
use oprc_mesh::outcome::{Code, Problem};

use super::change_tests::{Bed, node};
use super::{CatalogReply, DEFAULT_GRID};
use crate::record::{CatalogCommand, PlaceRecord, SettleRecord, StateChange};

const THREE: Founding = Founding { cluster: 7, expect: 3, replicas: 3 };

type Ran = Result<CatalogReply, Problem>;

impl Bed {
    fn set_state(&mut self, node: u64, state: NodeState, from: Option<NodeState>) -> Ran {
        let from = from.map(|from| from as i32);
        self.run(&CatalogCommand::SetState(StateChange { node, state: state as i32, from }))
    }

    fn place(&mut self, group: u64, nodes: &[u64]) -> Ran {
        let placed = self.info(group).placed;
        self.run(&CatalogCommand::Place(PlaceRecord { group, nodes: nodes.to_vec(), placed }))
    }

    fn settle(&mut self, group: u64, members: &[u64], placed: u64) -> Ran {
        self.run(&CatalogCommand::Settle(SettleRecord { group, members: members.to_vec(), placed }))
    }

    fn info(&self, group: u64) -> PartitionInfo {
        self.view().partition(group).unwrap().clone()
    }

    fn state_of(&self, id: u64) -> NodeState {
        self.state.nodes[&id].state()
    }

    /// Four hosts; all partitions, on three of them each, have begun.
    fn settled() -> Self {
        let mut bed = Self::with(THREE, 4);
        for info in bed.view().partitions() {
            bed.settle(info.group, &info.nodes, 0).unwrap();
        }
        bed
    }
}

/// Refused with this code, and nothing changed.
fn refused(bed: &mut Bed, code: Code, act: impl FnOnce(&mut Bed) -> Ran) -> String {
    let before = bed.state.clone();
    let problem = act(bed).unwrap_err();
    assert_eq!(problem.kind(), code, "{problem}");
    assert_eq!(bed.state, before);
    problem.detail
}

/// Nothing changed, and that is fine.
fn idle(bed: &mut Bed, act: impl FnOnce(&mut Bed) -> Ran) {
    let before = bed.state.clone();
    assert!(act(bed).is_ok());
    assert_eq!(bed.state, before);
}

#[test]
fn a_cluster_is_founded_once_and_first_of_all() {
    let mut bed = Bed::default();
    refused(&mut bed, Code::Unavailable, |bed| bed.run(&CatalogCommand::SetNode(node(1))));
    bed.run(&CatalogCommand::Found(THREE)).unwrap();
    idle(&mut bed, |bed| bed.run(&CatalogCommand::Found(THREE)));
    let other = Founding { cluster: 8, ..THREE };
    let says = refused(&mut bed, Code::Conflict, |bed| bed.run(&CatalogCommand::Found(other)));
    assert!(says.contains("0000000000000007"), "{says}");
    assert_eq!(bed.view().founding, Some(THREE));
}

#[test]
fn the_default_grid_comes_with_the_last_host_that_was_expected() {
    let mut bed = Bed::with(THREE, 2);
    assert!(bed.view().grids.is_empty());
    idle(&mut bed, |bed| bed.run(&CatalogCommand::SetNode(node(2))));
    bed.run(&CatalogCommand::SetNode(node(3))).unwrap();
    let view = bed.view();
    let grid = view.grid(DEFAULT_GRID).unwrap();
    assert!((0..SLOTS).all(|slot| grid.owner(slot).is_some()));
    let mut founders = [0; 4];
    for info in &grid.partitions {
        assert_eq!((info.held.as_slice(), info.founded, info.placed), ([1, 2, 3].as_slice(), false, 0));
        assert_eq!(info.founder, info.nodes[0]);
        founders[info.founder as usize] += 1;
    }
    assert_eq!(founders, [0, 5, 6, 5]);
}

#[test]
fn a_host_returns_as_live_unless_it_is_drained_or_removed() {
    let mut bed = Bed::settled();
    bed.set_state(1, NodeState::Down, Some(NodeState::Live)).unwrap();
    bed.run(&CatalogCommand::SetNode(node(1))).unwrap();
    assert_eq!(bed.state_of(1), NodeState::Live);
    bed.set_state(1, NodeState::Draining, None).unwrap();
    // what it says of itself does not count
    let says_live = Node { state: NodeState::Live as i32, zone: "z".into(), ..node(1) };
    bed.run(&CatalogCommand::SetNode(says_live)).unwrap();
    assert_eq!((bed.state_of(1), bed.state.nodes[&1].zone.as_str()), (NodeState::Draining, "z"));
    bed.set_state(2, NodeState::Down, None).unwrap();
    bed.set_state(2, NodeState::Removed, None).unwrap();
    let says = refused(&mut bed, Code::Conflict, |bed| bed.run(&CatalogCommand::SetNode(node(2))));
    assert!(says.contains("removed"), "{says}");
    for state in [NodeState::Live, NodeState::Draining, NodeState::Down] {
        refused(&mut bed, Code::Conflict, |bed| bed.set_state(2, state, None));
    }
}

#[test]
fn a_state_changes_only_from_the_one_that_was_seen() {
    let mut bed = Bed::settled();
    bed.set_state(1, NodeState::Draining, None).unwrap();
    idle(&mut bed, |bed| bed.set_state(1, NodeState::Down, Some(NodeState::Live)));
    idle(&mut bed, |bed| bed.set_state(1, NodeState::Draining, None));
    bed.set_state(1, NodeState::Live, Some(NodeState::Draining)).unwrap();
    assert_eq!(bed.state_of(1), NodeState::Live);
    refused(&mut bed, Code::NotFound, |bed| bed.set_state(9, NodeState::Down, None));
}

#[test]
fn the_last_live_host_is_not_drained() {
    let mut bed = Bed::with(Founding { expect: 1, replicas: 1, ..THREE }, 2);
    bed.set_state(2, NodeState::Down, None).unwrap();
    refused(&mut bed, Code::Conflict, |bed| bed.set_state(1, NodeState::Draining, None));
}

#[test]
fn a_host_is_removed_only_when_nobody_needs_what_it_holds() {
    let mut bed = Bed::settled();
    let says = refused(&mut bed, Code::Conflict, |bed| bed.set_state(1, NodeState::Removed, None));
    assert!(says.contains("in use"), "{says}");
    bed.set_state(1, NodeState::Draining, None).unwrap();
    let says = refused(&mut bed, Code::Conflict, |bed| bed.set_state(1, NodeState::Removed, None));
    assert!(says.contains("still holds"), "{says}");
    let groups: Vec<_> = bed.view().partitions().map(|info| info.group).collect();
    for group in groups {
        let nodes: Vec<u64> = (2..=4).collect();
        bed.place(group, &nodes).unwrap();
        let placed = bed.info(group).placed;
        bed.settle(group, &nodes, placed).unwrap();
    }
    bed.set_state(1, NodeState::Removed, None).unwrap();
    assert_eq!(bed.state_of(1), NodeState::Removed);
}

#[test]
fn a_dead_host_with_the_only_copy_is_not_removed() {
    let mut bed = Bed::with(Founding { expect: 1, replicas: 1, ..THREE }, 2);
    let group = bed.view().partitions().next().unwrap().group;
    bed.settle(group, &[1], 0).unwrap();
    bed.set_state(1, NodeState::Down, None).unwrap();
    let says = refused(&mut bed, Code::Conflict, |bed| bed.set_state(1, NodeState::Removed, None));
    assert!(says.contains("only copy"), "{says}");
}

#[test]
fn a_partition_that_has_not_begun_stays_with_its_founder_unless_a_host_of_it_is_removed() {
    let mut bed = Bed::with(THREE, 4);
    let before = bed.view();
    let (lost, kept): (Vec<_>, Vec<_>) =
        before.partitions().cloned().partition(|info| info.nodes.contains(&1));
    for info in before.partitions() {
        refused(&mut bed, Code::Conflict, |bed| bed.place(info.group, &[4, 3, 2]));
    }
    let begun = lost[0].group;
    bed.settle(begun, &lost[0].nodes, 0).unwrap();
    for state in [NodeState::Down, NodeState::Removed] {
        bed.set_state(1, state, None).unwrap();
    }
    let view = bed.view();
    let grid = view.grid(DEFAULT_GRID).unwrap();
    assert!((0..SLOTS).all(|slot| grid.owner(slot).is_some()));
    assert!(kept.iter().all(|info| view.partition(info.group) == Some(info)));
    assert_eq!(view.partition(begun).unwrap().nodes, lost[0].nodes);
    for info in &lost[1..] {
        assert_eq!(view.partition(info.group), None);
        assert!(bed.state.is_dropped(info.group));
    }
    for info in view.partitions().filter(|info| info.group != begun) {
        assert!(!info.nodes.contains(&1) && info.founder == info.nodes[0] && !info.founded);
    }
}

#[test]
fn a_placed_partition_is_held_by_old_and_new_hosts_until_it_settles() {
    let mut bed = Bed::settled();
    let group = bed.view().partitions().find(|info| info.held == [1, 2, 3]).unwrap().group;
    let nodes = bed.info(group).nodes;
    bed.place(group, &[4, 3, 2]).unwrap();
    let info = bed.info(group);
    assert_eq!(
        (info.nodes.as_slice(), info.held.as_slice()),
        ([4, 3, 2].as_slice(), [1, 2, 3, 4].as_slice())
    );
    assert!(!info.is_settled());
    idle(&mut bed, |bed| bed.place(group, &[4, 3, 2]));
    // on its way the group has members of both
    bed.settle(group, &[1, 2, 3, 4], 1).unwrap();
    assert_eq!(bed.info(group).held, [1, 2, 3, 4]);
    bed.settle(group, &[2, 3, 4], 1).unwrap();
    assert!(bed.info(group).is_settled());
    idle(&mut bed, |bed| bed.settle(group, &[2, 3, 4], 1));
    // back again: a late word about the first placement lets go of nobody
    bed.place(group, &nodes).unwrap();
    bed.settle(group, &nodes, 0).unwrap();
    assert_eq!(bed.info(group).held, [1, 2, 3, 4]);
    // another order is no movement
    bed.settle(group, &nodes, 2).unwrap();
    let turned: Vec<u64> = nodes.iter().rev().copied().collect();
    bed.place(group, &turned).unwrap();
    assert!(bed.info(group).is_settled());
}

#[test]
fn members_that_the_catalog_did_not_expect_hold_the_partition_all_the_same() {
    let mut bed = Bed::settled();
    let group = bed.view().partitions().find(|info| info.held == [1, 2, 3]).unwrap().group;
    for placed in [0, 99] {
        bed.settle(group, &[1, 4], placed).unwrap();
        assert_eq!(bed.info(group).held, [1, 2, 3, 4]);
    }
}

#[test]
fn a_placement_that_cannot_be_is_refused() {
    let mut bed = Bed::settled();
    bed.set_state(4, NodeState::Down, None).unwrap();
    bed.set_state(4, NodeState::Removed, None).unwrap();
    for nodes in [&[][..], &[1, 1, 2], &[1, 2, 9], &[1, 2, 4]] {
        refused(&mut bed, Code::Conflict, |bed| bed.place(1, nodes));
    }
    let stale = PlaceRecord { group: 1, nodes: vec![1, 3, 2], placed: 5 };
    refused(&mut bed, Code::Conflict, |bed| bed.run(&CatalogCommand::Place(stale)));
    refused(&mut bed, Code::Invalid, |bed| bed.settle(1, &[], 0));
    refused(&mut bed, Code::NotFound, |bed| bed.settle(999, &[1], 0));
}

#[test]
fn only_a_number_that_was_given_out_and_is_in_no_grid_is_dropped() {
    let mut bed = Bed::settled();
    bed.try_deploy("A", "one", Some(OwnGrid { partitions: 2, replicas: 3 })).unwrap();
    let dropped = |bed: &Bed| (0..25).filter(|group| bed.state.is_dropped(*group)).collect::<Vec<u64>>();
    assert!(dropped(&bed).is_empty());
    bed.run(&CatalogCommand::Remove(crate::record::RemoveRecord { class: "A".into(), purge: true })).unwrap();
    assert_eq!(dropped(&bed), [17, 18]);
}
