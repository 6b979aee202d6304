//! Asynchronous calls: messages that no object sent. A client's call is put by an entry of its own straight into a lane of
//! the receiver's partition, under the call's id; while it lies there, or among the dead letters, it is found by that id.

use bytes::Bytes;
use oprc_mesh::wire::Header;

use super::desk::Desk;
use super::keys;
use super::record::{DeadKey, MailReply, Message, ReadyRecord};
use crate::error::OdgmError;

/// What a call is beside a message.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Asked {
    /// The number of the receiver's class.
    #[prost(uint64, tag = "1")]
    pub class: u64,
    /// The call's id, within its class and object.
    #[prost(string, tag = "2")]
    pub invocation: String,
    /// Tells the call from another one under the same id.
    #[prost(bytes = "bytes", tag = "3")]
    pub fingerprint: Bytes,
    /// What a `list<u8>` result should be kept as: [`oprc_mesh::wire::Form`].
    #[prost(int32, tag = "4")]
    pub accept: i32,
    /// Who calls.
    #[prost(string, tag = "5")]
    pub caller: String,
    /// Request headers that the guest may see.
    #[prost(message, repeated, tag = "6")]
    pub headers: Vec<Header>,
}

impl Asked {
    pub(super) fn bytes(&self) -> usize {
        let header = |header: &Header| header.name.len() + header.value.len() + 4;
        self.invocation.len()
            + self.fingerprint.len()
            + self.caller.len()
            + self.headers.iter().map(header).sum::<usize>()
    }
}

/// Puts a call into its lane.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Ask {
    /// The call, without an id of a message.
    #[prost(message, required, tag = "1")]
    pub(crate) message: Message,
    /// So many calls of its object may wait. The bounds come with the entry, so that hosts of two builds agree.
    #[prost(uint64, tag = "2")]
    pub(crate) calls_max: u64,
    /// What they may take up together; one alone may take more.
    #[prost(uint64, tag = "3")]
    pub(crate) bytes_max: u64,
}

/// What came of a call that was to be put into its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// It waits there now.
    Taken,
    /// It was there before.
    Same,
    /// Another call is there under its id.
    Other,
    /// As many wait for the object as may.
    Full,
}

/// Where a call lies, by its id.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AskedRecord {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) fingerprint: Bytes,
    /// Its lane, and its number there.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) lane: Vec<u8>,
    #[prost(uint64, tag = "3")]
    pub(crate) number: u64,
    /// It lies there no more: it is this dead letter of its class.
    #[prost(message, optional, tag = "4")]
    pub(crate) dead: Option<DeadKey>,
    /// That class's name.
    #[prost(string, tag = "5")]
    pub(crate) class: String,
}

/// The calls that wait for one object, or for the functions of a class.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct WaitingRecord {
    #[prost(uint64, tag = "1")]
    calls: u64,
    #[prost(uint64, tag = "2")]
    bytes: u64,
}

impl Desk<'_> {
    /// Takes a call in, unless one is there under its id or there is no room.
    pub(super) fn ask(&mut self, ask: &Ask) -> Result<MailReply, OdgmError> {
        let asked = ask.message.asked.as_ref();
        let asked = asked.ok_or_else(|| OdgmError::corrupt("a call in the log", "it has no id"))?;
        let key = keys::asked(asked.class, &ask.message.object, &asked.invocation);
        if let Some(before) = self.get::<AskedRecord>(&key)? {
            let same = before.fingerprint == asked.fingerprint;
            return Ok(MailReply::Asked(if same { Asking::Same } else { Asking::Other }));
        }
        let waiting = self.waiting(asked.class, &ask.message.object)?;
        let bytes = waiting.bytes + ask.message.bytes() as u64;
        if waiting.calls >= ask.calls_max || (waiting.calls > 0 && bytes > ask.bytes_max) {
            return Ok(MailReply::Asked(Asking::Full));
        }
        let mut message = ask.message.clone();
        self.name(&mut message)?;
        self.arrive(&message)?;
        Ok(MailReply::Asked(Asking::Taken))
    }

    /// A message is in its lane: notes where, if it is a call.
    pub(super) fn note_asked(
        &mut self,
        message: &Message,
        lane: &[u8],
        number: u64,
    ) -> Result<(), OdgmError> {
        let Some(asked) = &message.asked else { return Ok(()) };
        let mut waiting = self.waiting(asked.class, &message.object)?;
        waiting.calls += 1;
        waiting.bytes += message.bytes() as u64;
        self.put(keys::asked_waiting(asked.class, &message.object), &waiting);
        let fingerprint = asked.fingerprint.clone();
        let record = AskedRecord { fingerprint, lane: lane.to_vec(), number, ..AskedRecord::default() };
        self.put(keys::asked(asked.class, &message.object, &asked.invocation), &record);
        Ok(())
    }

    /// The first message of a lane goes out of it: forgets where it was, if it is a call.
    pub(super) fn forget_asked(&mut self, ready: &ReadyRecord) -> Result<(), OdgmError> {
        if !keys::is_asked(&ready.lane) {
            return Ok(());
        }
        let message = self.first(ready)?;
        let Some(asked) = &message.asked else { return Ok(()) };
        let mut waiting = self.waiting(asked.class, &message.object)?;
        waiting.calls = waiting.calls.saturating_sub(1);
        waiting.bytes = waiting.bytes.saturating_sub(message.bytes() as u64);
        let key = keys::asked_waiting(asked.class, &message.object);
        if waiting.calls == 0 {
            self.drop(key);
        } else {
            self.put(key, &waiting);
        }
        let key = keys::asked(asked.class, &message.object, &asked.invocation);
        let record: Option<AskedRecord> = self.get(&key)?;
        if record.is_some_and(|record| record.lane == ready.lane && record.number == ready.number) {
            self.drop(key);
        }
        Ok(())
    }

    /// A message became a dead letter: notes so, if it is a call.
    pub(super) fn asked_died(&mut self, message: &Message, letter: DeadKey) {
        let Some(asked) = &message.asked else { return };
        let fingerprint = asked.fingerprint.clone();
        let class = message.class.clone();
        let record = AskedRecord { fingerprint, dead: Some(letter), class, ..AskedRecord::default() };
        self.put(keys::asked(asked.class, &message.object, &asked.invocation), &record);
    }

    /// A dead letter goes: forgets it, if it is a call.
    pub(super) fn forget_dead_asked(&mut self, message: &Message, letter: DeadKey) -> Result<(), OdgmError> {
        let Some(asked) = &message.asked else { return Ok(()) };
        let key = keys::asked(asked.class, &message.object, &asked.invocation);
        if self.get::<AskedRecord>(&key)?.is_some_and(|record| record.dead == Some(letter)) {
            self.drop(key);
        }
        Ok(())
    }

    fn waiting(&self, class: u64, object: &str) -> Result<WaitingRecord, OdgmError> {
        Ok(self.get(&keys::asked_waiting(class, object))?.unwrap_or_default())
    }
}

#[cfg(test)]
#[path = "asked_tests.rs"]
mod tests;
