//! Those who share a gateway: callers, or classes. Each has its own limits, and none may take what is another's share.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use governor::clock::Clock as _;
use governor::{DefaultDirectRateLimiter, Quota};
use oprc_mesh::rates::Rates;
use parking_lot::RwLock;

use super::fair;

/// Who was refused so recently still wants more.
const HUNGRY_MS: u64 = 1_000;
/// Who has asked for nothing in so long is forgotten, once its burst would be whole again.
const KEPT_MS: u64 = 60_000;
/// How often those are looked for.
const SWEEP_MS: u64 = 10_000;
/// Parties known at once; what comes beyond shares one name's limits and share.
const PARTIES_MAX: usize = 10_000;
/// Of those whom there was no room to know.
const OTHERS: &str = "";

/// See the module.
pub(super) struct Parties {
    known: RwLock<HashMap<Arc<str>, Arc<Party>>>,
    sweep_at_ms: AtomicU64,
}

/// One of them.
#[derive(Default)]
struct Party {
    held: AtomicUsize,
    asked_ms: AtomicU64,
    /// When it was last refused, plus one; 0 for never.
    refused_ms: AtomicU64,
    rate: ArcSwapOption<Rate>,
}

/// A rate with what was used of it.
struct Rate {
    calls_per_s: u64,
    burst: u64,
    limiter: DefaultDirectRateLimiter,
}

/// A party's request under way; dropping it ends it.
pub(super) struct Stay(Arc<Party>);

impl Drop for Stay {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What may be had of what all share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    pub(super) taken: usize,
    pub(super) most: usize,
}

/// Why a party may not have more.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It makes more calls than it may; after the time one more is allowed.
    Rate(Duration),
    /// As many as it may are under way.
    Concurrency,
    /// It has its share, and others want theirs.
    Share(usize),
}

impl Parties {
    pub(super) fn new() -> Self {
        Self { known: RwLock::default(), sweep_at_ms: AtomicU64::new(SWEEP_MS) }
    }

    /// Lets a request of `name` in.
    ///
    /// # Errors
    /// [`Why`] not. A request that is refused uses nothing up.
    pub(super) fn enter(&self, name: &str, rates: &Rates, places: Places, now_ms: u64) -> Result<Stay, Why> {
        let party = self.party(name, now_ms);
        party.asked_ms.store(now_ms, Ordering::Relaxed);
        let held = party.held.fetch_add(1, Ordering::Relaxed);
        let stay = Stay(party);
        let party = &*stay.0;
        if rates.concurrency > 0 && held as u64 >= rates.concurrency {
            return Err(Why::Concurrency);
        }
        if fair::is_crowded(places.taken, places.most) {
            let share = self.share(party, held, places.most, now_ms);
            if held >= share {
                party.refused_ms.store(now_ms + 1, Ordering::Relaxed);
                return Err(Why::Share(share));
            }
        }
        party.spend(rates).map_err(Why::Rate)?;
        Ok(stay)
    }

    /// Notes that `name` was refused what it wanted, so that others leave it its share.
    pub(super) fn refused(&self, name: &str, now_ms: u64) {
        let party = self.party(name, now_ms);
        party.asked_ms.store(now_ms, Ordering::Relaxed);
        party.refused_ms.store(now_ms + 1, Ordering::Relaxed);
    }

    /// How many places `name` has.
    pub(super) fn held(&self, name: &str) -> usize {
        self.known.read().get(name).map_or(0, |party| party.held.load(Ordering::Relaxed))
    }

    /// The share of one that asks for more than the `held` that it has.
    fn share(&self, asks: &Party, held: usize, places: usize, now_ms: u64) -> usize {
        let known = self.known.read();
        if held < places / known.len().max(1) {
            return fair::ALL; // an equal part is anybody's, whatever the others want
        }
        let wants = |party: &Arc<Party>| {
            let party: &Party = party;
            if std::ptr::eq(party, asks) || party.is_hungry(now_ms) {
                return fair::ALL;
            }
            party.held.load(Ordering::Relaxed)
        };
        let mut wants: Vec<_> = known.values().map(wants).filter(|&want| want > 0).collect();
        fair::share(places, &mut wants)
    }

    fn party(&self, name: &str, now_ms: u64) -> Arc<Party> {
        if let Some(party) = self.known.read().get(name) {
            return party.clone();
        }
        let mut known = self.known.write();
        if now_ms >= self.sweep_at_ms.load(Ordering::Relaxed) {
            known.retain(|_, party| party.is_kept(now_ms));
            self.sweep_at_ms.store(now_ms + SWEEP_MS, Ordering::Relaxed);
        }
        let name = if known.len() < PARTIES_MAX { name } else { OTHERS };
        known.entry(name.into()).or_default().clone()
    }
}

impl Party {
    fn is_hungry(&self, now_ms: u64) -> bool {
        let refused_ms = self.refused_ms.load(Ordering::Relaxed);
        refused_ms > 0 && now_ms < refused_ms + HUNGRY_MS
    }

    fn is_kept(&self, now_ms: u64) -> bool {
        let refill_ms = self.rate.load().as_ref().map_or(0, |rate| rate.burst * 1_000 / rate.calls_per_s);
        let idle_ms = now_ms.saturating_sub(self.asked_ms.load(Ordering::Relaxed));
        self.held.load(Ordering::Relaxed) > 0 || idle_ms < KEPT_MS.max(refill_ms)
    }

    /// Uses up one call of the rate, if there is one.
    ///
    /// # Errors
    /// How long until there is one again.
    fn spend(&self, rates: &Rates) -> Result<(), Duration> {
        let (Some(calls_per_s), burst) = (positive(rates.calls_per_s), positive(rates.burst)) else {
            return Ok(());
        };
        let burst = burst.unwrap_or(calls_per_s);
        let current = self.rate.load();
        let as_it_was =
            |rate: &&Arc<Rate>| (rate.calls_per_s, rate.burst) == (rates.calls_per_s, burst.get().into());
        if let Some(rate) = current.as_ref().filter(as_it_was) {
            return rate.spend();
        }
        let rate = Arc::new(Rate {
            calls_per_s: rates.calls_per_s,
            burst: burst.get().into(),
            limiter: DefaultDirectRateLimiter::direct(Quota::per_second(calls_per_s).allow_burst(burst)),
        });
        self.rate.store(Some(rate.clone()));
        rate.spend()
    }
}

impl Rate {
    fn spend(&self) -> Result<(), Duration> {
        self.limiter.check().map_err(|until| until.wait_time_from(self.limiter.clock().now()))
    }
}

fn positive(number: u64) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const FREE: Rates = Rates { calls_per_s: 0, burst: 0, concurrency: 0, payload_kib: 0 };

    fn places(taken: usize) -> Places {
        Places { taken, most: 100 }
    }

    fn take(parties: &Parties, name: &str, count: usize, taken: usize, now_ms: u64) -> Vec<Stay> {
        (0..count).map(|_| parties.enter(name, &FREE, places(taken), now_ms).ok().unwrap()).collect()
    }

    #[test]
    fn nobody_takes_anothers_share_once_it_is_crowded() {
        let parties = Parties::new();
        let many = take(&parties, "a", 90, 50, 0);
        // alone it may have all
        let _more = take(&parties, "a", 9, 95, 0);
        // another one comes and finds nothing: from then on each has half
        parties.refused("b", 0);
        assert_eq!(parties.enter("a", &FREE, places(99), 0).err(), Some(Why::Share(50)));
        let few = take(&parties, "b", 49, 99, 0);
        assert_eq!(parties.held("b"), 49);
        drop(many);
        // who no longer wants more leaves it to the others
        let far = HUNGRY_MS + 2;
        drop(few);
        let _b = take(&parties, "b", 20, 60, far);
        let _a = take(&parties, "a", 71, 60, far);
        assert_eq!(parties.enter("a", &FREE, places(100), far).err(), Some(Why::Share(80)));
    }

    #[test]
    fn as_many_as_allowed_are_under_way() {
        let parties = Parties::new();
        let two = Rates { concurrency: 2, ..FREE };
        let first = parties.enter("a", &two, places(0), 0).ok().unwrap();
        let _second = parties.enter("a", &two, places(0), 0).ok().unwrap();
        assert_eq!(parties.enter("a", &two, places(0), 0).err(), Some(Why::Concurrency));
        assert!(parties.enter("b", &two, places(0), 0).is_ok(), "another one's limit is its own");
        drop(first);
        assert!(parties.enter("a", &two, places(0), 0).is_ok());
        assert_eq!(parties.held("a"), 1);
    }

    #[test]
    fn a_burst_is_had_at_once_and_then_the_rate_holds() {
        let parties = Parties::new();
        let slow = Rates { calls_per_s: 1, burst: 3, ..FREE };
        let enter = |rates: &Rates| parties.enter("a", rates, places(0), 0).map(drop);
        for _ in 0..3 {
            assert_eq!(enter(&slow), Ok(()));
        }
        let Err(Why::Rate(wait)) = enter(&slow) else { panic!("the burst is spent") };
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        // other limits count from now on
        assert_eq!(enter(&Rates { calls_per_s: 1, ..FREE }), Ok(()));
        assert!(matches!(enter(&Rates { calls_per_s: 1, ..FREE }), Err(Why::Rate(_))));
        assert_eq!(enter(&FREE), Ok(()));
    }

    #[test]
    fn who_is_gone_is_forgotten_and_who_is_not_is_kept() {
        let parties = Parties::new();
        let slow = Rates { calls_per_s: 1, burst: 3_600, ..FREE };
        let _stays = parties.enter("stays", &FREE, places(0), 0).ok().unwrap();
        drop(parties.enter("spent", &slow, places(0), 0));
        drop(parties.enter("gone", &FREE, places(0), 0));
        let known = |now_ms| {
            drop(parties.enter(&format!("new-{now_ms}"), &FREE, places(0), now_ms));
            let known = parties.known.read();
            ["stays", "spent", "gone"].map(|name| known.contains_key(name))
        };
        assert_eq!(known(KEPT_MS - 1), [true; 3]);
        assert_eq!(known(KEPT_MS + SWEEP_MS), [true, true, false]);
        assert_eq!(known(3_600_000 + SWEEP_MS), [true, false, false]);
    }

    #[test]
    fn there_is_room_for_so_many_and_the_others_share_one() {
        let parties = Parties::new();
        for number in 0..PARTIES_MAX + 10 {
            drop(parties.enter(&number.to_string(), &FREE, places(0), 1));
        }
        assert_eq!(parties.known.read().len(), PARTIES_MAX + 1);
    }
}
