//! A group's messages in the state database: what the pure [`crate::mail`] sees and writes, and pages of them for those
//! who carry and run them.

use rocksdb::{ReadOptions, WriteBatch};
use tokio::sync::Notify;

use super::group::{GroupState, decode};
use crate::error::OdgmError;
use crate::key::successor;
use crate::mail::{
    Below, DeadKey, DeadRecord, Desk, Message, OutRecord, ReadyKey, ReadyRecord, Records, Stirred, clock,
    dead_after, dead_letters_of, in_lane, outbox, outbox_for, outboxes, parse_dead, parse_outbox_of,
    parse_ready, parse_timer, readies, ready, timers, timers_from,
};
use crate::record::NumberRecord;

/// Tells those who wait for messages. Each side has one listener at the most; a ring that nobody hears is kept.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    /// The outbox has something new.
    pub(crate) out: Notify,
    /// There is a new timer.
    pub(crate) timers: Notify,
    /// Something new may be run.
    pub(crate) ready: Notify,
}

impl Bell {
    pub(crate) fn ring(&self, stirred: Stirred) {
        if stirred.out {
            self.out.notify_one();
        }
        if stirred.timers {
            self.timers.notify_one();
        }
        if stirred.ready {
            self.ready.notify_one();
        }
    }
}

/// A message that may be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Inbound {
    /// Names it until it is settled.
    pub key: ReadyKey,
    /// What it says.
    pub message: Message,
    /// How often it has failed.
    pub attempts: u32,
}

impl Below for GroupState {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, OdgmError> {
        Ok(self.db().get(&self.space().mail(key))?.map(|bytes| bytes.to_vec()))
    }

    fn scan(&self, from: &[u8], within: &[u8], limit: usize) -> Result<Records, OdgmError> {
        let space = self.space();
        let skip = space.mail(&[]).len();
        let mut options = ReadOptions::default();
        options.set_prefix_same_as_start(true);
        if let Some(end) = successor(space.mail(within)) {
            options.set_iterate_upper_bound(end);
        }
        let mut stored = self.db().db.raw_iterator_opt(options);
        stored.seek(space.mail(from));
        let mut found = Vec::new();
        while let Some((key, value)) = stored.item().filter(|_| found.len() < limit) {
            found.push((key[skip..].to_vec(), value.to_vec()));
            stored.next();
        }
        stored.status().map_err(OdgmError::database("read the state"))?;
        Ok(found)
    }
}

impl GroupState {
    /// Adds what an entry did to messages to a batch; gives whom to tell once it is written.
    pub(crate) fn put_mail(&self, batch: &mut WriteBatch, desk: Desk<'_>) -> Stirred {
        let (changes, stirred) = desk.finish();
        let space = self.space();
        for (key, value) in changes {
            match value {
                Some(value) => batch.put(space.mail(&key), value),
                None => batch.delete(space.mail(&key)),
            }
        }
        stirred
    }

    /// The group's clock.
    pub(crate) fn clock_ms(&self) -> Result<u64, OdgmError> {
        let clock: Option<NumberRecord> =
            Below::get(self, &clock())?.map(|bytes| decode(&bytes, "the clock")).transpose()?;
        Ok(clock.map_or(0, |clock| clock.value))
    }

    /// The groups whose outbox holds something.
    pub(crate) fn filled_outboxes(&self) -> Result<Vec<u64>, OdgmError> {
        let within = outboxes();
        let mut filled = Vec::new();
        for (key, value) in self.scan(&within, &within, usize::MAX)? {
            let out: OutRecord = decode(&value, "an outbox")?;
            if out.trimmed < out.last {
                filled.push(parse_outbox_of(&key).ok_or_else(|| OdgmError::corrupt("an outbox", "its key"))?);
            }
        }
        Ok(filled)
    }

    /// How far the outbox for `to` is trimmed.
    pub(crate) fn trimmed(&self, to: u64) -> Result<u64, OdgmError> {
        let out: Option<OutRecord> = Below::get(self, &crate::mail::filled(to))?
            .map(|bytes| decode(&bytes, "an outbox"))
            .transpose()?;
        Ok(out.unwrap_or_default().trimmed)
    }

    /// Messages of the outbox for `to` from `first` on, at most so many and about so large together, as they are stored.
    pub(crate) fn outgoing(
        &self,
        to: u64,
        first: u64,
        items: usize,
        bytes: usize,
    ) -> Result<Vec<Vec<u8>>, OdgmError> {
        let mut batch: Vec<Vec<u8>> = Vec::new();
        let mut total = 0;
        // in small steps: a page of large messages must not be read whole to be cut
        while batch.len() < items && total < bytes {
            let from = first + batch.len() as u64;
            let step = self.scan(&outbox(to, from), &outbox_for(to), STEP_ITEMS.min(items - batch.len()))?;
            let last = step.len() < STEP_ITEMS;
            for (number, (key, value)) in (from..).zip(step) {
                if key != outbox(to, number) {
                    return Err(OdgmError::corrupt("an outbox", format!("message {number} is not there")));
                }
                total += value.len();
                batch.push(value);
            }
            if last {
                break;
            }
        }
        Ok(batch)
    }

    /// When the first timer from `from_ms` on is due.
    pub(crate) fn first_timer(&self, from_ms: u64) -> Result<Option<u64>, OdgmError> {
        let first = self.scan(&timers_from(from_ms), &timers(), 1)?.into_iter().next();
        let parse = |(key, _): (Vec<u8>, _)| {
            parse_timer(&key).map(|at| at.at_ms).ok_or_else(|| OdgmError::corrupt("a timer", "its key"))
        };
        first.map(parse).transpose()
    }

    /// The keys of messages that may be run now or later, from `from` on, at most so many.
    pub(crate) fn ready_keys(&self, from: ReadyKey, limit: usize) -> Result<Vec<ReadyKey>, OdgmError> {
        let parse = |(key, _): (Vec<u8>, _)| {
            parse_ready(&key).ok_or_else(|| OdgmError::corrupt("a message that is ready", "its key"))
        };
        self.scan(&ready(from), &readies(), limit)?.into_iter().map(parse).collect()
    }

    /// A message that may be run; none when it was settled.
    pub(crate) fn inbound(&self, key: ReadyKey) -> Result<Option<Inbound>, OdgmError> {
        let Some(record) = Below::get(self, &ready(key))? else { return Ok(None) };
        let record: ReadyRecord = decode(&record, "a message that is ready")?;
        let Some(message) = Below::get(self, &in_lane(&record.lane, record.number))? else { return Ok(None) };
        let message: Message = decode(&message, "a message")?;
        Ok(Some(Inbound { key, message, attempts: record.attempts }))
    }

    /// A page of a class's dead letters after `after`, and whether more follow: at most so many and about so large.
    pub(crate) fn dead_letters(
        &self,
        class: &str,
        after: Option<DeadKey>,
        items: usize,
        bytes: usize,
    ) -> Result<(Vec<(DeadKey, DeadRecord)>, bool), OdgmError> {
        let within = dead_letters_of(class);
        let mut from = match after {
            Some(after) => past(after).map_or_else(|| within.clone(), |key| dead_after(class, key)),
            None => within.clone(),
        };
        let (mut page, mut total) = (Vec::new(), 0);
        loop {
            let step = self.scan(&from, &within, STEP_ITEMS)?;
            for (key, value) in &step {
                if page.len() == items || (total >= bytes && !page.is_empty()) {
                    return Ok((page, true));
                }
                let name = parse_dead(key).ok_or_else(|| OdgmError::corrupt("a dead letter", "its key"))?;
                total += value.len();
                page.push((name, decode(value, "a dead letter")?));
            }
            let Some((last, _)) = step.last().filter(|_| step.len() == STEP_ITEMS) else {
                return Ok((page, false));
            };
            from = [last.as_slice(), &[0]].concat();
        }
    }
}

/// Records that one step of a page reads.
const STEP_ITEMS: usize = 16;

/// The least name after `key`.
fn past(key: DeadKey) -> Option<DeadKey> {
    match key.nth.checked_add(1) {
        Some(nth) => Some(DeadKey { nth, ..key }),
        None => key.index.checked_add(1).map(|index| DeadKey { index, nth: 0 }),
    }
}
