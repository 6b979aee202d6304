//! Who may come in, and for how long: a bound on the calls under way, a bound on the memory of their bodies, and each
//! call's deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::HeaderMap;
use oprc_mesh::limits::{DEADLINE_MS_DEFAULT, DEADLINE_MS_MAX};
use oprc_mesh::outcome::{Code, Effect};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::problem::Refusal;

/// The header in which a client says how long it will wait, in milliseconds.
pub(crate) const TIMEOUT_HEADER: &str = "x-request-timeout-ms";

/// Body bytes are counted in units of so many, rounded up.
const UNIT_BYTES: usize = 1024;

/// See the module.
pub(crate) struct Admission {
    calls: AtomicUsize,
    calls_max: usize,
    held: Arc<Semaphore>,
    held_max: usize,
    calls_shed: AtomicU64,
    bodies_shed: AtomicU64,
}

/// How full it is, and how many were refused so far.
pub(crate) struct Load {
    pub(crate) calls: usize,
    pub(crate) calls_max: usize,
    pub(crate) calls_shed: u64,
    pub(crate) held_bytes: usize,
    pub(crate) held_bytes_max: usize,
    pub(crate) bodies_shed: u64,
}

/// A call that was let in; dropping it makes room for another.
pub(crate) struct Entry<'a>(&'a AtomicUsize);

impl Admission {
    pub(crate) fn new(calls_max: usize, held_bytes_max: usize) -> Self {
        let units = (held_bytes_max / UNIT_BYTES).min(Semaphore::MAX_PERMITS);
        Self {
            calls: AtomicUsize::new(0),
            calls_max,
            held: Arc::new(Semaphore::new(units)),
            held_max: units,
            calls_shed: AtomicU64::new(0),
            bodies_shed: AtomicU64::new(0),
        }
    }

    pub(crate) fn load(&self) -> Load {
        let held = self.held_max.saturating_sub(self.held.available_permits());
        Load {
            calls: self.calls.load(Ordering::Relaxed),
            calls_max: self.calls_max,
            calls_shed: self.calls_shed.load(Ordering::Relaxed),
            held_bytes: held * UNIT_BYTES,
            held_bytes_max: self.held_max * UNIT_BYTES,
            bodies_shed: self.bodies_shed.load(Ordering::Relaxed),
        }
    }

    /// Lets a call in.
    ///
    /// # Errors
    /// `overloaded` when as many as allowed are under way.
    pub(crate) fn enter(&self) -> Result<Entry<'_>, Refusal> {
        let entry = Entry(&self.calls); // counted at once and given back on refusal: no lock, no loop
        if self.calls.fetch_add(1, Ordering::Relaxed) >= self.calls_max {
            drop(entry);
            self.calls_shed.fetch_add(1, Ordering::Relaxed);
            return Err(overloaded(format!(
                "{} calls are under way, as many as this gateway takes",
                self.calls_max
            )));
        }
        Ok(entry)
    }

    /// Reserves memory for `bytes` of a body.
    ///
    /// # Errors
    /// `overloaded` when other bodies hold it.
    pub(crate) fn hold(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        self.held.clone().try_acquire_many_owned(units).map_err(|_| {
            self.bodies_shed.fetch_add(1, Ordering::Relaxed);
            overloaded(
                "the bodies of other requests take up the memory that is set aside for them".to_owned(),
            )
        })
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn overloaded(detail: String) -> Refusal {
    Refusal::new(Code::Overloaded, detail).effect(Effect::NotRun)
}

/// Until when a call may run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    /// The client chose it; otherwise it is the usual one.
    pub(crate) chosen: bool,
}

impl Deadline {
    /// The one of a client that did not choose any.
    pub(crate) fn usual(now: Instant) -> Self {
        Self { at: now + Duration::from_millis(DEADLINE_MS_DEFAULT), chosen: false }
    }

    /// Reads the client's wish, counted from now.
    ///
    /// # Errors
    /// `invalid` for what is not 1 to [`DEADLINE_MS_MAX`] milliseconds.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let Some(value) = headers.get(TIMEOUT_HEADER) else { return Ok(Self::usual(Instant::now())) };
        let text = value.to_str().unwrap_or_default();
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let ms = digits.then(|| text.parse::<u64>().ok()).flatten();
        match ms.filter(|ms| (1..=DEADLINE_MS_MAX).contains(ms)) {
            Some(ms) => Ok(Self { at: Instant::now() + Duration::from_millis(ms), chosen: true }),
            None => {
                Err(Refusal::invalid("X-Request-Timeout-Ms is not a number of milliseconds that is allowed")
                    .hint(format!("send a whole number from 1 to {DEADLINE_MS_MAX}, or leave it out")))
            }
        }
    }

    /// The same, or a longer one when the client did not choose.
    pub(crate) fn or_longer(self, ms: u64) -> Instant {
        if self.chosen { self.at } else { self.at.max(Instant::now() + Duration::from_millis(ms)) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn as_many_as_allowed_come_in() {
        let admission = Admission::new(2, 0);
        let first = admission.enter().unwrap();
        let _second = admission.enter().unwrap();
        for _ in 0..3 {
            assert_eq!(admission.enter().err().unwrap().problem().kind(), Code::Overloaded);
        }
        let load = admission.load();
        assert_eq!((load.calls, load.calls_max, load.calls_shed), (2, 2, 3));
        drop(first);
        let _third = admission.enter().unwrap();
        assert!(admission.enter().is_err());
    }

    #[test]
    fn memory_is_held_and_given_back() {
        let admission = Admission::new(1, 10 * UNIT_BYTES);
        let most = admission.hold(9 * UNIT_BYTES + 1).unwrap();
        assert_eq!(admission.hold(1).err().unwrap().problem().kind(), Code::Overloaded);
        let load = admission.load();
        assert_eq!(
            (load.held_bytes, load.held_bytes_max, load.bodies_shed),
            (10 * UNIT_BYTES, 10 * UNIT_BYTES, 1)
        );
        drop(most);
        assert!(admission.hold(10 * UNIT_BYTES).is_ok());
        assert!(admission.hold(usize::MAX).is_err());
    }

    #[test]
    fn a_deadline_holds_at_its_limits_and_not_past_them() {
        let of = |value: &'static str| {
            Deadline::of(&HeaderMap::from_iter([(
                hyper::header::HeaderName::from_static(TIMEOUT_HEADER),
                HeaderValue::from_static(value),
            )]))
        };
        assert!(of("1").unwrap().chosen && of("120000").is_ok());
        for bad in ["0", "120001", "", "-1", "+5", "5s", "1.5", "99999999999999999999999"] {
            assert_eq!(of(bad).unwrap_err().problem().kind(), Code::Invalid, "{bad}");
        }
        assert!(!Deadline::of(&HeaderMap::new()).unwrap().chosen);
    }
}
