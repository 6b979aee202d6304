//! The catalog's state: a fold over its records, whether they come from the disk or from a change.

use std::collections::{BTreeMap, BTreeSet};

use oprc_mesh::access::ApiKey;
use oprc_mesh::catalog::{CatalogView, Class, Founding, Grid, Node, NodeState, PartitionInfo};

use super::keys::{CatalogEffect, CatalogKey};
use crate::record::{CatalogItem, ClassRecord, Counters};

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CatalogState {
    pub(super) counters: Counters,
    pub(super) founding: Option<Founding>,
    pub(super) nodes: BTreeMap<u64, Node>,
    pub(super) grids: BTreeMap<String, Grid>,
    pub(super) classes: BTreeMap<String, ClassEntry>,
    pub(super) keys: BTreeMap<String, ApiKey>,
}

/// A class and its deployments.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ClassEntry {
    pub(super) record: ClassRecord,
    /// Oldest first; the last is the current one.
    pub(super) versions: Vec<Class>,
}

impl ClassEntry {
    /// The current version, unless the class was removed.
    pub(super) fn running(&self) -> Option<&Class> {
        self.versions.last().filter(|_| !self.record.removed)
    }
}

impl Default for CatalogState {
    fn default() -> Self {
        Self {
            // class 0 is the groups' own records, group 0 the catalog
            counters: Counters { revision: 0, next_class: 1, next_group: 1 },
            founding: None,
            nodes: BTreeMap::new(),
            grids: BTreeMap::new(),
            classes: BTreeMap::new(),
            keys: BTreeMap::new(),
        }
    }
}

impl CatalogState {
    /// Takes in one effect.
    pub(crate) fn absorb(&mut self, effect: CatalogEffect) {
        match effect {
            CatalogEffect::Put(item) => self.put(item),
            CatalogEffect::Drop(key) => self.drop_record(&key),
        }
    }

    fn put(&mut self, item: CatalogItem) {
        match item {
            CatalogItem::Counters(counters) => self.counters = counters,
            CatalogItem::Founding(founding) => self.founding = Some(founding),
            CatalogItem::Node(node) => {
                self.nodes.insert(node.id, node);
            }
            CatalogItem::Grid(grid) => {
                self.grids.insert(grid.name.clone(), grid);
            }
            CatalogItem::Key(key) => {
                self.keys.insert(key.name.clone(), key);
            }
            CatalogItem::Class(record) => {
                let versions =
                    self.classes.remove(&record.name).map(|entry| entry.versions).unwrap_or_default();
                self.classes.insert(record.name.clone(), ClassEntry { record, versions });
            }
            CatalogItem::Version(class) => {
                if let Some(entry) = self.classes.get_mut(&class.name) {
                    // the current one is written again when its canary changes
                    entry.versions.retain(|kept| kept.version != class.version);
                    entry.versions.push(class);
                }
            }
        }
    }

    fn drop_record(&mut self, key: &CatalogKey) {
        match key {
            CatalogKey::Counters | CatalogKey::Founding => {}
            CatalogKey::Node(id) => {
                self.nodes.remove(id);
            }
            CatalogKey::Grid(name) => {
                self.grids.remove(name);
            }
            CatalogKey::Key(name) => {
                self.keys.remove(name);
            }
            CatalogKey::Class(name) => {
                self.classes.remove(name);
            }
            CatalogKey::Version { class, version } => {
                let mut entries = self.classes.values_mut();
                if let Some(entry) = entries.find(|entry| entry.record.id == *class) {
                    entry.versions.retain(|kept| kept.version != *version);
                }
            }
        }
    }

    /// Some deployment is of the component with this digest.
    pub(crate) fn refers_to(&self, digest: &[u8]) -> bool {
        self.deployments().any(|deployed| deployed.digest == digest)
    }

    /// The components of all deployments, each once.
    pub(crate) fn components(&self) -> BTreeSet<bytes::Bytes> {
        self.deployments().map(|deployed| deployed.digest.clone()).collect()
    }

    /// All versions of all classes, canaries too.
    fn deployments(&self) -> impl Iterator<Item = &Class> {
        self.classes.values().flat_map(|entry| &entry.versions).flat_map(Class::variants)
    }

    /// What the rest of the house sees: sorted by name and id, without removed classes.
    pub(crate) fn view(&self) -> CatalogView {
        let deployed = self.classes.values().filter(|entry| !entry.record.removed);
        CatalogView {
            revision: self.counters.revision,
            nodes: self.nodes.values().cloned().collect(),
            grids: self.grids.values().cloned().collect(),
            classes: deployed.filter_map(|entry| entry.versions.last().cloned()).collect(),
            founding: self.founding,
            keys: self.keys.values().cloned().collect(),
        }
    }

    /// The deployments of a class that is deployed, oldest first.
    pub(crate) fn versions(&self, class: &str) -> Option<Vec<Class>> {
        self.classes.get(class).filter(|entry| !entry.record.removed).map(|entry| entry.versions.clone())
    }

    /// Whether the number was given to a class that was purged since: nothing of it will ever be read again. A number
    /// that was not given out yet, as far as this replica knows, is not.
    pub(crate) fn is_purged(&self, class: u64) -> bool {
        class < self.counters.next_class && !self.classes.values().any(|entry| entry.record.id == class)
    }

    /// Whether the number was given to a Raft group that is in no grid any more: nothing of it will ever be read again.
    /// That stays true for ever, so it does not matter how old this replica's catalog is. A number that was not given
    /// out yet, as far as this replica knows, is not.
    pub(crate) fn is_dropped(&self, group: u64) -> bool {
        (1..self.counters.next_group).contains(&group) && self.partition(group).is_none()
    }

    /// The partition of a group, with its grid.
    pub(super) fn partition(&self, group: u64) -> Option<(&Grid, &PartitionInfo)> {
        let of_grid = |grid: &'_ Grid| grid.partitions.iter().position(|info| info.group == group);
        self.grids.values().find_map(|grid| of_grid(grid).map(|at| (grid, &grid.partitions[at])))
    }

    /// The hosts that take their share, in id order.
    pub(super) fn live(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(|node| node.state() == NodeState::Live)
    }
}
