//! How a new grid is first laid out over the hosts. Part of what the log means: replicas come to the same layout by
//! themselves, so this never changes. What it does not get right, for example with zones of very different size, the
//! catalog's leader improves later by [`crate::placement`], which may change.

use std::collections::BTreeMap;

use oprc_mesh::catalog::Node;

/// The sets of hosts of new partitions, one per group, the first of each the founder. Neighbours in a set are in
/// different zones as far as the zones' sizes allow; sets begin at different hosts. `nodes` is not empty.
pub(super) fn lay_out(nodes: &[&Node], replicas: u32, groups: impl Iterator<Item = u64>) -> Vec<Vec<u64>> {
    let ring = interleaved(nodes);
    let copies = effective(replicas, ring.len());
    let place = |group: u64, copy: usize| ring[(group as usize).wrapping_add(copy) % ring.len()];
    groups.map(|group| (0..copies).map(|copy| place(group, copy)).collect()).collect()
}

/// Copies that there can be on so many hosts: an even number would bear no more losses than one less.
fn effective(replicas: u32, hosts: usize) -> usize {
    let most = (replicas.max(1) as usize).min(hosts);
    if most.is_multiple_of(2) { most - 1 } else { most }
}

/// One host of each zone in turn, zones and hosts in order.
fn interleaved(nodes: &[&Node]) -> Vec<u64> {
    let mut zones: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for node in nodes {
        zones.entry(&node.zone).or_default().push(node.id);
    }
    for ids in zones.values_mut() {
        ids.sort_unstable();
    }
    let longest = zones.values().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|turn| zones.values().filter_map(move |ids| ids.get(turn)).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets(zones: &[&str], replicas: u32, groups: std::ops::Range<u64>) -> Vec<Vec<u64>> {
        let nodes: Vec<Node> =
            (1..).zip(zones).map(|(id, zone)| Node { id, zone: (*zone).into(), state: 0 }).collect();
        lay_out(&nodes.iter().collect::<Vec<_>>(), replicas, groups)
    }

    /// These sets are in logs: a change here makes replicas differ.
    #[test]
    fn the_layout_never_changes() {
        assert_eq!(sets(&[""], 3, 1..4), [[1], [1], [1]]);
        assert_eq!(sets(&["", "", ""], 3, 1..4), [[2, 3, 1], [3, 1, 2], [1, 2, 3]]);
        assert_eq!(sets(&["a", "a", "b", "b"], 1, 4..8), [[1], [3], [2], [4]]);
        assert_eq!(sets(&["a", "a", "b", "c"], 3, 4..6), [[1, 3, 4], [3, 4, 2]]);
    }

    #[test]
    fn there_are_as_many_copies_as_bear_losses() {
        for (replicas, hosts, copies) in
            [(3, 1, 1), (3, 2, 1), (3, 3, 3), (3, 9, 3), (4, 9, 3), (2, 2, 1), (5, 4, 3), (0, 2, 1)]
        {
            assert_eq!(effective(replicas, hosts), copies, "{replicas} on {hosts}");
        }
    }
}
