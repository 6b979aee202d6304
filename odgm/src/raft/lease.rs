//! The leader's lease: until when no other replica can have become leader. It is computed from openraft's time of the last
//! heartbeat that a quorum acknowledged, on a clock that also runs while the machine sleeps.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};

use super::config::LEASE_USED_MS;

/// `CLOCK_BOOTTIME` runs on in suspend and `CLOCK_MONOTONIC`, which is `Instant`'s, does not. Drift between the two reads
/// is far below this.
const SUSPENDED: Duration = Duration::from_millis(20);

/// Watches for suspends: after one, times taken before it say nothing of how long ago they were.
struct Clock {
    /// `CLOCK_BOOTTIME` less `CLOCK_MONOTONIC`: the time that the machine was suspended.
    suspended: Duration,
    /// No suspend has been noticed since.
    awake_since: Instant,
}

static CLOCK: LazyLock<Mutex<Clock>> =
    LazyLock::new(|| Mutex::new(Clock { suspended: suspended(), awake_since: Instant::now() }));

/// How long the machine was suspended since it started.
fn suspended() -> Duration {
    let time = |id| {
        let time = clock_gettime(id);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
    };
    // in this order: an interruption between the two makes it look longer, which only costs a lease
    let monotonic = time(ClockId::Monotonic);
    time(ClockId::Boottime).saturating_sub(monotonic)
}

/// Whether a lease still holds. `age` tells how long ago the last heartbeat left that a quorum acknowledged.
pub(super) fn holds(age: impl FnOnce() -> Duration) -> bool {
    // before the age: if this thread stands still in between, the heartbeat seems older than it is
    let before = Instant::now();
    let Some(acked) = before.checked_sub(age()) else { return false };
    CLOCK.lock().holds(acked, suspended(), Instant::now())
}

impl Clock {
    fn holds(&mut self, acked: Instant, suspended: Duration, now: Instant) -> bool {
        if suspended > self.suspended + SUSPENDED {
            *self = Clock { suspended, awake_since: now };
        }
        acked >= self.awake_since && now < acked + Duration::from_millis(LEASE_USED_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn it_holds_for_its_used_part_and_no_longer() {
        let before = Instant::now();
        let start = before + MS;
        let mut clock = Clock { suspended: Duration::ZERO, awake_since: start };
        let used = Duration::from_millis(LEASE_USED_MS);
        assert!(clock.holds(start, Duration::ZERO, start + used.saturating_sub(MS)));
        assert!(!clock.holds(start, Duration::ZERO, start + used));
        assert!(!clock.holds(before, Duration::ZERO, start), "a heartbeat of before the clock was watched");
    }

    #[test]
    fn a_suspend_ends_it_although_instants_stood_still() {
        let start = Instant::now();
        let mut clock = Clock { suspended: Duration::ZERO, awake_since: start };
        let hour = Duration::from_hours(1);
        assert!(!clock.holds(start, hour, start + MS));
        // and a heartbeat acknowledged since begins a new one
        assert!(clock.holds(start + MS, hour, start + MS * 2));
        // the first look may be what starts the clock
        assert!(holds(|| Duration::ZERO) || holds(|| Duration::ZERO));
    }
}
