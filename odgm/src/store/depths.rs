//! How much waits in a group's boxes: counted where it lies, up to a bound, because nobody keeps count of it.

use rocksdb::ReadOptions;

use super::group::{GroupState, decode};
use crate::error::OdgmError;
use crate::key::successor;
use crate::mail::{Below as _, OutRecord, ReadyKey, all_dead_letters, in_lanes, outboxes, timers};

/// What waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Depths {
    /// Messages that were taken and are not settled.
    pub(crate) inbox: u64,
    /// From when on the first of them may be run.
    pub(crate) ready_ms: Option<u64>,
    /// Messages that the receivers' partitions have not all taken.
    pub(crate) outbox: u64,
    pub(crate) timers: u64,
    pub(crate) dead: u64,
}

impl Depths {
    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            inbox: self.inbox + other.inbox,
            ready_ms: [self.ready_ms, other.ready_ms].into_iter().flatten().min(),
            outbox: self.outbox + other.outbox,
            timers: self.timers + other.timers,
            dead: self.dead + other.dead,
        }
    }

    /// How many records were counted.
    pub(crate) fn counted(&self) -> u64 {
        self.inbox + self.timers + self.dead
    }
}

impl GroupState {
    /// What waits in the group. Of each kind `counted_max` at the most are counted.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn depths(&self, counted_max: u64) -> Result<Depths, OdgmError> {
        let first = self.ready_keys(ReadyKey::default(), 1)?;
        Ok(Depths {
            inbox: self.count(&in_lanes(), counted_max)?,
            ready_ms: first.first().map(|key| key.at_ms),
            outbox: self.in_outboxes()?,
            timers: self.count(&timers(), counted_max)?,
            dead: self.count(&all_dead_letters(), counted_max)?,
        })
    }

    /// Numbers are given out without holes, so nothing has to be counted.
    fn in_outboxes(&self) -> Result<u64, OdgmError> {
        let within = outboxes();
        let mut waiting = 0;
        for (_, value) in self.scan(&within, &within, usize::MAX)? {
            let out: OutRecord = decode(&value, "an outbox")?;
            waiting += out.last.saturating_sub(out.trimmed);
        }
        Ok(waiting)
    }

    fn count(&self, within: &[u8], counted_max: u64) -> Result<u64, OdgmError> {
        let space = self.space();
        let mut options = ReadOptions::default();
        options.set_prefix_same_as_start(true);
        if let Some(end) = successor(space.mail(within)) {
            options.set_iterate_upper_bound(end);
        }
        let mut stored = self.db().db.raw_iterator_opt(options);
        stored.seek(space.mail(within));
        let mut count = 0;
        while stored.valid() && count < counted_max {
            count += 1;
            stored.next();
        }
        stored.status().map_err(OdgmError::database("read the state"))?;
        Ok(count)
    }
}
