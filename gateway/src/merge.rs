//! Merges the partitions' listings into one in id order. Pure: it says which item comes next, or which lane must be
//! filled first; the caller fetches. A lane that said `more` and is used up holds the merge back until it is filled, so
//! no id is ever passed over, however unevenly the partitions answer.

use std::collections::VecDeque;

use oprc_mesh::wire::ObjectEntry;

/// One partition's part of the listing.
#[derive(Debug, Default)]
struct Lane {
    items: VecDeque<ObjectEntry>,
    /// The partition has more after the last item that it gave.
    more: bool,
    /// The last id that it gave: where to go on.
    last: String,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Merge {
    lanes: Vec<Lane>,
}

/// What the merge needs or gives.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// The next item.
    Item(ObjectEntry),
    /// These lanes must be filled first.
    Fill(Vec<usize>),
    /// Every lane is at its end.
    End,
}

/// A partition said that there is more and gave nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stuck;

impl Merge {
    /// A merge of `lanes` partitions, all to be filled from after `after`.
    pub(crate) fn new(lanes: usize, after: &str) -> Self {
        let lane = || Lane { items: VecDeque::new(), more: true, last: after.to_owned() };
        Self { lanes: (0..lanes).map(|_| lane()).collect() }
    }

    /// Where lane `at` goes on.
    pub(crate) fn after(&self, at: usize) -> &str {
        &self.lanes[at].last
    }

    /// Takes a page of lane `at`.
    ///
    /// # Errors
    /// [`Stuck`] when asking again would go on for ever.
    pub(crate) fn fill(&mut self, at: usize, items: Vec<ObjectEntry>, more: bool) -> Result<(), Stuck> {
        let lane = &mut self.lanes[at];
        match items.last() {
            Some(last) if last.id > lane.last || !more => lane.last.clone_from(&last.id),
            None if !more => {}
            _ => return Err(Stuck),
        }
        lane.more = more;
        lane.items.extend(items);
        Ok(())
    }

    /// Takes the next step.
    pub(crate) fn step(&mut self) -> Step {
        let empty: Vec<usize> = self.lanes_where(|lane| lane.more && lane.items.is_empty()).collect();
        if !empty.is_empty() {
            return Step::Fill(empty);
        }
        let first = self
            .lanes_where(|lane| !lane.items.is_empty())
            .min_by(|&a, &b| self.lanes[a].items[0].id.cmp(&self.lanes[b].items[0].id));
        first.and_then(|at| self.lanes[at].items.pop_front()).map_or(Step::End, Step::Item)
    }

    fn lanes_where(&self, wanted: impl Fn(&Lane) -> bool) -> impl Iterator<Item = usize> {
        self.lanes.iter().enumerate().filter(move |(_, lane)| wanted(lane)).map(|(at, _)| at)
    }

    /// Whether anything follows the items that were taken.
    pub(crate) fn more(&self) -> bool {
        self.lanes.iter().any(|lane| lane.more || !lane.items.is_empty())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use oprc_mesh::wire::Tag;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn entry(id: &str) -> ObjectEntry {
        ObjectEntry { id: id.into(), tag: Tag { incarnation: 1, version: 1 } }
    }

    /// Partitions that answer with at most `page` items, whatever is asked for.
    fn merged(
        partitions: &[BTreeSet<String>],
        page: usize,
        after: &str,
        limit: usize,
    ) -> (Vec<String>, bool) {
        let mut merge = Merge::new(partitions.len(), after);
        let mut taken = Vec::new();
        while taken.len() < limit {
            match merge.step() {
                Step::End => break,
                Step::Item(item) => taken.push(item.id),
                Step::Fill(lanes) => {
                    for at in lanes {
                        let mut rest = partitions[at].iter().filter(|id| id.as_str() > merge.after(at));
                        let items = rest.by_ref().take(page).map(|id| entry(id)).collect();
                        let more = rest.next().is_some();
                        merge.fill(at, items, more).unwrap();
                    }
                }
            }
        }
        (taken, merge.more())
    }

    #[test]
    fn a_lane_that_says_more_holds_the_merge_back() {
        let mut merge = Merge::new(2, "");
        assert_eq!(merge.step(), Step::Fill(vec![0, 1]));
        merge.fill(0, vec![entry("a")], true).unwrap();
        merge.fill(1, vec![entry("d")], false).unwrap();
        assert_eq!(merge.step(), Step::Item(entry("a")));
        // `b` may follow in lane 0, so `d` has to wait
        assert_eq!(merge.step(), Step::Fill(vec![0]));
        assert_eq!(merge.after(0), "a");
        merge.fill(0, vec![entry("b")], false).unwrap();
        assert_eq!(merge.step(), Step::Item(entry("b")));
        assert!(merge.more());
        assert_eq!(merge.step(), Step::Item(entry("d")));
        assert!(!merge.more());
        assert_eq!(merge.step(), Step::End);
    }

    #[test]
    fn a_partition_that_makes_no_progress_is_an_error() {
        let mut merge = Merge::new(1, "k");
        assert_eq!(merge.fill(0, vec![], true), Err(Stuck));
        assert_eq!(merge.fill(0, vec![entry("k")], true), Err(Stuck));
        assert_eq!(merge.fill(0, vec![], false), Ok(()));
        assert_eq!(merge.step(), Step::End);
    }

    proptest! {
        #[test]
        fn pages_together_are_all_items_in_order(
            ids in proptest::collection::btree_set("[a-c]{1,4}", 0..40),
            partitions in 1..6usize,
            page in 1..5usize,
            limit in 1..7usize,
        ) {
            let mut lanes = vec![BTreeSet::new(); partitions];
            for id in &ids {
                lanes[id.bytes().map(usize::from).sum::<usize>() % partitions].insert(id.clone());
            }
            let mut all: Vec<String> = Vec::new();
            loop {
                let after = all.last().cloned().unwrap_or_default();
                let (items, more) = merged(&lanes, page, &after, limit);
                prop_assert!(items.len() <= limit);
                prop_assert!(!more || items.len() == limit);
                all.extend(items);
                if !more {
                    break;
                }
            }
            prop_assert_eq!(all, ids.into_iter().collect::<Vec<_>>());
        }
    }
}
