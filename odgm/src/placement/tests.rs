//! Balance, spread, stability and minimal movement, on random clusters and on those that people will have.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn node(id: u64, zone: &str, state: NodeState) -> Node {
    Node { id, zone: zone.into(), state: state as i32 }
}

fn live(ids: impl IntoIterator<Item = u64>) -> Vec<Node> {
    ids.into_iter().map(|id| node(id, "", NodeState::Live)).collect()
}

fn unplaced(count: u64, replicas: u32) -> Vec<Placed> {
    let one = |group| Placed { group, replicas, nodes: Vec::new(), freedom: Freedom::Free };
    (1..=count).map(one).collect()
}

/// Carries out everything at once.
fn settle(nodes: &[Node], partitions: &mut [Placed]) -> usize {
    let changes = place(nodes, partitions);
    partitions.iter_mut().map(|placed| take(placed, &changes)).sum()
}

/// Carries out one change; gives how many copies it moves.
fn take(placed: &mut Placed, changes: &BTreeMap<u64, Vec<u64>>) -> usize {
    let Some(to) = changes.get(&placed.group) else { return 0 };
    let moved = to.iter().filter(|id| !placed.nodes.contains(id)).count();
    placed.nodes.clone_from(to);
    moved
}

fn counts(nodes: &[Node], of: impl Iterator<Item = u64>) -> BTreeMap<u64, usize> {
    let mut counts: BTreeMap<u64, usize> =
        nodes.iter().filter(|node| node.state() == NodeState::Live).map(|node| (node.id, 0)).collect();
    of.for_each(|id| *counts.entry(id).or_default() += 1);
    counts
}

fn copies(nodes: &[Node], partitions: &[Placed]) -> BTreeMap<u64, usize> {
    counts(nodes, partitions.iter().flat_map(|placed| placed.nodes.iter().copied()))
}

fn range(counts: &BTreeMap<u64, usize>) -> usize {
    counts.values().max().unwrap() - counts.values().min().unwrap()
}

fn assert_level(nodes: &[Node], partitions: &[Placed]) {
    let copies = copies(nodes, partitions);
    assert!(range(&copies) <= 1, "copies {copies:?}");
    let leads = counts(nodes, partitions.iter().map(|placed| placed.nodes[0]));
    assert!(range(&leads) <= 1, "leads {leads:?} of {partitions:?}");
    for placed in partitions {
        assert_eq!(placed.nodes.iter().collect::<BTreeSet<_>>().len(), placed.nodes.len());
    }
}

fn placed_on(nodes: &[u64], replicas: u32) -> Placed {
    Placed { group: 1, replicas, nodes: nodes.to_vec(), freedom: Freedom::Free }
}

fn moved(nodes: &[Node], placed: Placed) -> Vec<u64> {
    let before = placed.nodes.clone();
    place(nodes, &[placed]).remove(&1).unwrap_or(before)
}

#[test]
fn from_one_host_to_three_every_partition_gets_three_copies_and_every_host_its_leaders() {
    let mut partitions = unplaced(16, 3);
    settle(&live([1]), &mut partitions);
    assert!(partitions.iter().all(|placed| placed.nodes == [1]));
    let nodes = live([1, 2]);
    settle(&nodes, &mut partitions);
    assert_level(&nodes, &partitions);
    assert!(partitions.iter().all(|placed| placed.nodes.len() == 1));
    let nodes = live([1, 2, 3]);
    settle(&nodes, &mut partitions);
    assert_level(&nodes, &partitions);
    assert!(partitions.iter().all(|placed| placed.nodes.len() == 3));
}

#[test]
fn a_down_host_is_replaced_where_another_can_take_over() {
    let with_down = |ids: &[u64]| -> Vec<Node> {
        ids.iter().map(|id| node(*id, "", if *id == 3 { NodeState::Down } else { NodeState::Live })).collect()
    };
    assert_eq!(moved(&with_down(&[1, 2, 3, 4]), placed_on(&[3, 1, 2], 3)).len(), 3);
    assert!(!moved(&with_down(&[1, 2, 3, 4]), placed_on(&[1, 3, 2], 3)).contains(&3));
    // with nobody to take over it stays a voter: it may return, and two of three still decide
    let kept: BTreeSet<_> = moved(&with_down(&[1, 2, 3]), placed_on(&[1, 3, 2], 3)).into_iter().collect();
    assert_eq!(kept, BTreeSet::from([1, 2, 3]));
    // but it does not lead
    assert_ne!(moved(&with_down(&[1, 2, 3]), placed_on(&[3, 1, 2], 3))[0], 3);
}

#[test]
fn a_removed_or_draining_host_leaves_and_no_whole_copy_is_given_up_for_an_odd_number() {
    for gone in [NodeState::Removed, NodeState::Draining] {
        let nodes = [node(1, "", NodeState::Live), node(2, "", NodeState::Live), node(3, "", gone)];
        assert_eq!(moved(&nodes, placed_on(&[1, 3, 2], 3)), [1, 2]);
        // and it grows again
        assert_eq!(moved(&live([1, 2, 4]), placed_on(&[1, 2], 3)), [1, 2, 4]);
    }
    let nodes = [node(1, "", NodeState::Draining), node(2, "", NodeState::Live)];
    assert_eq!(moved(&nodes, placed_on(&[1], 3)), [2]);
    assert_eq!(moved(&nodes[..1], placed_on(&[1], 3)), [1]);
}

#[test]
fn a_group_without_a_majority_stays_as_it_is() {
    let states = [(1, NodeState::Live), (2, NodeState::Down), (3, NodeState::Down), (4, NodeState::Live)];
    let nodes: Vec<_> = states.map(|(id, state)| node(id, "", state)).into();
    assert_eq!(moved(&nodes, placed_on(&[1, 2, 3], 3)), [1, 2, 3]);
    assert_eq!(moved(&nodes, placed_on(&[2], 3)), [2]);
}

#[test]
fn what_has_not_begun_or_moves_already_is_left_alone() {
    let nodes = live([1, 2, 3, 4]);
    let at = |freedom, nodes: &[u64]| Placed { freedom, ..placed_on(nodes, 3) };
    assert_eq!(moved(&nodes, at(Freedom::Fixed, &[9])), [9]);
    let mut many: Vec<_> = (1..=6).map(|group| Placed { group, ..at(Freedom::Repair, &[1, 2, 3]) }).collect();
    let before = many.clone();
    settle(&nodes, &mut many);
    let sets = |of: &[Placed]| -> Vec<BTreeSet<u64>> {
        of.iter().map(|placed| placed.nodes.iter().copied().collect()).collect()
    };
    assert_eq!(sets(&many), sets(&before));
    assert!(!moved(&live([1, 2, 4]), at(Freedom::Repair, &[1, 2, 3])).contains(&3));
}

#[test]
fn zones_that_are_known_late_spread_what_is_there() {
    let nodes: Vec<_> =
        [(1, "a"), (2, "a"), (3, "b"), (4, "c")].map(|(id, zone)| node(id, zone, NodeState::Live)).into();
    assert_eq!(moved(&nodes, placed_on(&[1, 2, 3], 3)), [1, 3, 4]);
    assert_eq!(moved(&nodes, placed_on(&[2, 1, 3], 3)), [2, 3, 4]);
}

#[test]
fn the_catalog_has_up_to_five_voters_and_the_rest_follows() {
    let nobody = BTreeSet::new();
    let grown = |nodes: &[Node], voters: &[u64]| catalog_members(nodes, &voters.iter().copied().collect());
    assert_eq!(grown(&live([1]), &[1]).voters, BTreeSet::from([1]));
    let two = grown(&live([1, 2]), &[1]);
    assert_eq!((two.voters, two.learners), (BTreeSet::from([1]), BTreeSet::from([2])));
    assert_eq!(grown(&live([1, 2, 3]), &[2]).voters, BTreeSet::from([1, 2, 3]));
    let nine = grown(&live(1..=9), &[7, 8, 9]);
    assert_eq!((nine.voters.len(), nine.learners.len()), (5, 4));
    assert!([7, 8, 9].iter().all(|id| nine.voters.contains(id)));
    let states = [NodeState::Live, NodeState::Live, NodeState::Down, NodeState::Draining, NodeState::Removed];
    let nodes: Vec<_> = (1..).zip(states).map(|(id, state)| node(id, "", state)).collect();
    let few = grown(&nodes, &[1, 2, 3]);
    assert_eq!((few.voters, few.learners), (BTreeSet::from([1, 2, 3]), BTreeSet::from([4])));
    let zoned: Vec<_> = [(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "c")]
        .map(|(id, zone)| node(id, zone, if id > 2 { NodeState::Live } else { NodeState::Down }))
        .into();
    assert_eq!(catalog_members(&zoned, &BTreeSet::from([3])).voters, BTreeSet::from([3, 4, 5]));
    // one of five was removed: four votes bear no more losses than three, and two bear more than the copy of one alone
    assert_eq!(grown(&live([1, 2, 3, 4]), &[1, 2, 3, 4]).voters, BTreeSet::from([1, 2, 3]));
    assert_eq!(grown(&live([1, 2]), &[1, 2]).voters, BTreeSet::from([1, 2]));
    assert_eq!(catalog_members(&[], &nobody), CatalogMembers::default());
}

/// A cluster with up to three zones, and partitions laid out on it by itself.
fn any_cluster() -> impl Strategy<Value = (Vec<Node>, Vec<Placed>)> {
    let zones = proptest::collection::vec(0..3_u8, 1..9);
    (zones, proptest::collection::vec(1..6_u32, 1..40)).prop_map(|(zones, replicas)| {
        let nodes: Vec<_> =
            (1..).zip(zones).map(|(id, zone)| node(id, &format!("z{zone}"), NodeState::Live)).collect();
        let partitions =
            (1..).zip(replicas).map(|(group, replicas)| Placed { group, ..placed_on(&[], replicas) });
        (nodes, partitions.collect())
    })
}

fn unzoned(nodes: &[Node]) -> Vec<Node> {
    nodes.iter().map(|node| Node { zone: String::new(), ..node.clone() }).collect()
}

fn assert_spread(nodes: &[Node], partitions: &[Placed]) {
    let zone = |id: &u64| nodes.iter().find(|node| node.id == *id).unwrap().zone.clone();
    let all: BTreeSet<_> =
        nodes.iter().filter(|node| node.state() == NodeState::Live).map(|node| &node.zone).collect();
    for placed in partitions {
        let zones: BTreeSet<_> = placed.nodes.iter().map(zone).collect();
        assert_eq!(zones.len(), all.len().min(placed.nodes.len()), "{placed:?} on {nodes:?}");
    }
}

proptest! {
    #[test]
    fn without_zones_all_hosts_hold_and_lead_as_much((nodes, mut partitions) in any_cluster()) {
        let nodes = unzoned(&nodes);
        settle(&nodes, &mut partitions);
        let copies = copies(&nodes, &partitions);
        prop_assert!(range(&copies) <= 1, "{:?}", copies);
        for placed in &partitions {
            prop_assert_eq!(placed.nodes.len(), effective(placed.replicas as usize, nodes.len()));
        }
        if partitions.iter().all(|placed| placed.replicas == partitions[0].replicas) {
            assert_level(&nodes, &partitions);
        }
    }

    #[test]
    fn copies_are_in_as_many_zones_as_there_are((nodes, mut partitions) in any_cluster()) {
        settle(&nodes, &mut partitions);
        assert_spread(&nodes, &partitions);
        // and still are when a host joins or leaves
        let mut more = nodes.clone();
        more.push(node(100, "z1", NodeState::Live));
        settle(&more, &mut partitions);
        assert_spread(&more, &partitions);
        more.last_mut().unwrap().set_state(NodeState::Draining);
        settle(&more, &mut partitions);
        assert_spread(&more, &partitions);
    }

    #[test]
    fn asked_again_it_changes_nothing_and_it_always_answers_alike((nodes, mut partitions) in any_cluster()) {
        prop_assert_eq!(place(&nodes, &partitions), place(&nodes, &partitions));
        settle(&nodes, &mut partitions);
        prop_assert_eq!(place(&nodes, &partitions), BTreeMap::new());
        // the order in which hosts are listed says nothing
        let turned: Vec<_> = nodes.iter().rev().cloned().collect();
        prop_assert_eq!(place(&turned, &partitions), BTreeMap::new());
    }

    /// With as many copies as before, a join moves the new host's share and nothing else.
    #[test]
    fn a_join_moves_only_the_new_hosts_share(hosts in 3..9_u64, count in 1..60_u64, step in 1..4_usize) {
        let mut partitions = unplaced(count, 3);
        settle(&live(1..=hosts), &mut partitions);
        let nodes = live(1..=hosts + 1);
        let share = (count as usize * 3).div_ceil(hosts as usize + 1);
        let (mut moves, mut rounds) = (0, 0);
        loop {
            // a few at a time, as it is done
            let changes: BTreeMap<_, _> = place(&nodes, &partitions).into_iter().take(step).collect();
            if changes.is_empty() {
                break;
            }
            moves += partitions.iter_mut().map(|placed| take(placed, &changes)).sum::<usize>();
            rounds += 1;
            prop_assert!(rounds <= 4 * count + 4, "it never ends");
        }
        prop_assert!(moves <= share, "{} moved, the share is {}", moves, share);
        assert_level(&nodes, &partitions);
    }

    /// A host that dies, or drains, costs what it held; others move next to nothing.
    #[test]
    fn a_loss_moves_what_was_lost(hosts in 4..9_u64, count in 1..60_u64, drains in any::<bool>()) {
        let mut partitions = unplaced(count, 3);
        settle(&live(1..=hosts), &mut partitions);
        let lost = copies(&live(1..=hosts), &partitions)[&1];
        let mut nodes = live(1..=hosts);
        nodes[0].state = if drains { NodeState::Draining } else { NodeState::Down } as i32;
        let moves = settle(&nodes, &mut partitions);
        prop_assert!(moves >= lost && moves <= lost + 2 * hosts as usize, "{} for {}", moves, lost);
        prop_assert!(partitions.iter().all(|placed| placed.nodes.len() == 3 && !placed.nodes.contains(&1)));
        assert_level(&nodes, &partitions);
    }

    /// Whatever happens to hosts, a step never leaves a group fewer voters unless hosts are really to go, nor a live copy
    /// behind.
    #[test]
    fn no_step_weakens_a_group(
        (nodes, mut partitions) in any_cluster(),
        states in proptest::collection::vec(0..4_i32, 9),
    ) {
        settle(&nodes, &mut partitions);
        let after: Vec<_> =
            nodes.iter().zip(states).map(|(node, state)| Node { state, ..node.clone() }).collect();
        let state = |id: &u64| after.iter().find(|node| node.id == *id).unwrap().state();
        let changes = place(&after, &partitions);
        for placed in &partitions {
            let Some(to) = changes.get(&placed.group) else { continue };
            let leaving = placed.nodes.iter().filter(|id| {
                matches!(state(id), NodeState::Draining | NodeState::Removed)
            });
            prop_assert!(!to.is_empty() && to.len() + leaving.count() >= placed.nodes.len());
            // those who stay or go with a whole copy are a majority of before: the group can carry the change out
            let act = placed.nodes.iter().filter(|id| matches!(state(id), NodeState::Live | NodeState::Draining));
            prop_assert!(placed.nodes.iter().collect::<BTreeSet<_>>() == to.iter().collect()
                || act.count() * 2 > placed.nodes.len());
            let mut newcomers = to.iter().filter(|id| !placed.nodes.contains(id));
            prop_assert!(newcomers.all(|id| state(id) == NodeState::Live));
        }
    }
}
