//! How much one caller may ask of a gateway. Each gateway counts for itself: what is counted together would have to be
//! agreed on for every call.

use crate::limits::{BURST, CALLS_PER_S, CONCURRENCY, PAYLOAD_KIB, Setting};
use crate::outcome::{Code, Problem};

/// What a caller's limits may be. In the order of [`Rates::values`].
pub const RATE_SETTINGS: [Setting; 4] =
    [CALLS_PER_S, BURST, CONCURRENCY, Setting { default: 0, ..PAYLOAD_KIB }];

/// Limits of one caller at one gateway; 0 for none.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Rates {
    /// Calls in a second, in the long run.
    #[prost(uint64, tag = "1")]
    pub calls_per_s: u64,
    /// Calls at once after a pause; 0 for as many as in a second.
    #[prost(uint64, tag = "2")]
    pub burst: u64,
    /// Calls under way.
    #[prost(uint64, tag = "3")]
    pub concurrency: u64,
    /// A call's body.
    #[prost(uint64, tag = "4")]
    pub payload_kib: u64,
}

impl Rates {
    /// One value per entry of [`RATE_SETTINGS`], in its order.
    pub const fn values(&self) -> [u64; RATE_SETTINGS.len()] {
        [self.calls_per_s, self.burst, self.concurrency, self.payload_kib]
    }

    /// Checks them against the table.
    ///
    /// # Errors
    /// `invalid` for one past its cap, and for a burst of no rate.
    pub fn check(&self) -> Result<(), Problem> {
        for (value, Setting { key, cap, .. }) in self.values().into_iter().zip(RATE_SETTINGS) {
            if value > cap {
                let detail = format!("{key} = {value} is not allowed; it may be 1 to {cap}");
                return Err(Problem::new(Code::Invalid, detail));
            }
        }
        check_burst(self.calls_per_s, self.burst)
    }
}

/// A burst is more than comes in a second: without a rate it means nothing.
///
/// # Errors
/// `invalid`.
pub fn check_burst(calls_per_s: u64, burst: u64) -> Result<(), Problem> {
    if burst > 0 && calls_per_s == 0 {
        let detail = "a burst is allowed only together with calls_per_s";
        return Err(Problem::new(Code::Invalid, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_holds_at_its_cap_and_not_past_it() {
        let most = Rates {
            calls_per_s: CALLS_PER_S.cap,
            burst: BURST.cap,
            concurrency: CONCURRENCY.cap,
            payload_kib: PAYLOAD_KIB.cap,
        };
        assert!(most.check().is_ok() && Rates::default().check().is_ok());
        for past in [
            Rates { calls_per_s: most.calls_per_s + 1, ..most },
            Rates { burst: most.burst + 1, ..most },
            Rates { concurrency: most.concurrency + 1, ..most },
            Rates { payload_kib: most.payload_kib + 1, ..most },
            Rates { calls_per_s: 0, ..most },
        ] {
            assert_eq!(past.check().map_err(|problem| problem.kind()), Err(Code::Invalid), "{past:?}");
        }
    }
}
