//! Which groups' logs are not to be purged for now: a replica is receiving a snapshot, and what comes after it in the log
//! must still be there when it is installed, or it would need another one, and so on while writes go on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long the log stays after a snapshot was sent, for the replica to catch up with it.
const AFTER: Duration = Duration::from_secs(20);

/// See the module. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Holds(Arc<Mutex<HashMap<u64, Hold>>>);

#[derive(Default)]
struct Hold {
    transfers: usize,
    until: Option<Instant>,
}

/// Holds a group's log for as long as it lives, and a little longer.
pub(super) struct Held {
    holds: Holds,
    group: u64,
}

impl Holds {
    pub(super) fn hold(&self, group: u64) -> Held {
        self.0.lock().entry(group).or_default().transfers += 1;
        Held { holds: self.clone(), group }
    }

    /// Whether the group's log must stay.
    pub(crate) fn contains(&self, group: u64) -> bool {
        let mut holds = self.0.lock();
        holds.retain(|_, hold| hold.transfers > 0 || hold.until.is_some_and(|until| Instant::now() < until));
        holds.contains_key(&group)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(hold) = self.holds.0.lock().get_mut(&self.group) {
            hold.transfers -= 1;
            hold.until = Some(Instant::now() + AFTER);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_held_during_a_transfer_and_a_little_longer() {
        let holds = Holds::default();
        assert!(!holds.contains(1));
        let (first, second) = (holds.hold(1), holds.hold(1));
        drop(first);
        assert!(holds.contains(1) && !holds.contains(2));
        drop(second);
        assert!(holds.contains(1));
        holds.0.lock().values_mut().for_each(|hold| hold.until = Some(Instant::now()));
        assert!(!holds.contains(1));
    }
}
