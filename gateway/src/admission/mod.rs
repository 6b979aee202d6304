//! Who may come in. A request is looked at twice: at the *door*, before its body is read, by who sends it; and when the
//! cluster is to be asked, where it takes a *place* by the class that it is about. So a body that comes slowly takes no
//! place, and what takes none (health, the cluster's state, keys, deployments) is there however many calls are under way.
//!
//! Places are as many as are answered in good time (`adaptive`, `strain`), and shared out fairly once more than half are
//! taken (`fair`, `party`). What is refused is refused at once: nothing waits here, so that those who were let in are not
//! kept by those who were not.

mod adaptive;
#[cfg(test)]
mod adaptive_tests;
mod deadline;
mod fair;
mod load;
mod party;
mod strain;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use oprc_mesh::outcome::{Code, Effect};
use oprc_mesh::rates::Rates;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) use self::deadline::{Deadline, TIMEOUT_HEADER};
use self::load::Shed;
use self::party::{Parties, Places, Stay, Why};
pub(crate) use self::strain::{Sample, Strain};
use crate::backlog::{NoMemory, Untaken};
use crate::problem::Refusal;

/// Body bytes are counted in units of so many, rounded up.
const UNIT_BYTES: usize = 1024;
/// Bodies that are waited for at once, for each call that may be under way; one more is `overloaded`.
const BODIES_PER_CALL: usize = 4;
/// Requests for upkeep at once; one more is `overloaded`.
const UPKEEP_MAX: usize = 256;
/// Beyond the places there are some more, this part of them, ...
const SPARE_PART: usize = 16;
/// ... for classes that have fewer than so many: whoever took all places, a newcomer finds one.
const NEWCOMER_CALLS: usize = 4;

/// See the module.
pub(crate) struct Admission {
    calls: AtomicUsize,
    calls_max: usize,
    bodies: AtomicUsize,
    upkeep: AtomicUsize,
    held: Arc<Semaphore>,
    held_units_max: usize,
    shed: Shed,
    callers: Parties,
    classes: Parties,
    /// Measures the calls, and says how many may be under way.
    pub(crate) strain: Arc<Strain>,
    pub(crate) untaken: Arc<Untaken>,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Objects and functions.
    Call,
    /// To wait for something, in a seat and not in a place.
    Watch,
    /// What operators need to see and to set right: never refused because of calls.
    Upkeep,
}

/// One of those who are counted; dropping it makes room for another.
pub(crate) struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<'a> Counted<'a> {
    /// Counts at once and gives back on refusal: no lock, no loop. With how many there were before.
    fn new(count: &'a AtomicUsize) -> (Self, usize) {
        let before = count.fetch_add(1, Ordering::Relaxed);
        (Self(count), before)
    }
}

/// A request that passed the door.
pub(crate) struct Visit<'a> {
    _upkeep: Option<Counted<'a>>,
    _caller: Option<Stay>,
}

/// A call that was let in.
pub(crate) struct Place<'a> {
    _call: Counted<'a>,
    _class: Stay,
}

impl Admission {
    pub(crate) fn new(
        (calls_min, calls_max): (usize, usize),
        held_bytes_max: usize,
        untaken_bytes_max: usize,
    ) -> Self {
        let units = (held_bytes_max / UNIT_BYTES).min(Semaphore::MAX_PERMITS);
        Self {
            calls: AtomicUsize::new(0),
            calls_max,
            bodies: AtomicUsize::new(0),
            upkeep: AtomicUsize::new(0),
            held: Arc::new(Semaphore::new(units)),
            held_units_max: units,
            shed: Shed::default(),
            callers: Parties::new(),
            classes: Parties::new(),
            strain: Arc::new(Strain::new(calls_max, calls_min)),
            untaken: Untaken::new(untaken_bytes_max),
        }
    }

    /// Lets a request of `caller` through, who is nobody in particular when empty.
    ///
    /// # Errors
    /// `overloaded`: past the caller's limits or share, or no call would find a place now.
    pub(crate) fn door(&self, purpose: Purpose, caller: &str, rates: Rates) -> Result<Visit<'_>, Refusal> {
        self.visit(purpose, caller, rates).inspect_err(|_| self.shed.calls.one())
    }

    fn visit(&self, purpose: Purpose, caller: &str, rates: Rates) -> Result<Visit<'_>, Refusal> {
        let (taken, most) = (self.calls.load(Ordering::Relaxed), self.strain.limit());
        let now_ms = self.strain.now_ms();
        let is_call = purpose == Purpose::Call;
        if is_call && taken >= most + most / SPARE_PART {
            if !caller.is_empty() {
                self.callers.refused(caller, now_ms);
            }
            return Err(self.full(most));
        }
        let upkeep = (purpose == Purpose::Upkeep).then(|| self.upkeep()).transpose()?;
        // what is no call takes nobody's place
        let places = Places { taken: if is_call { taken } else { 0 }, most };
        let enter = || self.callers.enter(caller, &rates, places, now_ms);
        let caller = (!caller.is_empty()).then(enter).transpose();
        let caller = caller.map_err(|why| refused(&why, &rates, "the key that is shown", "key"))?;
        Ok(Visit { _upkeep: upkeep, _caller: caller })
    }

    /// Looks whether there is room for the answer to a request over HTTP. For upkeep there is more.
    ///
    /// # Errors
    /// `overloaded` when too many answers are not taken.
    pub(crate) fn room(&self, purpose: Purpose) -> Result<(), Refusal> {
        let upkeep = purpose == Purpose::Upkeep;
        if self.untaken.is_full() && (!upkeep || self.untaken.is_at_ceiling()) {
            self.shed.answers.one();
            return Err(overloaded(NoMemory.to_string()));
        }
        Ok(())
    }

    /// Lets a call of `class` in.
    ///
    /// # Errors
    /// `overloaded`: past the class's limits or share, or as many calls as may be are under way.
    pub(crate) fn place(&self, class: &str, rates: Rates) -> Result<Place<'_>, Refusal> {
        self.take(class, rates).inspect_err(|_| self.shed.calls.one())
    }

    fn take(&self, class: &str, rates: Rates) -> Result<Place<'_>, Refusal> {
        let (call, taken) = Counted::new(&self.calls);
        let (most, now_ms) = (self.strain.limit(), self.strain.now_ms());
        if taken >= most {
            let spare = taken < most + most / SPARE_PART;
            if !spare || self.classes.held(class) >= NEWCOMER_CALLS {
                drop(call);
                self.classes.refused(class, now_ms);
                return Err(self.full(most));
            }
        }
        let stay = self.classes.enter(class, &rates, Places { taken, most }, now_ms);
        let stay = stay.map_err(|why| refused(&why, &rates, &format!("class {class}"), "class"))?;
        self.strain.taken(taken + 1, now_ms);
        Ok(Place { _call: call, _class: stay })
    }

    /// Reserves memory for `bytes` of a body.
    ///
    /// # Errors
    /// `overloaded` when other bodies hold it.
    pub(crate) fn hold(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        self.held.clone().try_acquire_many_owned(units).map_err(|_| {
            self.shed.bodies.one();
            overloaded("the bodies of other requests take up the memory that is set aside for them")
        })
    }

    /// Counts a body that is waited for.
    ///
    /// # Errors
    /// `overloaded` when as many as allowed are.
    pub(crate) fn body(&self) -> Result<Counted<'_>, Refusal> {
        let (body, before) = Counted::new(&self.bodies);
        if before >= self.calls_max.saturating_mul(BODIES_PER_CALL) {
            self.shed.bodies.one();
            return Err(overloaded("the bodies of too many other requests are waited for"));
        }
        Ok(body)
    }

    fn upkeep(&self) -> Result<Counted<'_>, Refusal> {
        let (one, before) = Counted::new(&self.upkeep);
        if before >= UPKEEP_MAX {
            return Err(overloaded(format!("{UPKEEP_MAX} other requests of this kind are under way")));
        }
        Ok(one)
    }

    fn full(&self, most: usize) -> Refusal {
        overloaded(if most >= self.calls_max {
            format!("{most} calls are under way, as many as this gateway takes")
        } else {
            format!("{most} calls are under way, as many as can be answered in good time now")
        })
    }
}

/// Why the party `who` may not have more; its limits are of the kind `whose`.
fn refused(why: &Why, rates: &Rates, who: &str, whose: &str) -> Refusal {
    match why {
        Why::Rate(wait) => {
            let detail = format!(
                "{who} may have {} calls a second at this gateway, and has had them: the {whose}'s limit calls_per_s",
                rates.calls_per_s
            );
            // a wait of no time would be told as none at all
            overloaded(detail).retry_after_ms((wait.as_micros() as u64).div_ceil(1_000).max(1))
        }
        Why::Concurrency => overloaded(format!(
            "{} calls of {who} are under way at this gateway, as many as may be: the {whose}'s limit concurrency",
            rates.concurrency
        )),
        Why::Share(share) => overloaded(format!(
            "{who} has its share of this gateway's places, {share}, and others want theirs"
        )),
    }
}

fn overloaded(detail: impl Into<String>) -> Refusal {
    Refusal::new(Code::Overloaded, detail).effect(Effect::NotRun)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::problem::retry_after_ms;

    fn free() -> Rates {
        Rates::default()
    }

    fn refusal<T>(outcome: Result<T, Refusal>) -> Refusal {
        let refusal = outcome.err().unwrap();
        assert_eq!(refusal.problem().kind(), Code::Overloaded);
        refusal
    }

    #[test]
    fn as_many_as_allowed_come_in() {
        let admission = Admission::new((4, 2), 0, usize::MAX);
        let first = admission.place("A", free()).unwrap();
        let _second = admission.place("A", free()).unwrap();
        for _ in 0..3 {
            refusal(admission.place("A", free()));
            refusal(admission.door(Purpose::Call, "", free()));
        }
        assert!(admission.door(Purpose::Upkeep, "", free()).is_ok());
        drop(first);
        let _third = admission.place("A", free()).unwrap();
        refusal(admission.place("A", free()));
    }

    #[test]
    fn a_newcomer_finds_a_place_though_another_took_all() {
        let admission = Admission::new((4, 100), 0, usize::MAX);
        let all: Vec<_> = (0..100).map(|_| admission.place("A", free()).unwrap()).collect();
        refusal(admission.place("A", free()));
        let few: Vec<_> = (0..NEWCOMER_CALLS).map(|_| admission.place("B", free()).unwrap()).collect();
        refusal(admission.place("B", free()));
        let _third = [admission.place("C", free()).unwrap(), admission.place("C", free()).unwrap()];
        refusal(admission.place("C", free()));
        refusal(admission.door(Purpose::Call, "", free()));
        // as the places of the first one come free they go to the others
        drop((all, few));
        assert_eq!(admission.calls.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_limit_is_named_and_says_when_to_come_back() {
        let admission = Admission::new((4, 100), 0, usize::MAX);
        let slow = Rates { calls_per_s: 1, burst: 2, ..free() };
        for _ in 0..2 {
            drop(admission.place("A", slow).unwrap());
            drop(admission.door(Purpose::Upkeep, "key:ci", slow).unwrap());
        }
        let told = refusal(admission.place("A", slow));
        assert!(told.problem().detail.contains("class A") && told.problem().detail.contains("calls_per_s"));
        assert!((1..=1_000).contains(&retry_after_ms(told.problem()).unwrap()));
        let told = refusal(admission.door(Purpose::Upkeep, "key:ci", slow));
        assert!(told.problem().detail.contains("the key's limit"), "{}", told.problem().detail);
        assert!(admission.door(Purpose::Call, "key:other", slow).is_ok());
        let narrow = Rates { concurrency: 1, ..free() };
        let _visit = admission.door(Purpose::Call, "key:narrow", narrow).unwrap();
        let told = refusal(admission.door(Purpose::Call, "key:narrow", narrow));
        assert!(told.problem().detail.contains("limit concurrency"));
    }

    #[test]
    fn memory_is_held_and_given_back() {
        let admission = Admission::new((4, 1), 10 * UNIT_BYTES, usize::MAX);
        let most = admission.hold(9 * UNIT_BYTES + 1).unwrap();
        refusal(admission.hold(1));
        drop(most);
        assert!(admission.hold(10 * UNIT_BYTES).is_ok());
        assert!(admission.hold(usize::MAX).is_err());
    }

    #[test]
    fn so_many_bodies_are_waited_for_and_so_much_upkeep_is_done() {
        let admission = Admission::new((4, 2), 0, usize::MAX);
        let bodies: Vec<_> = (0..2 * BODIES_PER_CALL).map(|_| admission.body().unwrap()).collect();
        refusal(admission.body());
        drop(bodies);
        assert!(admission.body().is_ok());
        let upkeep = || admission.door(Purpose::Upkeep, "", free());
        let _all: Vec<_> = (0..UPKEEP_MAX).map(|_| upkeep().unwrap()).collect();
        refusal(upkeep());
    }
}
