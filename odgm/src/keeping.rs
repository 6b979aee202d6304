//! How long what is known of calls is kept: until its time is over by the log's own clock, and no longer than there is room.
//! Pure, as all of [`crate::apply`]: time comes with entries, as their leader proposed it, and never runs backwards. Each
//! entry forgets a few, so that none takes long.

use prost::Message as _;

use crate::error::OdgmError;
use crate::record::{ClockRecord, CommitRecord, ExpiryRecord};
use crate::types::Outcome;

/// Calls that a group keeps, at the most ...
pub(crate) const KEPT_MAX: u64 = 1 << 18;
/// ... and what they take up; those whose time would be over first go before it is.
pub(crate) const KEPT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// What an entry may forget besides twice as many as it has commits.
const FORGOTTEN_MIN: usize = 8;

/// When a call is forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expiry {
    pub(crate) at_ms: u64,
    /// Tells those of one moment apart.
    pub(crate) number: u64,
    pub(crate) record: ExpiryRecord,
}

/// What is kept, as far as it matters to what goes.
pub(crate) trait Kept {
    fn clock(&self) -> Result<ClockRecord, OdgmError>;
    /// No call is to be forgotten before this; perhaps none at it.
    fn earliest_ms(&self) -> u64;
    /// The first calls to be forgotten, in order.
    fn expiring(&self, limit: usize) -> Result<Vec<Expiry>, OdgmError>;
}

/// One entry's part in it.
pub(crate) struct Keeper {
    before: ClockRecord,
    clock: ClockRecord,
}

impl Keeper {
    pub(crate) fn new(kept: &impl Kept, now_ms: u64) -> Result<Self, OdgmError> {
        let before = kept.clock()?;
        Ok(Self { before, clock: ClockRecord { now_ms: now_ms.max(before.now_ms), ..before } })
    }

    /// A call takes effect; gives when it is to be forgotten.
    pub(crate) fn remember(&mut self, commit: &CommitRecord, outcome: &Outcome, number: u64) -> Expiry {
        let CommitRecord { class, object, invocation, .. } = commit;
        // what else the two records take up is not worth encoding them for
        let bytes = (outcome.encoded_len() + 2 * (object.len() + invocation.len()) + 96) as u64;
        self.clock.kept += 1;
        self.clock.kept_bytes += bytes;
        let at_ms = self.clock.now_ms.saturating_add(outcome.keep_ms);
        let record =
            ExpiryRecord { class: *class, object: object.clone(), invocation: invocation.clone(), bytes };
        Expiry { at_ms, number, record }
    }

    /// What is to be forgotten after an entry of so many commits, and what is kept then, if that has changed.
    pub(crate) fn finish(
        mut self,
        kept: &impl Kept,
        commits: usize,
    ) -> Result<(Vec<Expiry>, Option<ClockRecord>), OdgmError> {
        let mut forgotten = Vec::new();
        if self.is_full() || self.clock.now_ms >= kept.earliest_ms() {
            for expiry in kept.expiring(2 * commits + FORGOTTEN_MIN)? {
                if expiry.at_ms > self.clock.now_ms && !self.is_full() {
                    break;
                }
                self.clock.kept = self.clock.kept.saturating_sub(1);
                self.clock.kept_bytes = self.clock.kept_bytes.saturating_sub(expiry.record.bytes);
                forgotten.push(expiry);
            }
        }
        Ok((forgotten, (self.clock != self.before).then_some(self.clock)))
    }

    fn is_full(&self) -> bool {
        self.clock.kept > KEPT_MAX || self.clock.kept_bytes > KEPT_BYTES_MAX
    }
}
