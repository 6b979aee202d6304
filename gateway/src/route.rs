//! Whom to ask: a pure decision over what the directory knows. `app` carries it out, and what follows a failure is
//! [`oprc_mesh::retry`]'s to decide.
//!
//! A call goes class -> grid -> partition -> leader. All of it is a hint that may be out of date; the host that is asked
//! decides.

use std::collections::BTreeSet;

use oprc_mesh::catalog::CatalogView;
use oprc_mesh::id::{ClassName, NodeId, ObjectId};

/// Whom a call is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target<'a> {
    /// The leader of the partition that owns the object.
    Object(&'a ClassName, &'a ObjectId),
    /// The leader of a partition of the class's grid, by its group.
    Partition(&'a ClassName, u64),
    /// Any host that runs functions of the class.
    Function(&'a ClassName),
    /// The leader of the catalog, or any host as long as none is known.
    Catalog,
    /// This host and no other.
    Node(NodeId),
}

/// Whom to ask now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    /// The host, for its group if it is asked as a group's leader.
    Ask(NodeId, Option<u64>),
    /// Nobody who could know is alive, as far as is known.
    Nobody,
    /// No such class in this view of the catalog.
    UnknownClass,
}

/// Picks the host for `target`. `turn` grows with every try, so that each goes to another host where there are several.
pub(crate) fn pick(
    target: Target<'_>,
    view: &CatalogView,
    alive: &BTreeSet<NodeId>,
    leader: impl Fn(u64) -> Option<NodeId>,
    turn: usize,
) -> Pick {
    let any = |group| nth(&alive.iter().copied(), turn, group);
    let led = |group: u64, replicas: &[u64]| match leader(group) {
        Some(node) => Pick::Ask(node, Some(group)),
        // a replica that does not lead names the leader
        None => {
            nth(&replicas.iter().copied().map(NodeId).filter(|node| alive.contains(node)), turn, Some(group))
        }
    };
    match target {
        Target::Node(node) => Pick::Ask(node, None),
        Target::Catalog => {
            leader(CATALOG_GROUP).map_or_else(|| any(None), |node| Pick::Ask(node, Some(CATALOG_GROUP)))
        }
        Target::Function(name) => view.class(name.as_str()).map_or(Pick::UnknownClass, |_| any(None)),
        Target::Object(name, object) => match view.class(name.as_str()) {
            None => Pick::UnknownClass,
            Some(class) => view
                .locate(class, name, object)
                .map_or(Pick::Nobody, |partition| led(partition.group, &partition.nodes)),
        },
        Target::Partition(name, group) => match view.class(name.as_str()) {
            None => Pick::UnknownClass,
            Some(class) => view
                .grid(&class.grid)
                .and_then(|grid| grid.partitions.iter().find(|partition| partition.group == group))
                .map_or(Pick::Nobody, |partition| led(group, &partition.nodes)),
        },
    }
}

/// The catalog's own group.
const CATALOG_GROUP: u64 = 0;

fn nth(nodes: &(impl Iterator<Item = NodeId> + Clone), turn: usize, group: Option<u64>) -> Pick {
    let count = nodes.clone().count();
    if count == 0 {
        return Pick::Nobody;
    }
    nodes.clone().nth(turn % count).map_or(Pick::Nobody, |node| Pick::Ask(node, group))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use oprc_mesh::catalog::{Class, Grid, PartitionInfo};

    fn view() -> CatalogView {
        let partition = |group, slot_first, slot_last, nodes: &[u64]| PartitionInfo {
            group,
            slot_first,
            slot_last,
            nodes: nodes.to_vec(),
        };
        let partitions = vec![partition(1, 0, 2_047, &[1, 2]), partition(2, 2_048, 4_095, &[2, 3])];
        CatalogView {
            revision: 1,
            grids: vec![Grid { name: "default".into(), replicas: 2, partitions }],
            classes: vec![Class { name: "Counter".into(), grid: "default".into(), ..Class::default() }],
            ..CatalogView::default()
        }
    }

    #[test]
    fn an_object_is_asked_of_its_partitions_leader() {
        let class = ClassName::parse("Counter").unwrap();
        let object = ObjectId::parse("alice").unwrap(); // slot 2906: group 2
        let alive = BTreeSet::from([NodeId(1), NodeId(2), NodeId(3)]);
        let target = Target::Object(&class, &object);
        let asked = |leader: Option<u64>, alive: &BTreeSet<NodeId>, turn| {
            pick(target, &view(), alive, |group| leader.filter(|_| group == 2).map(NodeId), turn)
        };
        assert_eq!(asked(Some(3), &alive, 0), Pick::Ask(NodeId(3), Some(2)));
        // nobody known to lead: its replicas in turn, and only those alive
        assert_eq!(asked(None, &alive, 0), Pick::Ask(NodeId(2), Some(2)));
        assert_eq!(asked(None, &alive, 1), Pick::Ask(NodeId(3), Some(2)));
        assert_eq!(asked(None, &BTreeSet::from([NodeId(3)]), 0), Pick::Ask(NodeId(3), Some(2)));
        assert_eq!(asked(None, &BTreeSet::from([NodeId(1)]), 0), Pick::Nobody);
    }

    #[test]
    fn functions_go_round_and_the_catalog_has_a_leader() {
        let class = ClassName::parse("Counter").unwrap();
        let other = ClassName::parse("Other").unwrap();
        let object = ObjectId::parse("alice").unwrap();
        let alive = BTreeSet::from([NodeId(1), NodeId(2)]);
        let ask =
            |target, turn| pick(target, &view(), &alive, |group| (group == 0).then_some(NodeId(2)), turn);
        assert_eq!(ask(Target::Function(&class), 0), Pick::Ask(NodeId(1), None));
        assert_eq!(ask(Target::Function(&class), 1), Pick::Ask(NodeId(2), None));
        assert_eq!(ask(Target::Catalog, 0), Pick::Ask(NodeId(2), Some(0)));
        assert_eq!(ask(Target::Node(NodeId(9)), 0), Pick::Ask(NodeId(9), None));
        assert_eq!(ask(Target::Partition(&class, 1), 1), Pick::Ask(NodeId(2), Some(1)));
        assert_eq!(ask(Target::Partition(&class, 9), 0), Pick::Nobody);
        for target in
            [Target::Function(&other), Target::Object(&other, &object), Target::Partition(&other, 1)]
        {
            assert_eq!(ask(target, 0), Pick::UnknownClass);
        }
        assert_eq!(pick(Target::Catalog, &view(), &BTreeSet::new(), |_| None, 0), Pick::Nobody);
    }
}
