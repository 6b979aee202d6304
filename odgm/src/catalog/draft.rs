//! A change of the catalog in the making.

use oprc_mesh::catalog::{Grid, Node, PartitionInfo};
use oprc_mesh::limits::SLOTS;
use oprc_mesh::outcome::Problem;

use super::CatalogReply;
use super::keys::{CatalogEffect, CatalogKey};
use super::layout::lay_out;
use super::state::CatalogState;
use crate::record::{CatalogItem, Counters};

/// What a command does, or why it is refused.
pub(super) type Decision = Result<(Vec<CatalogEffect>, CatalogReply), Problem>;

/// The effects of one change, with the numbers that it takes.
pub(super) struct Draft {
    effects: Vec<CatalogEffect>,
    pub(super) counters: Counters,
}

impl Draft {
    pub(super) fn new(state: &CatalogState, index: u64) -> Self {
        Self { effects: Vec::new(), counters: Counters { revision: index, ..state.counters } }
    }

    pub(super) fn put(&mut self, item: CatalogItem) {
        self.effects.push(CatalogEffect::Put(item));
    }

    pub(super) fn drop_record(&mut self, key: CatalogKey) {
        self.effects.push(CatalogEffect::Drop(key));
    }

    /// Lays a grid's slots on new groups and these on the hosts, of which there is at least one.
    pub(super) fn add_grid(&mut self, name: &str, partitions: u32, replicas: u32, nodes: &[&Node]) {
        let bound = |n: u32| n * u32::from(SLOTS) / partitions;
        let slots: Vec<_> = (0..partitions).map(|n| (bound(n), bound(n + 1) - 1)).collect();
        let partitions = self.begin(&slots, replicas, nodes);
        self.put(CatalogItem::Grid(Grid { name: name.to_owned(), replicas, partitions }));
    }

    /// Partitions that own these slots, each with a new group that is to be founded.
    pub(super) fn begin(
        &mut self,
        slots: &[(u32, u32)],
        replicas: u32,
        nodes: &[&Node],
    ) -> Vec<PartitionInfo> {
        let first = self.counters.next_group;
        self.counters.next_group += slots.len() as u64;
        let sets = lay_out(nodes, replicas, first..self.counters.next_group);
        let numbered = (first..).zip(slots).zip(sets);
        let begun = numbered.map(|((group, &(slot_first, slot_last)), nodes)| PartitionInfo {
            group,
            slot_first,
            slot_last,
            held: sorted(nodes.clone()),
            founder: nodes[0],
            nodes,
            founded: false,
            placed: 0,
        });
        begun.collect()
    }

    /// Something changed.
    pub(super) fn finish(mut self, reply: CatalogReply) -> (Vec<CatalogEffect>, CatalogReply) {
        self.effects.push(CatalogEffect::Put(CatalogItem::Counters(self.counters)));
        (self.effects, reply)
    }

    /// Something changed, and that is all there is to say.
    #[allow(clippy::unnecessary_wraps, reason = "it ends a decision")]
    pub(super) fn changed(self) -> Decision {
        let revision = self.counters.revision;
        Ok(self.finish(CatalogReply::Changed(revision)))
    }
}

/// It is so already.
#[allow(clippy::unnecessary_wraps, reason = "it is a decision")]
pub(super) fn unchanged(state: &CatalogState) -> Decision {
    Ok((Vec::new(), CatalogReply::Changed(state.counters.revision)))
}

/// As a set: in order, each once.
pub(super) fn sorted(mut nodes: Vec<u64>) -> Vec<u64> {
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}
