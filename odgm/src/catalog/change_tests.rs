//! What each command does to the catalog, and that the stored records say the same as the state in memory.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use bytes::Bytes;
use oprc_mesh::catalog::{CatalogView, ClassSettings, Founding, Node, OwnGrid};
use oprc_mesh::limits::SLOTS;
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::Deployed;

use super::change::decide;
use super::classes::VERSIONS_KEPT_MAX;
use super::keys::CatalogKey;
use super::state::CatalogState;
use super::{CatalogEffect, CatalogReply, DEFAULT_GRID};
use crate::record::{CatalogCommand, DeployRecord, RemoveRecord};

/// A catalog and the records that would be on the disk.
#[derive(Default)]
pub(super) struct Bed {
    pub(super) state: CatalogState,
    stored: std::collections::BTreeMap<Vec<u8>, crate::record::CatalogItem>,
    pub(super) index: u64,
}

pub(super) fn node(id: u64) -> Node {
    Node { id, ..Node::default() }
}

impl Bed {
    /// A cluster whose default grid lies on host 1.
    fn founded(nodes: u64) -> Self {
        Self::with(Founding { cluster: 7, expect: 1, replicas: 1 }, nodes)
    }

    pub(super) fn with(founding: Founding, nodes: u64) -> Self {
        let mut bed = Self::default();
        bed.run(&CatalogCommand::Found(founding)).unwrap();
        for id in 1..=nodes {
            bed.run(&CatalogCommand::SetNode(node(id))).unwrap();
        }
        bed
    }

    pub(super) fn run(&mut self, command: &CatalogCommand) -> Result<CatalogReply, Problem> {
        self.index += 1;
        let (effects, reply) = decide(&self.state, command, self.index)?;
        for effect in effects {
            match &effect {
                CatalogEffect::Put(item) => {
                    self.stored.insert(CatalogKey::of(item).to_bytes(), item.clone());
                }
                CatalogEffect::Drop(key) => {
                    self.stored.remove(&key.to_bytes());
                }
            }
            self.state.absorb(effect);
        }
        let mut loaded = CatalogState::default();
        self.stored.values().for_each(|item| loaded.absorb(CatalogEffect::Put(item.clone())));
        assert_eq!(loaded, self.state);
        Ok(reply)
    }

    fn deploy(&mut self, class: &str, digest: &'static str) -> Deployed {
        self.try_deploy(class, digest, None).unwrap()
    }

    pub(super) fn try_deploy(
        &mut self,
        class: &str,
        digest: &'static str,
        own_grid: Option<OwnGrid>,
    ) -> Result<Deployed, Problem> {
        let deploy = DeployRecord {
            class: class.into(),
            digest: Bytes::from_static(digest.as_bytes()),
            settings: ClassSettings { own_grid, ..ClassSettings::default() },
            ..DeployRecord::default()
        };
        match self.run(&CatalogCommand::Deploy(deploy))? {
            CatalogReply::Deployed(deployed) => Ok(*deployed),
            other @ CatalogReply::Changed(_) => panic!("{other:?}"),
        }
    }

    fn remove(&mut self, class: &str, purge: bool) -> Result<CatalogReply, Problem> {
        self.run(&CatalogCommand::Remove(RemoveRecord { class: class.into(), purge }))
    }

    pub(super) fn view(&self) -> CatalogView {
        self.state.view()
    }
}

#[allow(clippy::unnecessary_wraps, reason = "as settings hold it")]
fn own(partitions: u32, replicas: u32) -> Option<OwnGrid> {
    Some(OwnGrid { partitions, replicas })
}

#[test]
fn the_first_node_founds_the_default_grid_over_all_slots() {
    let bed = Bed::founded(1);
    let view = bed.view();
    let grid = view.grid(DEFAULT_GRID).unwrap();
    assert_eq!(grid.partitions.len(), 16);
    assert!((0..SLOTS).all(|slot| grid.owner(slot).is_some()));
    let groups: HashSet<_> = grid.partitions.iter().map(|partition| partition.group).collect();
    assert_eq!(groups.len(), 16);
    assert!(!groups.contains(&0));
    assert!(grid.partitions.iter().all(|partition| partition.nodes == [1]));
}

#[test]
fn a_node_that_is_known_already_changes_nothing() {
    let mut bed = Bed::founded(1);
    let before = bed.state.clone();
    let again = bed.run(&CatalogCommand::SetNode(node(1)));
    assert_eq!(again, Ok(CatalogReply::Changed(2)));
    assert_eq!(bed.state, before);
    bed.run(&CatalogCommand::SetNode(Node { zone: "north".into(), ..node(1) })).unwrap();
    assert_eq!((bed.view().nodes[0].zone.as_str(), bed.view().grids.len()), ("north", 1));
}

#[test]
fn each_deployment_counts_the_version_and_the_same_again_does_not() {
    let mut bed = Bed::founded(1);
    let first = bed.deploy("A", "one");
    assert_eq!((first.class.id, first.class.version, first.unchanged), (1, 1, false));
    assert_eq!((first.class.revision, first.revision), (bed.index, bed.index));
    let same = bed.deploy("A", "one");
    assert_eq!((same.class.clone(), same.unchanged, same.revision), (first.class, true, first.revision));
    let second = bed.deploy("A", "two");
    assert_eq!((second.class.id, second.class.version), (1, 2));
    assert!(second.class.revision > same.class.revision);
    assert_eq!(bed.deploy("B", "one").class.id, 2);
    let versions = bed.state.versions("A").unwrap();
    assert_eq!(versions.iter().map(|class| class.version).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(bed.view().classes.iter().map(|class| class.name.as_str()).collect::<Vec<_>>(), ["A", "B"]);
}

#[test]
fn a_removed_class_comes_back_with_its_number_and_its_version_goes_on() {
    let mut bed = Bed::founded(1);
    bed.deploy("A", "one");
    bed.remove("A", false).unwrap();
    assert_eq!((bed.view().class("A"), bed.state.versions("A")), (None, None));
    assert!(!bed.state.is_purged(1));
    assert_eq!(bed.remove("A", false).unwrap_err().kind(), Code::NotFound);
    // the same component as before the removal is a deployment all the same
    let back = bed.deploy("A", "one");
    assert_eq!((back.class.id, back.class.version, back.unchanged), (1, 2, false));
    assert_eq!(bed.state.versions("A").unwrap().len(), 2);
}

#[test]
fn a_purged_class_is_forgotten_and_its_number_never_used_again() {
    let mut bed = Bed::founded(1);
    bed.deploy("A", "one");
    bed.remove("A", true).unwrap();
    assert!(bed.state.is_purged(1) && !bed.state.is_purged(2));
    let anew = bed.deploy("A", "one");
    assert_eq!((anew.class.id, anew.class.version), (2, 1));
    // a class that was removed first can be purged later
    bed.remove("A", false).unwrap();
    bed.remove("A", true).unwrap();
    assert!(bed.state.is_purged(2));
    assert_eq!(bed.remove("A", true).unwrap_err().kind(), Code::NotFound);
}

#[test]
fn a_grid_of_its_own_comes_with_the_class_and_goes_with_its_purge() {
    let mut bed = Bed::founded(1);
    let class = bed.try_deploy("A", "one", own(3, 1)).unwrap().class;
    assert_eq!(class.grid, "A");
    let groups = |bed: &Bed| {
        bed.view().grid("A").map(|grid| grid.partitions.iter().map(|p| p.group).collect::<Vec<_>>())
    };
    assert_eq!(groups(&bed), Some(vec![17, 18, 19]));
    bed.remove("A", false).unwrap();
    assert!(groups(&bed).is_some());
    bed.remove("A", true).unwrap();
    assert_eq!(groups(&bed), None);
    bed.try_deploy("A", "one", own(1, 1)).unwrap();
    assert_eq!(groups(&bed), Some(vec![20]));
}

#[test]
fn a_class_cannot_change_its_grid_while_it_exists() {
    let mut bed = Bed::founded(1);
    bed.deploy("A", "one");
    assert_eq!(bed.try_deploy("A", "two", own(2, 1)).unwrap_err().kind(), Code::Conflict);
    bed.remove("A", false).unwrap();
    assert_eq!(bed.try_deploy("A", "two", own(2, 1)).unwrap_err().kind(), Code::Conflict);
    bed.remove("A", true).unwrap();
    bed.try_deploy("A", "two", own(2, 1)).unwrap();
    assert_eq!(bed.try_deploy("A", "two", own(4, 1)).unwrap_err().kind(), Code::Conflict);
    assert_eq!(bed.try_deploy("default", "x", own(2, 1)).unwrap_err().kind(), Code::Conflict);
}

#[test]
fn a_grid_that_cannot_be_is_refused_and_the_refusal_says_how_many_hosts_there_are() {
    for (nodes, shape, says) in [
        (1, own(2, 3), "wants 3 replicas, but there is 1 host"),
        (2, own(2, 3), "wants 3 replicas, but there are 2 hosts"),
        (2, own(2, 0), "0 replicas"),
        (1, own(0, 1), "allowed is 1 to 256"),
        (1, own(257, 1), "allowed is 1 to 256"),
    ] {
        let mut bed = Bed::founded(nodes);
        let before = bed.state.clone();
        let problem = bed.try_deploy("A", "one", shape).unwrap_err();
        assert_eq!(problem.kind(), Code::Invalid);
        assert!(problem.detail.contains(says), "{}", problem.detail);
        assert_eq!(bed.state, before);
    }
}

#[test]
fn replicas_of_a_partition_lie_on_different_nodes_and_all_nodes_get_some() {
    let mut bed = Bed::founded(4);
    bed.try_deploy("A", "one", own(8, 3)).unwrap();
    let view = bed.view();
    let mut held = [0; 5];
    for partition in &view.grid("A").unwrap().partitions {
        assert_eq!(partition.nodes.iter().collect::<HashSet<_>>().len(), 3);
        partition.nodes.iter().for_each(|node| held[*node as usize] += 1);
    }
    assert_eq!(held, [0, 6, 6, 6, 6]);
}

#[test]
fn only_so_many_versions_are_remembered() {
    let mut bed = Bed::founded(1);
    for n in 0..=VERSIONS_KEPT_MAX {
        bed.deploy("A", if n % 2 == 0 { "one" } else { "two" });
    }
    let versions = bed.state.versions("A").unwrap();
    assert_eq!((versions.len(), versions[0].version), (VERSIONS_KEPT_MAX, 2));
}
