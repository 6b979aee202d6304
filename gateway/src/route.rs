//! Whom to ask: a pure decision over what the directory knows. `app` carries it out, and what follows a failure is
//! [`oprc_mesh::retry`]'s to decide.
//!
//! A call goes class -> grid -> partition -> leader. All of it is a hint that may be out of date; the host that is asked
//! decides.

use std::collections::BTreeSet;

use oprc_mesh::catalog::{CatalogView, Class, PartitionInfo};
use oprc_mesh::id::{ClassName, NodeId, ObjectId};
use oprc_mesh::wire::Consistency;

/// Whom a call is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target<'a> {
    /// The leader of the partition that owns the object.
    Object(&'a ClassName, &'a ObjectId),
    /// The leader of a partition of the class's grid, by its group.
    Partition(&'a ClassName, u64),
    /// The leader of any partition, by its group.
    Group(u64),
    /// The leader of the partition that keeps the asynchronous call of that id: of an object, or of a function.
    Invocation(&'a ClassName, Option<&'a ObjectId>, &'a str),
    /// Any replica of the partition that owns the object.
    AnyReplica(&'a ClassName, &'a ObjectId),
    /// Any replica of a partition of the class's grid, by its group.
    AnyReplicaOf(&'a ClassName, u64),
    /// Any host that runs functions of the class.
    Function(&'a ClassName),
    /// The leader of the catalog, or any host as long as none is known.
    Catalog,
    /// This host and no other.
    Node(NodeId),
}

impl<'a> Target<'a> {
    /// Who serves a read of the object.
    pub(crate) fn reading(class: &'a ClassName, object: &'a ObjectId, consistency: Consistency) -> Self {
        match consistency {
            Consistency::Stale => Self::AnyReplica(class, object),
            Consistency::Lease | Consistency::Linearizable => Self::Object(class, object),
        }
    }

    /// Who serves a read of a partition.
    pub(crate) fn reading_all(class: &'a ClassName, group: u64, consistency: Consistency) -> Self {
        match consistency {
            Consistency::Stale => Self::AnyReplicaOf(class, group),
            Consistency::Lease | Consistency::Linearizable => Self::Partition(class, group),
        }
    }

    /// The class that it is about, if it is about one.
    pub(crate) fn class(self) -> Option<&'a ClassName> {
        match self {
            Self::Object(class, _)
            | Self::Invocation(class, ..)
            | Self::Partition(class, _)
            | Self::AnyReplica(class, _)
            | Self::AnyReplicaOf(class, _)
            | Self::Function(class) => Some(class),
            Self::Catalog | Self::Node(_) | Self::Group(_) => None,
        }
    }

    /// Whether several hosts could serve it alike, so that calls are spread over them.
    pub(crate) fn is_spread(self) -> bool {
        match self {
            Self::AnyReplica(..) | Self::AnyReplicaOf(..) | Self::Function(_) | Self::Catalog => true,
            Self::Object(..)
            | Self::Invocation(..)
            | Self::Partition(..)
            | Self::Group(_)
            | Self::Node(_) => false,
        }
    }
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
    let no_class;
    let class = match target.class().map(|name| view.class(name.as_str())) {
        Some(None) => return Pick::UnknownClass,
        Some(Some(class)) => class,
        None => {
            no_class = Class::default();
            &no_class
        }
    };
    let replica = |partition: &PartitionInfo, group| {
        nth(&partition.holders().filter(|node| alive.contains(node)), turn, group)
    };
    let led = |partition: &PartitionInfo| match leader(partition.group) {
        Some(node) => Pick::Ask(node, Some(partition.group)),
        // a replica that does not lead names the leader
        None => replica(partition, Some(partition.group)),
    };
    let numbered = |group| {
        let grid = view.grid(&class.grid);
        grid.and_then(|grid| grid.partitions.iter().find(|partition| partition.group == group))
    };
    match target {
        Target::Node(node) => Pick::Ask(node, None),
        Target::Catalog => {
            leader(CATALOG_GROUP).map_or_else(|| any(None), |node| Pick::Ask(node, Some(CATALOG_GROUP)))
        }
        Target::Group(group) => view.partition(group).map_or(Pick::Nobody, led),
        Target::Function(_) => any(None),
        Target::Object(name, object) => view.locate(class, name, object).map_or(Pick::Nobody, led),
        Target::Invocation(name, object, id) => {
            view.locate_call(class, name, object, id).map_or(Pick::Nobody, led)
        }
        Target::Partition(_, group) => numbered(group).map_or(Pick::Nobody, led),
        Target::AnyReplica(name, object) => {
            view.locate(class, name, object).map_or(Pick::Nobody, |partition| replica(partition, None))
        }
        Target::AnyReplicaOf(_, group) => {
            numbered(group).map_or(Pick::Nobody, |partition| replica(partition, None))
        }
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
    use oprc_mesh::catalog::Grid;

    fn view() -> CatalogView {
        let partition = |group, slot_first, slot_last, nodes: &[u64]| PartitionInfo {
            group,
            slot_first,
            slot_last,
            nodes: nodes.to_vec(),
            ..PartitionInfo::default()
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
    fn a_stale_read_goes_round_the_live_replicas_whoever_leads() {
        let class = ClassName::parse("Counter").unwrap();
        let object = ObjectId::parse("alice").unwrap(); // slot 2906: group 2, held by 2 and 3
        let alive = BTreeSet::from([NodeId(1), NodeId(2), NodeId(3)]);
        let ask =
            |target, alive: &BTreeSet<NodeId>, turn| pick(target, &view(), alive, |_| Some(NodeId(3)), turn);
        for target in [
            Target::reading(&class, &object, Consistency::Stale),
            Target::reading_all(&class, 2, Consistency::Stale),
        ] {
            assert!(target.is_spread());
            let asked: Vec<_> = (0..3).map(|turn| ask(target, &alive, turn)).collect();
            assert_eq!(asked, [2, 3, 2].map(|node| Pick::Ask(NodeId(node), None)));
            assert_eq!(ask(target, &BTreeSet::from([NodeId(1)]), 0), Pick::Nobody);
        }
        for consistency in [Consistency::Lease, Consistency::Linearizable] {
            let target = Target::reading(&class, &object, consistency);
            assert_eq!(ask(target, &alive, 0), Pick::Ask(NodeId(3), Some(2)));
        }
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
        assert_eq!(ask(Target::Group(1), 1), Pick::Ask(NodeId(2), Some(1)));
        assert_eq!(ask(Target::Group(9), 0), Pick::Nobody);
        for target in
            [Target::Function(&other), Target::Object(&other, &object), Target::Partition(&other, 1)]
        {
            assert_eq!(ask(target, 0), Pick::UnknownClass);
        }
        assert_eq!(pick(Target::Catalog, &view(), &BTreeSet::new(), |_| None, 0), Pick::Nobody);
    }
}
