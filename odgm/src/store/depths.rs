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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::mail::{Message, Outgoing, Settle, Verdict};
    use crate::testing::{Bed, mail_entry as entry};

    const GROUP: u64 = 5;

    fn outgoing(to_group: u64, object: &str, due_ms: u64) -> Outgoing {
        let message = Message {
            from_class: "S".into(),
            from_object: "s".into(),
            class: "R".into(),
            object: object.into(),
            method: "m".into(),
            ..Message::default()
        };
        Outgoing { message, to_group, due_ms, key: None }
    }

    #[test]
    fn what_waits_is_counted_by_kind_and_up_to_a_bound() {
        let bed = Bed::new();
        let group = bed.group(GROUP);
        assert_eq!(group.depths(9).unwrap(), Depths::default());
        entry(&group, 1, 1_000, |desk| {
            for _ in 0..3 {
                desk.send(1, &outgoing(GROUP, "r", 0)).unwrap();
            }
            for _ in 0..4 {
                desk.send(1, &outgoing(6, "r", 0)).unwrap();
            }
            for _ in 0..5 {
                desk.send(1, &outgoing(GROUP, "later", 9_000)).unwrap();
            }
        });
        let first = group.ready_keys(ReadyKey::default(), 1).unwrap()[0];
        let counted = group.depths(9).unwrap();
        assert_eq!(counted, Depths { inbox: 3, ready_ms: Some(first.at_ms), outbox: 4, timers: 5, dead: 0 });
        entry(&group, 2, 2_000, |desk| {
            let settle = Settle { ready: first, verdict: Verdict::Dead as i32, ..Settle::default() };
            desk.settle(&settle).unwrap();
        });
        let after = group.depths(9).unwrap();
        assert_eq!((after.inbox, after.dead, after.counted()), (2, 1, 8));
        let bounded = group.depths(2).unwrap();
        assert_eq!((bounded.inbox, bounded.timers, bounded.outbox), (2, 2, 4), "numbers need no counting");
        let both = after.and(Depths { ready_ms: Some(1), ..bounded });
        assert_eq!((both.inbox, both.dead, both.ready_ms), (4, 2, Some(1)));
    }
}
