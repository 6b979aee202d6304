//! One entry at work on the boxes: what is stored below, and what the entry has changed so far above it.

use std::collections::BTreeMap;

use super::keys;
use super::record::{
    DeadAction, DeadKey, DeadRecord, DeadStep, MailCommand, MailReply, MailStep, Message, OutRecord,
    Outgoing, ReadyKey, Take, Trim,
};
use crate::error::OdgmError;

/// Records with their keys.
pub(crate) type Records = Vec<(Vec<u8>, Vec<u8>)>;

/// What is stored of a partition's boxes. Keys are those of [`super::keys`].
pub(crate) trait Below {
    /// One record.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, OdgmError>;
    /// Up to `limit` records in key order, from `from` on, as long as their keys begin with `within`.
    fn scan(&self, from: &[u8], within: &[u8], limit: usize) -> Result<Records, OdgmError>;
}

/// Whom an entry gave something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stirred {
    /// The outbox has something new.
    pub(crate) out: bool,
    /// There is a new timer.
    pub(crate) timers: bool,
    /// A lane has something new to run.
    pub(crate) ready: bool,
}

/// See the module.
pub(crate) struct Desk<'b> {
    below: &'b dyn Below,
    pub(super) group: u64,
    pub(super) index: u64,
    /// Numbers the records that the entry makes.
    nth: u32,
    /// The group's clock, once something asked for it.
    now: Option<u64>,
    /// The leader's clock, as the entry carries it.
    proposed_ms: u64,
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pub(super) stirred: Stirred,
}

impl<'b> Desk<'b> {
    /// For the entry at `index` of `group`, which carries its leader's clock.
    pub(crate) fn new(below: &'b dyn Below, group: u64, index: u64, proposed_ms: u64) -> Self {
        let (changes, stirred) = (BTreeMap::new(), Stirred::default());
        Self { below, group, index, nth: 0, now: None, proposed_ms, changes, stirred }
    }

    /// The records to store, those without a value to be removed, and who has something to do then.
    pub(crate) fn finish(self) -> (BTreeMap<Vec<u8>, Option<Vec<u8>>>, Stirred) {
        (self.changes, self.stirred)
    }

    /// The group's clock in this entry: never before what an earlier entry saw.
    pub(crate) fn now_ms(&mut self) -> Result<u64, OdgmError> {
        if let Some(now) = self.now {
            return Ok(now);
        }
        let stored = self.number(&keys::clock())?;
        let now = stored.max(self.proposed_ms);
        if now > stored {
            self.set_number(keys::clock(), now);
        }
        self.now = Some(now);
        Ok(now)
    }

    pub(super) fn fresh(&mut self, at_ms: u64) -> ReadyKey {
        let nth = self.nth;
        self.nth += 1;
        ReadyKey { at_ms, index: self.index, nth }
    }

    /// Applies a step of the log at `term`.
    pub(crate) fn step(&mut self, command: &MailCommand, term: u64) -> Result<MailReply, OdgmError> {
        if command.term != term {
            return Ok(MailReply::Stale);
        }
        match &command.step {
            Some(MailStep::Take(take)) => Ok(MailReply::Taken(self.take(take)?)),
            Some(MailStep::Trim(trim)) => Ok(MailReply::Done(self.trim(*trim)?)),
            Some(MailStep::Return(trim)) => Ok(MailReply::Done(self.give_back(*trim)?)),
            Some(MailStep::Tick(tick)) => Ok(MailReply::Done(self.tick(*tick)?)),
            Some(MailStep::Dead(step)) => Ok(MailReply::Done(self.dead(step)?)),
            Some(MailStep::Ask(ask)) => self.ask(ask),
            None => Err(OdgmError::corrupt("a step of messages in the log", "it is unknown to this build")),
        }
    }

    /// Takes one message into the sender's commit. `class` is the sender's number.
    pub(crate) fn send(&mut self, class: u64, outgoing: &Outgoing) -> Result<(), OdgmError> {
        let mut outgoing = outgoing.clone();
        let name = self.name(&mut outgoing.message)?;
        let now = name.at_ms;
        if let Some(key) = outgoing.key.clone() {
            self.cancel(class, &outgoing.message.from_object, &key)?;
        }
        // what is sent now comes after the timers of the same pair that are due and still wait
        if outgoing.due_ms > now || self.has_timers(&outgoing.message)? {
            let at = ReadyKey { at_ms: outgoing.due_ms.max(now), ..name };
            return self.set_timer(class, at, outgoing);
        }
        self.route(&outgoing.message, outgoing.to_group)
    }

    /// Gives a message its id and the time at which it was sent.
    pub(super) fn name(&mut self, message: &mut Message) -> Result<ReadyKey, OdgmError> {
        let now = self.now_ms()?;
        let name = self.fresh(now);
        message.id = format!("m{:x}.{:x}.{:x}", self.group, name.index, name.nth);
        message.sent_ms = now;
        Ok(name)
    }

    /// Brings a message that is due on its way.
    pub(super) fn route(&mut self, message: &Message, to_group: u64) -> Result<(), OdgmError> {
        if to_group == self.group {
            return self.arrive(message);
        }
        let mut out: OutRecord = self.get(&keys::filled(to_group))?.unwrap_or_default();
        out.last += 1;
        self.put(keys::outbox(to_group, out.last), message);
        self.put(keys::filled(to_group), &out);
        self.stirred.out = true;
        Ok(())
    }

    /// Takes what follows on the mark, and nothing else; gives the new mark.
    fn take(&mut self, take: &Take) -> Result<u64, OdgmError> {
        let before = self.number(&keys::taken(take.from_group))?;
        let mut mark = before;
        for (number, message) in (take.first..).zip(&take.messages) {
            if number == mark + 1 {
                self.arrive(message)?;
                mark = number;
            }
        }
        if mark > before {
            self.set_number(keys::taken(take.from_group), mark);
        }
        Ok(mark)
    }

    fn trim(&mut self, trim: Trim) -> Result<u64, OdgmError> {
        let mut out: OutRecord = self.get(&keys::filled(trim.to_group))?.unwrap_or_default();
        let upto = trim.upto.min(out.last);
        let before = out.trimmed;
        for number in before + 1..=upto {
            self.drop(keys::outbox(trim.to_group, number));
        }
        if upto > before {
            out.trimmed = upto;
            self.put(keys::filled(trim.to_group), &out);
        }
        Ok(upto.saturating_sub(before))
    }

    /// As [`Self::trim`]; what is removed comes into this group's own lanes.
    fn give_back(&mut self, trim: Trim) -> Result<u64, OdgmError> {
        let out: OutRecord = self.get(&keys::filled(trim.to_group))?.unwrap_or_default();
        for number in out.trimmed + 1..=trim.upto.min(out.last) {
            if let Some(message) = self.get(&keys::outbox(trim.to_group, number))? {
                self.arrive(&message)?;
            }
        }
        self.trim(trim)
    }

    fn dead(&mut self, step: &DeadStep) -> Result<u64, OdgmError> {
        let mut done = 0;
        for letter in &step.letters {
            let key = keys::dead(&step.class, *letter);
            let Some(DeadRecord { mut message, .. }) = self.get(&key)? else { continue };
            self.drop(key);
            self.forget_dead_asked(&message, *letter)?;
            if step.action() == DeadAction::Retry {
                message.revived += 1;
                self.arrive(&message)?;
            }
            done += 1;
        }
        Ok(done)
    }

    pub(super) fn bury(&mut self, letter: &DeadRecord) -> DeadKey {
        let key = self.fresh(0);
        let key = DeadKey { index: key.index, nth: key.nth };
        self.put(keys::dead(&letter.message.class, key), letter);
        key
    }

    pub(super) fn get<R: prost::Message + Default>(&self, key: &[u8]) -> Result<Option<R>, OdgmError> {
        let decode = |bytes: &[u8]| {
            R::decode(bytes).map_err(|error| OdgmError::corrupt("a record of messages", error))
        };
        match self.changes.get(key) {
            Some(changed) => changed.as_deref().map(decode).transpose(),
            None => self.below.get(key)?.as_deref().map(decode).transpose(),
        }
    }

    pub(super) fn put(&mut self, key: Vec<u8>, record: &impl prost::Message) {
        self.changes.insert(key, Some(record.encode_to_vec()));
    }

    pub(super) fn drop(&mut self, key: Vec<u8>) {
        self.changes.insert(key, None);
    }

    pub(super) fn number(&self, key: &[u8]) -> Result<u64, OdgmError> {
        Ok(self.get::<Number>(key)?.map_or(0, |number| number.value))
    }

    pub(super) fn set_number(&mut self, key: Vec<u8>, value: u64) {
        self.put(key, &Number { value });
    }

    /// As [`Below::scan`]; of what this entry has changed only what is gone is seen.
    pub(super) fn scan(&self, from: &[u8], within: &[u8], limit: usize) -> Result<Records, OdgmError> {
        let mut found = self.below.scan(from, within, limit)?;
        found.retain(|(key, _)| !matches!(self.changes.get(key), Some(None)));
        Ok(found)
    }
}

/// A number on its own, stored as all of the grid's are.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct Number {
    #[prost(uint64, tag = "1")]
    value: u64,
}
