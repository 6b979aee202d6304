//! The log against a plain list: numbers without a hole, the newest always there, bounded, and the same whatever the
//! entries that the events come in.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use oprc_mesh::wire::{Event, Tag};
use proptest::prelude::*;

use super::log::LogLimits;
use super::*;

const SMALL: LogLimits = LogLimits { events_max: 20, bytes_max: 2_000, block_events: 4, block_bytes: 300 };

/// A stored log.
#[derive(Default)]
struct Model {
    bounds: BoundsRecord,
    events: BTreeMap<u64, u64>,
    blocks: BTreeMap<u64, BlockRecord>,
}

fn told(bytes: usize) -> Told {
    let event = Event { object: "x".repeat(bytes), tag: Tag::default(), ..Event::default() };
    Told { class: 1, event }
}

impl Model {
    /// Adds one entry; gives how many changes that took.
    fn add(&mut self, sizes: &[usize]) -> usize {
        let events: Vec<Told> = sizes.iter().map(|size| told(*size)).collect();
        let mut bounds = self.bounds;
        let changes =
            append(&mut bounds, SMALL, events.iter(), |after| Ok(self.blocks.get(&after).copied())).unwrap();
        let count = changes.len();
        for change in changes {
            match change {
                LogChange::Put { seq, told } => {
                    assert!(self.events.insert(seq, told.stored_bytes()).is_none(), "{seq} is new");
                }
                LogChange::Drop { seq } => assert!(self.events.remove(&seq).is_some(), "{seq} was there"),
                LogChange::Close { after, block } => {
                    assert!(self.blocks.insert(after, block).is_none());
                }
                LogChange::Forget { after } => assert!(self.blocks.remove(&after).is_some()),
            }
        }
        self.bounds = bounds;
        count
    }

    fn check(&self) {
        let there: Vec<u64> = self.events.keys().copied().collect();
        let expected: Vec<u64> = (self.bounds.trimmed + 1..=self.bounds.last).collect();
        assert_eq!(there, expected, "without a hole");
        assert_eq!(self.events.values().sum::<u64>(), self.bounds.bytes);
        // every block that is there, and the open one, together are the log
        let mut after = self.bounds.trimmed;
        while after < self.bounds.open_after {
            after = self.blocks[&after].last;
        }
        assert_eq!(after, self.bounds.open_after);
        let open: u64 = self.events.range(after + 1..).map(|(_, bytes)| bytes).sum();
        assert_eq!(open, self.bounds.open_bytes);
    }
}

#[test]
fn blocks_close_at_their_limits_and_the_oldest_goes_past_the_logs() {
    let mut log = Model::default();
    for _ in 0..20 {
        log.add(&[1]);
    }
    assert_eq!((log.bounds.last, log.bounds.trimmed, log.blocks.len()), (20, 0, 5));
    log.add(&[1]);
    assert_eq!((log.bounds.last, log.bounds.trimmed, log.blocks.len()), (21, 4, 4), "one past it");
    log.check();
    // by bytes: each of these is a block of its own
    for _ in 0..3 {
        log.add(&[600]);
    }
    log.check();
    assert_eq!(log.bounds.last, 24);
    assert!(log.bounds.bytes <= SMALL.bytes_max && log.events.contains_key(&24));
}

#[test]
fn an_event_larger_than_the_log_goes_at_once() {
    let mut log = Model::default();
    log.add(&[5_000]);
    log.check();
    assert!(log.events.is_empty(), "a reader is told of the gap");
    log.add(&[1]);
    log.check();
    assert_eq!(log.events.keys().copied().collect::<Vec<_>>(), [2]);
}

proptest! {
    #[test]
    fn it_stays_whole_and_bounded(
        entries in proptest::collection::vec(proptest::collection::vec(0_usize..400, 0..12), 0..60),
    ) {
        let mut log = Model::default();
        let mut all = 0;
        for entry in &entries {
            let blocks = log.blocks.len();
            let changes = log.add(entry);
            all += entry.len() as u64;
            log.check();
            prop_assert_eq!(log.bounds.last, all);
            // bounded work: what it adds, closes, and twice that again with its events
            let closed = entry.len() + 1;
            prop_assert!(changes <= 2 * entry.len() + (2 * closed + 1) * (SMALL.block_events as usize + 1));
            // one block more than allowed, and what one entry adds, is the most that is ever there
            let most = SMALL.events_max + SMALL.block_events + entry.len() as u64;
            prop_assert!(log.bounds.last - log.bounds.trimmed <= most, "{} blocks before", blocks);
        }
        // what follows, an event at a time, brings it within its limits
        for _ in 0..40 {
            log.add(&[1]);
        }
        prop_assert!(log.bounds.last - log.bounds.trimmed <= SMALL.events_max + SMALL.block_events);
        prop_assert!(log.bounds.bytes <= SMALL.bytes_max + SMALL.block_bytes + 500);
    }

    #[test]
    fn numbers_do_not_depend_on_how_events_are_gathered(sizes in proptest::collection::vec(0_usize..300, 1..40)) {
        let (mut one, mut many) = (Model::default(), Model::default());
        one.add(&sizes);
        for size in &sizes {
            many.add(&[*size]);
        }
        prop_assert_eq!(one.bounds.last, many.bounds.last);
        let newest = (one.bounds.last, one.events.get(&one.bounds.last).copied());
        prop_assert!(newest.1.is_none() || many.events.get(&newest.0).is_none_or(|bytes| Some(*bytes) == newest.1));
    }
}
