//! How far behind the leader a follower may be, in time: for reads that ask for no more than that.

use parking_lot::Mutex;
use tokio::time::Instant;

/// See the module.
#[derive(Default)]
pub(super) struct Freshness(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// At this time everything that was acknowledged anywhere was applied here.
    fresh: Option<Instant>,
    /// What a leader said: as of when, and up to where it had committed.
    heard: Option<(Instant, u64)>,
}

impl Known {
    fn settle(&mut self, applied: u64) {
        if let Some((heard, _)) = self.heard.filter(|(_, committed)| *committed <= applied) {
            // another leader's word may be of an earlier time
            self.fresh = self.fresh.max(Some(heard));
            self.heard = None;
        }
    }
}

impl Freshness {
    /// As of `heard`, no entry past `committed` was acknowledged. Kept until they are applied: a later word
    /// would only move the goal.
    pub(super) fn heard(&self, heard: Instant, committed: u64) {
        self.0.lock().heard.get_or_insert((heard, committed));
    }

    /// The last time at which this replica, which has applied the log up to `applied`, was surely up to date.
    pub(super) fn fresh(&self, applied: u64) -> Option<Instant> {
        let mut known = self.0.lock();
        known.settle(applied);
        known.fresh
    }

    /// The same, looked at after each word of the leader.
    pub(super) fn settle(&self, applied: u64) {
        self.0.lock().settle(applied);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn it_is_fresh_as_of_the_word_that_it_has_caught_up_with() {
        let freshness = Freshness::default();
        let start = Instant::now();
        assert_eq!(freshness.fresh(100), None);
        freshness.heard(start, 5);
        assert_eq!(freshness.fresh(4), None);
        freshness.heard(start + Duration::from_secs(1), 9);
        assert_eq!(freshness.fresh(5), Some(start), "the later word does not hide the earlier");
        freshness.heard(start + Duration::from_secs(2), 9);
        assert_eq!(freshness.fresh(8), Some(start));
        assert_eq!(freshness.fresh(9), Some(start + Duration::from_secs(2)));
    }
}
