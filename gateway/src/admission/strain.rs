//! Measures how calls fare, and keeps the limit that follows from it ([`super::adaptive`]).
//!
//! What is measured is the time from asking a host to its answer: neither a body that comes slowly nor a reader that takes
//! its answer slowly is in it. Waits for asynchronous results and streams of events are no calls here. Of the calls on one
//! object only one at a time is measured, the first: the others wait in its mailbox, which has a bound of its own, and say
//! nothing of the machine.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use oprc_mesh::wire::Op;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::adaptive::{Adaptive, Suspicion, is_strained};

/// Objects are told apart by so many marks; two that share one are taken for one, and less is measured.
const MARKS: usize = 4_096;
/// The quickest answer of a method counts for this long at the least, and twice as long at the most.
const QUICKEST_MS: u64 = 30_000;
/// Methods whose quickest answer is known at once; of others nothing is measured until some are forgotten.
const METHODS_MAX: usize = 4_096;

/// See the module.
pub(crate) struct Strain {
    begun: Instant,
    hasher: RandomState,
    /// Calls under way on the objects of each mark.
    marks: Box<[AtomicU32]>,
    core: Mutex<Core>,
    limit: AtomicUsize,
    /// When the core has something to do, in milliseconds since the beginning.
    due_ms: AtomicU64,
    /// Calls under way at once, since the core last looked.
    peak: AtomicUsize,
}

struct Core {
    adaptive: Adaptive,
    quickest: Quickest,
}

/// A call that is measured, or, without a method, only counted on its object.
pub(crate) struct Sample<'a> {
    strain: &'a Strain,
    method: Option<u64>,
    mark: Option<&'a AtomicU32>,
    begun: Instant,
}

impl Drop for Sample<'_> {
    fn drop(&mut self) {
        if let Some(mark) = self.mark {
            mark.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Strain {
    pub(super) fn new(calls_max: usize, calls_min: usize) -> Self {
        let adaptive = Adaptive::new(calls_max, calls_min);
        Self {
            begun: Instant::now(),
            hasher: RandomState::new(),
            marks: (0..MARKS).map(|_| AtomicU32::new(0)).collect(),
            limit: AtomicUsize::new(adaptive.limit()),
            due_ms: AtomicU64::new(adaptive.due_ms()),
            peak: AtomicUsize::new(0),
            core: Mutex::new(Core { adaptive, quickest: Quickest::default() }),
        }
    }

    /// Milliseconds since the beginning.
    pub(super) fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    /// Calls that may be under way.
    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Takes note that so many calls are under way.
    pub(super) fn taken(&self, calls: usize, now_ms: u64) {
        self.peak.fetch_max(calls, Ordering::Relaxed);
        // without answers nothing else would look, and the limit would stay where it is
        if now_ms > self.due_ms.load(Ordering::Relaxed) + QUIET_MS {
            let mut core = self.core.lock();
            if self.turn(&mut core, now_ms).is_some() {
                core.adaptive.looked(false); // what was measured so long ago says nothing of now
            }
        }
    }

    /// Begins to measure what a host is asked for, if it tells anything.
    pub(crate) fn begin(&self, op: &Op) -> Sample<'_> {
        let (class, object, method) = match op {
            Op::Invoke(invoke) => (&invoke.class, invoke.object.as_ref(), invoke.method.as_str()),
            Op::ReadObject(read) => (&read.class, None, "read object"),
            Op::WriteObject(write) => (&write.class, Some(&write.object), "write object"),
            Op::ReadField(read) => (&read.class, None, "read field"),
            _ => return Sample { strain: self, method: None, mark: None, begun: Instant::now() },
        };
        let mark = object.map(|object| &self.marks[self.hasher.hash_one((class, object)) as usize % MARKS]);
        let alone = mark.is_none_or(|mark| mark.fetch_add(1, Ordering::Relaxed) == 0);
        let method = alone.then(|| self.hasher.hash_one((class, method)));
        Sample { strain: self, method, mark, begun: Instant::now() }
    }

    /// What became of a suspicion: how long a question that needs no work took.
    pub(crate) fn looked(&self, suspicion: Suspicion, probe_us: u64) {
        let mut core = self.core.lock();
        let before = core.adaptive.limit();
        core.adaptive.looked(is_strained(suspicion, probe_us));
        let after = core.adaptive.limit();
        if after < before {
            tracing::debug!(before, after, late_us = suspicion.late_us, probe_us, "fewer calls are let in");
        }
        self.limit.store(after, Ordering::Relaxed);
    }

    fn turn(&self, core: &mut Core, now_ms: u64) -> Option<Suspicion> {
        if now_ms < core.adaptive.due_ms() {
            return None;
        }
        let peak = self.peak.load(Ordering::Relaxed);
        let suspicion = core.adaptive.turn(now_ms, peak);
        if core.adaptive.due_ms() > now_ms {
            self.peak.store(0, Ordering::Relaxed);
        }
        self.limit.store(core.adaptive.limit(), Ordering::Relaxed);
        self.due_ms.store(core.adaptive.due_ms(), Ordering::Relaxed);
        suspicion
    }
}

/// So much later than due somebody else than an answer looks.
const QUIET_MS: u64 = 1_000;

impl Sample<'_> {
    /// The answer is there. Gives what should be looked at, if anything.
    pub(crate) fn answered(self) -> Option<Suspicion> {
        self.measured(Quickest::note)
    }

    /// No answer came in time, or the host had too much to do for one. That is as late as it is, and never the quickest: who
    /// gives up early says nothing of how quick a method is.
    pub(crate) fn given_up(self) -> Option<Suspicion> {
        self.measured(|quickest, method, _, _| quickest.of(method))
    }

    fn measured(self, hold: impl Fn(&mut Quickest, u64, u64, u64) -> Option<u64>) -> Option<Suspicion> {
        let method = self.method?;
        let took_us = (self.begun.elapsed().as_micros() as u64).max(1);
        let strain = self.strain;
        let now_ms = strain.now_ms();
        let mut core = strain.core.lock();
        if let Some(quickest_us) = hold(&mut core.quickest, method, took_us, now_ms) {
            core.adaptive.observe(took_us, quickest_us);
        }
        strain.turn(&mut core, now_ms)
    }
}

/// The quickest answers of methods, of this time and the one before it.
#[derive(Default)]
struct Quickest {
    began_ms: u64,
    now: HashMap<u64, u64>,
    before: HashMap<u64, u64>,
}

impl Quickest {
    /// Takes note of an answer, and gives the quickest one of its method; none when there is no room for another method.
    fn note(&mut self, method: u64, took_us: u64, now_ms: u64) -> Option<u64> {
        if now_ms >= self.began_ms + QUICKEST_MS {
            self.began_ms = now_ms;
            self.before = std::mem::take(&mut self.now);
        }
        if self.now.len() >= METHODS_MAX && !self.now.contains_key(&method) {
            return None;
        }
        let now = self.now.entry(method).or_insert(took_us);
        *now = took_us.min(*now);
        self.of(method)
    }

    /// The quickest one of a method, if it is known.
    fn of(&self, method: u64) -> Option<u64> {
        [&self.now, &self.before].into_iter().filter_map(|known| known.get(&method)).min().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use oprc_mesh::wire::Invoke;

    fn call(object: Option<&str>) -> Op {
        let object = object.map(str::to_owned);
        Op::Invoke(Invoke { class: "A".to_owned(), object, method: "m".to_owned(), ..Invoke::default() })
    }

    #[test]
    fn of_calls_on_one_object_only_the_first_is_measured() {
        let strain = Strain::new(10, 4);
        let first = strain.begin(&call(Some("a")));
        assert!(first.method.is_some());
        assert!(strain.begin(&call(Some("a"))).method.is_none());
        drop(first);
        assert!(strain.begin(&call(Some("a"))).method.is_some());
        // functions do not wait for each other
        let function = strain.begin(&call(None));
        assert!(function.method.is_some() && strain.begin(&call(None)).method.is_some());
        assert!(strain.marks.iter().all(|mark| mark.load(Ordering::Relaxed) == 0));
    }

    /// When none of them comes in time, what is left of the answers looks as quick as ever.
    #[test]
    fn calls_that_are_given_up_are_late() {
        let strain = Strain::new(100, 4);
        let begin = |count| (0..count).map(|_| strain.begin(&call(None))).collect::<Vec<_>>();
        let wait = |ms| std::thread::sleep(Duration::from_millis(ms));
        let first = begin(10);
        wait(300);
        let unknown = first.into_iter().find_map(Sample::given_up);
        assert_eq!(unknown, None, "nobody knows how quick it could be");
        for _ in 0..20 {
            let one = begin(1);
            wait(1);
            assert_eq!(one.into_iter().find_map(Sample::answered), None);
        }
        let quickest_us = || strain.core.lock().quickest.now.values().copied().min().unwrap();
        let before = quickest_us();
        strain.taken(20, strain.now_ms());
        let (late, later) = (begin(10), begin(10));
        wait(300);
        for sample in late {
            sample.given_up(); // the first is judged with the answers before it
        }
        wait(150);
        let suspicion = later.into_iter().find_map(Sample::given_up);
        assert!(suspicion.is_some_and(|late| late.late_us > 100_000), "{suspicion:?}");
        assert_eq!(quickest_us(), before, "no answer is not the quickest one");
    }

    #[test]
    fn the_quickest_counts_for_a_while() {
        let mut quickest = Quickest::default();
        assert_eq!(quickest.note(1, 500, 0), Some(500));
        assert_eq!(quickest.note(1, 900, 0), Some(500));
        assert_eq!(quickest.note(2, 900, 0), Some(900));
        assert_eq!(quickest.note(1, 900, QUICKEST_MS), Some(500));
        assert_eq!(quickest.note(1, 800, 2 * QUICKEST_MS), Some(800));
    }

    #[test]
    fn there_is_room_for_so_many_methods() {
        let mut quickest = Quickest::default();
        for method in 0..METHODS_MAX as u64 {
            assert!(quickest.note(method, 1, 0).is_some());
        }
        assert_eq!(quickest.note(u64::MAX, 1, 0), None);
        assert!(quickest.note(0, 1, 0).is_some() && quickest.note(u64::MAX, 1, QUICKEST_MS).is_some());
    }
}
