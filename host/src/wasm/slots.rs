//! How many turns run at the same time.
//!
//! A turn that waits for what it called holds its place. So that waiting turns never keep out those that they wait for, each
//! level of a chain has one place more than the level above it: whoever is the deepest of all finds room for what it
//! calls, and in the end gives it back. What is refused is tried again by its caller, which holds nothing
//! but its own place meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};

use oprc_mesh::limits::CALL_DEPTH;

/// Levels of nested calls.
const LEVELS: usize = CALL_DEPTH.cap as usize;

/// The places of all turns.
#[derive(Debug)]
pub(super) struct Slots {
    running: AtomicUsize,
    outermost: usize,
}

/// A turn's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot<'a>(&'a Slots);

impl Slots {
    /// Places for so many turns that nobody waits for, and some more for nested ones.
    pub(super) fn new(outermost: usize) -> Self {
        Self { running: AtomicUsize::new(0), outermost }
    }

    /// All places that there are when so many are for turns that nobody waits for.
    pub(super) fn total(outermost: u32) -> u32 {
        outermost.saturating_add(LEVELS as u32)
    }

    /// How many are taken, and how many there are.
    pub(super) fn taken(&self) -> (usize, usize) {
        (self.running.load(Ordering::Relaxed), self.outermost.saturating_add(LEVELS))
    }

    /// Takes a place for a turn that `depth` others wait for.
    pub(super) fn enter(&self, depth: usize) -> Option<Slot<'_>> {
        let most = self.outermost.saturating_add(depth.min(LEVELS));
        let more = |running| (running < most).then_some(running + 1);
        self.running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok().then(|| Slot(self))
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Of so many bytes in all, what a turn that `depth` others wait for leaves to deeper ones: an eighth of it at the outermost.
pub(super) fn bytes_kept(total: usize, depth: usize) -> usize {
    total / 8 / LEVELS * (LEVELS - depth.min(LEVELS))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_always_finds_a_place() {
        let slots = Slots::new(2);
        let outer = (slots.enter(0).unwrap(), slots.enter(0).unwrap());
        assert!(slots.enter(0).is_none());
        let mut chain: Vec<_> = (1..=LEVELS).map(|depth| slots.enter(depth).unwrap()).collect();
        assert!(slots.enter(LEVELS).is_none() && slots.enter(LEVELS + 1).is_none());
        chain.pop();
        assert!(slots.enter(LEVELS - 1).is_none(), "that place is for the deepest");
        assert!(slots.enter(LEVELS).is_some());
        drop((chain, outer));
        assert_eq!(slots.running.into_inner(), 0);
        assert_eq!(Slots::total(2) as usize, 2 + LEVELS);
    }

    #[test]
    fn deeper_turns_may_take_more_of_the_memory() {
        let total = 8 * 64 * 1_024;
        assert_eq!(bytes_kept(total, 0), total / 8);
        assert_eq!(bytes_kept(total, 1), total / 8 - 1_024);
        assert_eq!([LEVELS, LEVELS + 1].map(|depth| bytes_kept(total, depth)), [0, 0]);
    }
}
