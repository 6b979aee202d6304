//! Until when a call may run.

use std::time::Duration;

use hyper::HeaderMap;
use oprc_mesh::limits::{DEADLINE_MS_DEFAULT, DEADLINE_MS_MAX};
use tokio::time::Instant;

use crate::problem::Refusal;

/// The header in which a client says how long it will wait, in milliseconds.
pub(crate) const TIMEOUT_HEADER: &str = "x-request-timeout-ms";

/// See the module.
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
    use oprc_mesh::outcome::Code;

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
