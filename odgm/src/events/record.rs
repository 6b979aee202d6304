//! What lies in the event log. A stored event is its class's number, big-endian, and then the event as it travels, without
//! its number, which is in the key: a reader that looks for one class passes over the others without decoding them.

use oprc_mesh::wire::Event;
use prost::Message as _;

use crate::error::OdgmError;

const CLASS_BYTES: usize = 8;

/// One event on its way into the log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    /// The number of the object's class.
    pub(crate) class: u64,
    /// Without its own number, and without the class's.
    pub(crate) event: Event,
}

impl Told {
    /// As it is stored.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(CLASS_BYTES + self.event.encoded_len());
        bytes.extend_from_slice(&self.class.to_be_bytes());
        self.event.encode_raw(&mut bytes);
        bytes
    }

    /// How many bytes that is.
    pub(crate) fn stored_bytes(&self) -> u64 {
        (CLASS_BYTES + self.event.encoded_len()) as u64
    }
}

/// The class of a stored event.
pub(crate) fn class_of(stored: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*stored.first_chunk::<CLASS_BYTES>()?))
}

/// A stored event with its number.
pub(crate) fn decode(seq: u64, stored: &[u8]) -> Result<Event, OdgmError> {
    let class = class_of(stored).ok_or_else(|| OdgmError::corrupt("an event", "it is cut short"))?;
    let record = stored.get(CLASS_BYTES..).unwrap_or_default();
    let event = Event::decode(record).map_err(|error| OdgmError::corrupt("an event", error))?;
    Ok(Event { seq, class, ..event })
}

/// Where a partition's event log stands. Events are written into an open block; full blocks are noted as
/// [`BlockRecord`]s, and go as a whole.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct BoundsRecord {
    /// The number of the newest event; 0 before the first.
    #[prost(uint64, tag = "1")]
    pub(crate) last: u64,
    /// Events up to this number are gone.
    #[prost(uint64, tag = "2")]
    pub(crate) trimmed: u64,
    /// Bytes of the events that are there.
    #[prost(uint64, tag = "3")]
    pub(crate) bytes: u64,
    /// The open block begins after this number.
    #[prost(uint64, tag = "4")]
    pub(crate) open_after: u64,
    /// Bytes in the open block.
    #[prost(uint64, tag = "5")]
    pub(crate) open_bytes: u64,
}

/// A full block; the number that it begins after is in the key.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct BlockRecord {
    /// Its last event.
    #[prost(uint64, tag = "1")]
    pub(crate) last: u64,
    /// Its bytes.
    #[prost(uint64, tag = "2")]
    pub(crate) bytes: u64,
}
