//! The hosts and the sets of copies while they are moved about, with the moves that must be and those for zones.

use std::collections::{BTreeMap, BTreeSet};

use oprc_mesh::catalog::{Node, NodeState};

use super::{Freedom, Placed, effective};

/// See the module.
pub(super) struct Board<'a> {
    /// Zones of the hosts that take their share.
    zones: BTreeMap<u64, &'a str>,
    zone_count: usize,
    states: BTreeMap<u64, NodeState>,
    partitions: &'a [Placed],
    /// The copies of each partition, in the order of `partitions`.
    pub(super) sets: Vec<BTreeSet<u64>>,
    /// Copies on each host that takes its share.
    loads: BTreeMap<u64, usize>,
}

impl<'a> Board<'a> {
    pub(super) fn new(nodes: &'a [Node], partitions: &'a [Placed]) -> Self {
        let live = nodes.iter().filter(|node| node.state() == NodeState::Live);
        let zones: BTreeMap<u64, &str> = live.map(|node| (node.id, node.zone.as_str())).collect();
        let mut board = Self {
            zone_count: zones.values().collect::<BTreeSet<_>>().len(),
            states: nodes.iter().map(|node| (node.id, node.state())).collect(),
            partitions,
            sets: partitions.iter().map(|placed| placed.nodes.iter().copied().collect()).collect(),
            loads: zones.keys().map(|id| (*id, 0)).collect(),
            zones,
        };
        for id in board.sets.iter().flatten() {
            if let Some(load) = board.loads.get_mut(id) {
                *load += 1;
            }
        }
        board
    }

    pub(super) fn is_live(&self, id: u64) -> bool {
        self.zones.contains_key(&id)
    }

    pub(super) fn live(&self) -> impl Iterator<Item = u64> {
        self.zones.keys().copied()
    }

    pub(super) fn load(&self, id: u64) -> usize {
        self.loads.get(&id).copied().unwrap_or(0)
    }

    pub(super) fn placed(&self, at: usize) -> &Placed {
        &self.partitions[at]
    }

    pub(super) fn is_free(&self, at: usize) -> bool {
        self.partitions[at].freedom == Freedom::Free
    }

    fn state(&self, id: u64) -> NodeState {
        self.states.get(&id).copied().unwrap_or(NodeState::Removed)
    }

    fn replace(&mut self, at: usize, set: BTreeSet<u64>) {
        let before = std::mem::replace(&mut self.sets[at], set);
        for id in before.difference(&self.sets[at]) {
            self.loads.entry(*id).and_modify(|load| *load -= 1);
        }
        for id in self.sets[at].difference(&before) {
            self.loads.entry(*id).and_modify(|load| *load += 1);
        }
    }

    /// Moves one copy.
    pub(super) fn shift(&mut self, at: usize, from: u64, to: u64) {
        let mut set = self.sets[at].clone();
        set.remove(&from);
        set.insert(to);
        self.replace(at, set);
    }

    /// Zones that the copies on live hosts are in.
    fn spread<'s>(&self, set: impl IntoIterator<Item = &'s u64>) -> usize {
        set.into_iter().filter_map(|id| self.zones.get(id)).collect::<BTreeSet<_>>().len()
    }

    /// Zones that the copies of a partition are in.
    pub(super) fn spread_of(&self, at: usize) -> usize {
        self.spread(&self.sets[at])
    }

    /// Whether moving one copy leaves the partition in as many zones.
    pub(super) fn keeps_spread(&self, at: usize, from: u64, to: u64) -> bool {
        let set = &self.sets[at];
        let after = set.iter().filter(|id| **id != from).chain([&to]);
        self.spread(after) >= self.spread(set)
    }

    /// Fills up what is short of copies and empties hosts that should hold nothing.
    pub(super) fn repair(&mut self) {
        for at in 0..self.sets.len() {
            if self.partitions[at].freedom != Freedom::Fixed {
                let set = self.repaired(at);
                self.replace(at, set);
            }
        }
    }

    fn repaired(&self, at: usize) -> BTreeSet<u64> {
        let before = &self.sets[at];
        let is = |states: &'static [NodeState]| {
            move |id: &&u64| states.contains(&self.states.get(*id).copied().unwrap_or(NodeState::Removed))
        };
        let there = before.iter().filter(is(&[NodeState::Live, NodeState::Draining])).count();
        if !before.is_empty() && there * 2 <= before.len() {
            // without a majority the group can change nothing; its hosts may return
            return before.clone();
        }
        let replicas = self.partitions[at].replicas.max(1) as usize;
        let mut set: BTreeSet<u64> = before.iter().copied().filter(|id| self.is_live(*id)).collect();
        // a whole copy is never given up for the sake of an odd number
        let size = effective(replicas, self.zones.len()).max(set.len().min(replicas));
        while set.len() < size {
            let Some(next) = self.least_loaded(&set) else { break };
            set.insert(next);
        }
        // nobody can take the place of these: they may return, and losing one more must not be easier meanwhile
        for id in before.iter().filter(is(&[NodeState::Down])) {
            if set.len() < before.len().min(replicas) {
                set.insert(*id);
            }
        }
        if set.is_empty() { before.clone() } else { set }
    }

    /// Of the live hosts outside the set, one in a zone of its own if there is one, with the fewest copies.
    fn least_loaded(&self, set: &BTreeSet<u64>) -> Option<u64> {
        let taken: BTreeSet<&str> = set.iter().filter_map(|id| self.zones.get(id)).copied().collect();
        let free = self.zones.iter().filter(|(id, _)| !set.contains(id));
        free.min_by_key(|(id, zone)| (taken.contains(*zone), self.load(**id), **id)).map(|(id, _)| *id)
    }

    /// Moves copies that share a zone while another zone has none.
    pub(super) fn spread_over_zones(&mut self) {
        for at in 0..self.sets.len() {
            while self.is_free(at) {
                let Some((from, to)) = self.to_another_zone(at) else { break };
                self.shift(at, from, to);
            }
        }
    }

    fn to_another_zone(&self, at: usize) -> Option<(u64, u64)> {
        let set = &self.sets[at];
        let live: Vec<u64> = set.iter().copied().filter(|id| self.is_live(*id)).collect();
        if self.spread(set) >= live.len().min(self.zone_count) || self.moves_away(set) {
            return None;
        }
        let shared =
            |id: &&u64| live.iter().filter(|other| self.zones.get(other) == self.zones.get(id)).count() > 1;
        let leader = self.partitions[at].nodes.first();
        let from =
            live.iter().filter(shared).max_by_key(|id| (Some(*id) != leader, self.load(**id), **id))?;
        let to = self.least_loaded(set)?;
        Some((*from, to))
    }

    /// Takes one of four or more live hosts out of an even set: it bears as many losses without. Only for the catalog,
    /// of which the host keeps a copy all the same.
    pub(super) fn make_odd(&mut self, at: usize) {
        let set = &self.sets[at];
        if set.len() < 4 || !set.len().is_multiple_of(2) || self.moves_away(set) {
            return;
        }
        let without = |id: &u64| self.spread(set.iter().filter(|other| *other != id));
        if let Some(out) = set.iter().copied().max_by_key(|id| (without(id), *id)) {
            let rest = set.iter().copied().filter(|id| *id != out).collect();
            self.replace(at, rest);
        }
    }

    /// It holds on to hosts that are down: nothing else is to be moved meanwhile.
    pub(super) fn moves_away(&self, set: &BTreeSet<u64>) -> bool {
        set.iter().any(|id| self.state(*id) != NodeState::Live)
    }
}
