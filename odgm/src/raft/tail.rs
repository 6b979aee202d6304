//! The newest entries of a group's log, decoded, in memory: what is not on disk yet must be readable already, and what
//! was just appended is about to be applied and replicated, which then needs no decoding.

use std::collections::VecDeque;
use std::ops::Range;

use super::types::RaftEntry;

/// Bytes of durable entries that are kept for readers; entries that are not durable are kept in any case.
const DURABLE_BYTES_MAX: usize = 256 * 1024;
/// The same, in entries.
const DURABLE_ENTRIES_MAX: usize = 1024;

/// See the module. Its entries are consecutive.
#[derive(Default)]
pub(super) struct Tail {
    entries: VecDeque<(RaftEntry, usize)>,
    bytes: usize,
    /// Entries up to here are on disk.
    durable: Option<u64>,
}

impl Tail {
    pub(super) fn push(&mut self, entry: RaftEntry, bytes: usize) {
        if self.entries.back().is_some_and(|(last, _)| last.log_id.index + 1 != entry.log_id.index) {
            // a jump is only possible past a purge of everything, so nothing older is wanted
            self.clear();
        }
        self.bytes += bytes;
        self.entries.push_back((entry, bytes));
    }

    /// The entry at `index` is on disk, and so are those before it. Makes room.
    pub(super) fn set_durable(&mut self, index: u64) {
        self.durable = self.durable.max(Some(index));
        while let Some((first, bytes)) = self.entries.front() {
            let full = self.bytes > DURABLE_BYTES_MAX || self.entries.len() > DURABLE_ENTRIES_MAX;
            if !full || Some(first.log_id.index) > self.durable {
                break;
            }
            self.bytes -= bytes;
            self.entries.pop_front();
        }
    }

    /// Forgets the entries after `last`.
    pub(super) fn truncate_after(&mut self, last: Option<u64>) {
        while let Some((entry, bytes)) = self.entries.back() {
            if Some(entry.log_id.index) <= last {
                break;
            }
            self.bytes -= bytes;
            self.entries.pop_back();
        }
        self.durable = self.durable.min(last);
    }

    /// Forgets the entries up to `last`.
    pub(super) fn purge(&mut self, last: u64) {
        while let Some((entry, bytes)) = self.entries.front() {
            if entry.log_id.index > last {
                break;
            }
            self.bytes -= bytes;
            self.entries.pop_front();
        }
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    /// The least index that is here; what is below is on disk.
    pub(super) fn first(&self) -> Option<u64> {
        self.entries.front().map(|(entry, _)| entry.log_id.index)
    }

    /// The entries of `range` that are here, up to about `bytes` of them, but at least one if there is one.
    pub(super) fn read(&self, range: Range<u64>, bytes: usize) -> Vec<RaftEntry> {
        let Some(first) = self.first() else { return Vec::new() };
        let skip = range.start.saturating_sub(first) as usize;
        let wanted = self.entries.iter().skip(skip).take_while(|(entry, _)| entry.log_id.index < range.end);
        let mut total = 0;
        let mut found = Vec::new();
        for (entry, size) in wanted {
            total += size;
            if total > bytes && !found.is_empty() {
                break;
            }
            found.push(entry.clone());
        }
        found
    }
}
