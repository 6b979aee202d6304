//! What is kept of one method: its calls by the way they came and by outcome, and how long they took. Each takes room, of
//! which there is only so much; what finds none is counted with the strangers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::histogram::{Histogram, SECONDS, SIZES};
use crate::outcome::Code;

/// The value of a label for whatever has no series of its own. Names begin with a letter, so nothing is called so.
pub const OTHER: &str = "_other";

/// Ways by which calls come.
pub(super) const WAYS: usize = 3;
/// Success, and every code by its number.
const OUTCOMES: usize = u32::BITS as usize;
const _: () = {
    let mut at = 0;
    while at < Code::ALL.len() {
        assert!((Code::ALL[at] as usize) + 1 < OUTCOMES, "a code is past what is counted");
        at += 1;
    }
};

/// How much may be told of classes and methods.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Series of calls, by class, method, way and outcome, those of the strangers included.
    pub series: usize,
    /// Methods with series of their own. Each has a histogram of some twenty lines.
    pub methods: usize,
    /// Classes with a histogram of their own.
    pub classes: usize,
}

/// Of the gateway and of the host, each.
pub const BOUNDS: Bounds = Bounds { series: 2_000, methods: 500, classes: 500 };
// the strangers always have theirs
const _: () = assert!(BOUNDS.series > WAYS * OUTCOMES);

/// What is left of the bounds.
#[derive(Debug)]
pub(super) struct Rooms {
    series: Room,
    methods: Room,
    classes: Room,
}

#[derive(Debug)]
struct Room(AtomicUsize);

impl Rooms {
    pub(super) fn new(bounds: Bounds) -> Arc<Self> {
        let room = |count| Room(AtomicUsize::new(count));
        let series = room(bounds.series.saturating_sub(WAYS * OUTCOMES));
        Arc::new(Self { series, methods: room(bounds.methods), classes: room(bounds.classes) })
    }
}

impl Room {
    fn take(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    fn give(&self, count: usize) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
}

/// Counters by outcome.
#[derive(Debug)]
pub struct Outcomes([AtomicU64; OUTCOMES]);

impl Default for Outcomes {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Outcomes {
    /// Counts one that failed so, or did not.
    pub fn count(&self, failed: Option<Code>) {
        self.0[slot(failed)].fetch_add(1, Ordering::Relaxed);
    }

    /// Those that there were, `ok` first.
    pub fn seen(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let named =
            [(None, "ok")].into_iter().chain(Code::ALL.iter().map(|code| (Some(*code), code.as_str())));
        let seen = named.map(|(failed, name)| (name, self.0[slot(failed)].load(Ordering::Relaxed)));
        seen.filter(|(_, count)| *count > 0)
    }
}

fn slot(failed: Option<Code>) -> usize {
    failed.map_or(0, |code| code as usize + 1)
}

/// See the module.
#[derive(Debug)]
pub(super) struct Cell {
    ways: [Way; WAYS],
    durations: Histogram,
    /// Where its room came from; none for that of the strangers.
    rooms: Option<Arc<Rooms>>,
}

#[derive(Debug, Default)]
struct Way {
    /// A bit for each outcome that has a series.
    admitted: AtomicU32,
    outcomes: Outcomes,
}

impl Cell {
    fn with(rooms: Option<Arc<Rooms>>) -> Self {
        Self { ways: Default::default(), durations: Histogram::new(&SECONDS), rooms }
    }

    /// One for whatever has none of its own.
    pub(super) fn of_strangers() -> Self {
        Self::with(None)
    }

    /// One, if there is room.
    pub(super) fn new(rooms: &Arc<Rooms>) -> Option<Self> {
        rooms.methods.take().then(|| Self::with(Some(rooms.clone())))
    }

    /// Counts a call; false when there is no room for its outcome.
    pub(super) fn count(&self, way: usize, failed: Option<Code>) -> bool {
        let way = &self.ways[way % WAYS];
        if let Some(rooms) = &self.rooms {
            let bit = 1 << slot(failed);
            if way.admitted.load(Ordering::Relaxed) & bit == 0 {
                if !rooms.series.take() {
                    return false;
                }
                if way.admitted.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
                    rooms.series.give(1); // another call was faster
                }
            }
        }
        way.outcomes.count(failed);
        true
    }

    pub(super) fn took(&self, duration: Duration) {
        self.durations.took(duration);
    }

    pub(super) fn durations(&self) -> &Histogram {
        &self.durations
    }

    /// The calls by way and outcome.
    pub(super) fn seen(&self) -> impl Iterator<Item = (usize, &'static str, u64)> {
        let ways = self.ways.iter().enumerate();
        ways.flat_map(|(at, way)| way.outcomes.seen().map(move |(outcome, count)| (at, outcome, count)))
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        let Some(rooms) = &self.rooms else { return };
        let series: u32 = self.ways.iter().map(|way| way.admitted.load(Ordering::Relaxed).count_ones()).sum();
        rooms.series.give(series as usize);
        rooms.methods.give(1);
    }
}

/// The sizes of a class, with the room that they take.
#[derive(Debug)]
pub(super) struct Sizes {
    pub(super) histogram: Histogram,
    rooms: Arc<Rooms>,
}

impl Sizes {
    /// One, if there is room.
    pub(super) fn new(rooms: &Arc<Rooms>) -> Option<Self> {
        let make = || Self { histogram: Histogram::new(&SIZES), rooms: rooms.clone() };
        rooms.classes.take().then(make)
    }
}

impl Drop for Sizes {
    fn drop(&mut self) {
        self.rooms.classes.give(1);
    }
}
