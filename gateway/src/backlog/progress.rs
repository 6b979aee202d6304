//! How fast an answer is taken: pure.

use crate::taking::Span;

/// An answer that would take longer than this from now on is slow, ...
const SLOW_MS: u64 = 10_000;
/// ... as fast as it was taken in the last one or two spans of so long.
const SPAN_MS: u64 = 5_000;
/// It is too early to tell before.
const SPAN_MS_MIN: u64 = 2_000;

/// An answer that has been there for longer than this is slow in any case.
const OLD_MS: u64 = 60_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Progress {
    began_ms: u64,
    /// From where it is told whether it is stuck.
    stuck_from: Span,
    /// From where it is told whether it is slow, and from where it will be.
    slow_from: [Span; 2],
}

impl Progress {
    pub(super) fn new(now_ms: u64) -> Self {
        let span = Span { from_ms: now_ms, taken: 0 };
        Self { began_ms: now_ms, stuck_from: span, slow_from: [span; 2] }
    }

    /// Looks at it when so much of it has been taken, which is to be done once in a second or so. Whether it is taken more
    /// slowly than it must be.
    pub(super) fn look(&mut self, taken: u64, now_ms: u64, bytes_per_s_min: u64) -> bool {
        if now_ms >= self.slow_from[1].from_ms + SPAN_MS {
            self.slow_from = [self.slow_from[1], Span { from_ms: now_ms, taken }];
        }
        self.stuck_from.is_too_slow(taken, now_ms, bytes_per_s_min)
    }

    /// For how long it will still be there if so much is left, and if that is long: milliseconds, [`u64::MAX`] if nothing is
    /// taken.
    pub(super) fn slow_ms(&self, taken: u64, left: u64, now_ms: u64) -> Option<u64> {
        let since = self.slow_from[0];
        let spent_ms = now_ms.saturating_sub(since.from_ms);
        if spent_ms < SPAN_MS_MIN {
            return None;
        }
        let taken = taken.saturating_sub(since.taken);
        let needs_ms = left.saturating_mul(spent_ms).checked_div(taken).unwrap_or(u64::MAX);
        // with ever less to take one would never be slow
        let is_old = now_ms >= self.began_ms + OLD_MS;
        (needs_ms > SLOW_MS || is_old).then_some(needs_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_as_fast_as_it_must_be() {
        let is_stuck = |per_s: u64| {
            let mut answer = Progress::new(500);
            (1..90).any(|s| answer.look(s * per_s, 500 + s * 1_000, 100))
        };
        assert!(!is_stuck(100) && is_stuck(99) && is_stuck(0));
        // it may pause, but not for long
        let mut answer = Progress::new(0);
        assert!(!answer.look(0, 29_999, 100) && answer.look(0, 30_000, 100));
        let mut answer = Progress::new(0);
        assert!(!answer.look(3_000, 30_000, 100));
        assert!(!answer.look(3_000, 59_999, 100) && answer.look(3_000, 60_000, 100));
        assert!(!Progress::new(0).look(0, 1_000_000, 0), "none is asked for");
    }

    #[test]
    fn an_answer_is_slow_that_will_be_there_for_long() {
        let answer = Progress::new(0);
        assert_eq!(answer.slow_ms(0, 1_000, 1_999), None, "it is too early to tell");
        assert_eq!(answer.slow_ms(0, 1_000, 2_000), Some(u64::MAX));
        let taken = |bytes: u64| answer.slow_ms(bytes, 1_000 - bytes, 5_000);
        assert_eq!((taken(333), taken(334), taken(1_000)), (Some(10_015), None, None));
    }

    #[test]
    fn who_was_fast_and_stops_is_soon_slow() {
        let mut answer = Progress::new(0);
        let slow_from = (1..30).find(|s| {
            answer.look(999_000, s * 1_000, 0);
            answer.slow_ms(999_000, 1_000, s * 1_000).is_some()
        });
        assert_eq!(slow_from, Some(10));
    }

    #[test]
    fn who_takes_ever_less_of_the_rest_is_slow_in_the_end() {
        let (mut answer, mut left) = (Progress::new(0), 1_000_000);
        let slow_from = (1..100).find(|s| {
            left -= left / 10;
            answer.look(1_000_000 - left, s * 1_000, 0);
            answer.slow_ms(1_000_000 - left, left, s * 1_000).is_some()
        });
        assert_eq!(slow_from, Some(60));
    }
}
