//! The signs of life between hosts: when something last came of each, and what each shows to have had of this one. A sign
//! that comes back tells that whatever it came with was made later, by this host's own clock: no two clocks are compared.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::wire::Sign;

/// See the module.
pub(super) struct Signs {
    process: u64,
    started: Instant,
    heard: Mutex<HashMap<u64, Heard>>,
}

struct Heard {
    at: Instant,
    last: Option<Sign>,
    /// The one before it.
    before: Option<Sign>,
}

impl Signs {
    pub(super) fn new() -> Self {
        Self { process: RandomState::new().hash_one(()), started: Instant::now(), heard: Mutex::default() }
    }

    /// This host's sign now.
    pub(super) fn own(&self) -> Sign {
        Sign { process: self.process, at_ms: self.started.elapsed().as_millis() as u64 }
    }

    /// Something came of a host, perhaps a sign.
    pub(super) fn hear(&self, from: u64, sign: Option<Sign>) {
        let at = Instant::now();
        let mut all = self.heard.lock();
        let heard = all.entry(from).or_insert(Heard { at, last: None, before: None });
        heard.at = at;
        if sign.is_some() {
            heard.before = std::mem::replace(&mut heard.last, sign);
        }
    }

    /// For how long nothing has come of a host; for ever when nothing ever has.
    pub(super) fn silent_for(&self, node: u64, now: Instant) -> Duration {
        let heard = self.heard.lock().get(&node).map(|heard| heard.at);
        heard.map_or(Duration::MAX, |heard| now.saturating_duration_since(heard))
    }

    /// A sign of a host that was here a while ago: the last but one, because what it is to go with may have been made a
    /// moment before it is sent.
    pub(super) fn seen(&self, of: u64) -> Option<Sign> {
        self.heard.lock().get(&of)?.before
    }

    /// When this host gave a sign, if this very process did.
    pub(super) fn given(&self, sign: Sign) -> Option<Instant> {
        (sign.process == self.process).then(|| self.started + Duration::from_millis(sign.at_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_comes_back_as_the_time_at_which_it_was_given() {
        let (one, two) = (Signs::new(), Signs::new());
        let given = Instant::now();
        let first = one.own();
        two.hear(1, Some(first));
        assert_eq!(two.seen(1), None, "what came this moment proves nothing of what was made before");
        two.hear(1, Some(one.own()));
        two.hear(1, None);
        assert_eq!(two.seen(1), Some(first));
        assert!(
            one.given(first)
                .is_some_and(|when| when <= Instant::now() && when + Duration::from_secs(1) > given)
        );
        assert_eq!(two.given(first), None, "it is another process's");
    }

    #[test]
    fn who_never_spoke_is_silent_for_ever() {
        let signs = Signs::new();
        let now = Instant::now();
        assert_eq!(signs.silent_for(1, now), Duration::MAX);
        signs.hear(1, None);
        assert!(signs.silent_for(1, Instant::now()) < Duration::from_mins(1));
    }
}
