//! Where events go, and what goes for them.
//!
//! A log that held each event's size only in the event would have to read the old ones to know what dropping them brings.
//! So events lie in blocks: when one is full, its extent and size are noted, and whole blocks are dropped. The work of an
//! entry is bounded by what it adds: it drops at most twice as many blocks as it filled, and one.

use oprc_mesh::limits::{EVENT_LOG_BYTES_MAX, EVENT_LOG_EVENTS_MAX};

use super::record::{BlockRecord, BoundsRecord, Told};
use crate::error::OdgmError;

/// How much a log holds, and how it is cut into blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogLimits {
    /// Events that are kept, up to a block more.
    pub(crate) events_max: u64,
    /// Their bytes, up to a block more.
    pub(crate) bytes_max: u64,
    /// A block is full at so many events ...
    pub(crate) block_events: u64,
    /// ... or so many bytes.
    pub(crate) block_bytes: u64,
}

/// These decide what every replica holds: another number needs a format of its own.
pub(crate) const LIMITS: LogLimits = LogLimits {
    events_max: EVENT_LOG_EVENTS_MAX,
    bytes_max: EVENT_LOG_BYTES_MAX,
    block_events: 256,
    block_bytes: 64 * 1024,
};

/// One write to the stored log.
#[derive(Debug, PartialEq)]
pub(crate) enum LogChange<'a> {
    /// An event gets its number.
    Put { seq: u64, told: &'a Told },
    /// An event goes.
    Drop { seq: u64 },
    /// A block is full.
    Close { after: u64, block: BlockRecord },
    /// A block goes.
    Forget { after: u64 },
}

/// Adds the events of one entry, in their order, and drops what is too much then. `stored` reads the block that begins
/// after a number.
pub(crate) fn append<'a>(
    bounds: &mut BoundsRecord,
    limits: LogLimits,
    events: impl Iterator<Item = &'a Told>,
    stored: impl Fn(u64) -> Result<Option<BlockRecord>, OdgmError>,
) -> Result<Vec<LogChange<'a>>, OdgmError> {
    let mut changes = Vec::with_capacity(events.size_hint().0);
    let mut closed: Vec<(u64, BlockRecord)> = Vec::new();
    for told in events {
        bounds.last += 1;
        let bytes = told.stored_bytes();
        bounds.bytes += bytes;
        bounds.open_bytes += bytes;
        changes.push(LogChange::Put { seq: bounds.last, told });
        if bounds.last - bounds.open_after >= limits.block_events || bounds.open_bytes >= limits.block_bytes {
            let block = BlockRecord { last: bounds.last, bytes: bounds.open_bytes };
            closed.push((bounds.open_after, block));
            changes.push(LogChange::Close { after: bounds.open_after, block });
            (bounds.open_after, bounds.open_bytes) = (bounds.last, 0);
        }
    }
    let mut left = 2 * closed.len() + 1;
    while left > 0 && is_full(bounds, limits) && bounds.trimmed < bounds.open_after {
        let after = bounds.trimmed;
        let block = match closed.iter().find(|(begin, _)| *begin == after) {
            Some((_, block)) => *block,
            None => stored(after)?.ok_or_else(|| {
                OdgmError::corrupt("the event log", format!("no block begins after event {after}"))
            })?,
        };
        changes.extend((after + 1..=block.last).map(|seq| LogChange::Drop { seq }));
        changes.push(LogChange::Forget { after });
        bounds.trimmed = block.last;
        bounds.bytes -= block.bytes;
        left -= 1;
    }
    Ok(changes)
}

fn is_full(bounds: &BoundsRecord, limits: LogLimits) -> bool {
    bounds.last - bounds.trimmed > limits.events_max || bounds.bytes > limits.bytes_max
}
