//! Since when which host is seen on the mesh, or is not. A hint, from which nothing follows but where copies should be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

/// See the module.
#[derive(Debug)]
pub(crate) struct Sightings {
    /// Before this, nobody looked.
    began: Instant,
    seen: BTreeMap<u64, Instant>,
    /// When those that were seen once were lost.
    lost: BTreeMap<u64, Instant>,
}

impl Sightings {
    pub(crate) fn new(now: Instant) -> Self {
        Self { began: now, seen: BTreeMap::new(), lost: BTreeMap::new() }
    }

    /// Takes the hosts that are seen now.
    pub(crate) fn take(&mut self, alive: &BTreeSet<u64>, now: Instant) {
        for id in alive {
            self.lost.remove(id);
            self.seen.entry(*id).or_insert(now);
        }
        for (id, _) in self.seen.extract_if(.., |id, _| !alive.contains(id)) {
            self.lost.insert(id, now);
        }
    }

    /// Those seen at the last look.
    pub(crate) fn alive(&self) -> impl Iterator<Item = u64> {
        self.seen.keys().copied()
    }

    pub(crate) fn is_alive(&self, id: u64) -> bool {
        self.seen.contains_key(&id)
    }

    /// For how long it has been seen without a break; zero when it is not.
    pub(crate) fn alive_for(&self, id: u64, now: Instant) -> Duration {
        self.seen.get(&id).map_or(Duration::ZERO, |since| now.saturating_duration_since(*since))
    }

    /// For how long it has not been seen; zero when it is. One that never was counts from the first look.
    pub(crate) fn gone_for(&self, id: u64, now: Instant) -> Duration {
        if self.is_alive(id) {
            return Duration::ZERO;
        }
        now.saturating_duration_since(*self.lost.get(&id).unwrap_or(&self.began))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_from_when_a_host_came_or_went() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut sightings = Sightings::new(at(0));
        sightings.take(&BTreeSet::from([1, 2]), at(5));
        sightings.take(&BTreeSet::from([1, 2]), at(10));
        sightings.take(&BTreeSet::from([1]), at(20));
        let seen = |id| (sightings.alive_for(id, at(30)).as_secs(), sightings.gone_for(id, at(30)).as_secs());
        assert_eq!([1, 2, 3].map(seen), [(25, 0), (0, 10), (0, 30)]);
        sightings.take(&BTreeSet::from([2]), at(40));
        let seen = |id| (sightings.alive_for(id, at(41)).as_secs(), sightings.gone_for(id, at(41)).as_secs());
        assert_eq!([1, 2].map(seen), [(0, 1), (1, 0)]);
        assert_eq!(sightings.alive().collect::<Vec<_>>(), [2]);
    }
}
