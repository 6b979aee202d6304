//! One group's log as openraft sees it. Writes go to the one log writer; what was appended is readable at once from
//! the tail in memory.

use std::io;
use std::sync::Arc;

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use parking_lot::Mutex;
use prost::Message as _;

use super::codec;
use super::log_reader::LogReader;
use super::tail::Tail;
use super::types::{LogId, RaftEntry, RaftVote, TypeConfig};
use crate::error::OdgmError;
use crate::log_writer::{LogOp, LogWriter};
use crate::poison::Poison;
use crate::record::{FORMAT, PurgedRecord, StateRecord};
use crate::store::LogDb;

/// What to do about a log and a state that do not belong together.
const RESTORE: &str = "part of the data directory was lost or replaced; restore all of it from one copy";

/// One group's log, shared by its store and its readers.
pub(super) struct GroupLog {
    pub(super) group: u64,
    pub(super) db: Arc<LogDb>,
    pub(super) poison: Poison,
    writer: LogWriter,
    pub(super) inner: Mutex<Inner>,
}

/// What of the log is in memory. Every lock of it is brief and never held over an await or a disk read.
pub(super) struct Inner {
    pub(super) vote: Option<RaftVote>,
    pub(super) purged: Option<LogId>,
    pub(super) last: Option<LogId>,
    pub(super) tail: Tail,
}

/// See the module.
pub(super) struct LogStore(Arc<GroupLog>);

impl LogStore {
    /// Reads what the group's log holds.
    pub(super) fn open(
        db: &Arc<LogDb>,
        writer: &LogWriter,
        poison: &Poison,
        group: u64,
    ) -> Result<Self, OdgmError> {
        let extent = db.extent(group)?;
        let purged = extent.purged.map(|mark| codec::log_id(mark.upto));
        let last = extent.last.map(|(index, bytes)| codec::entry_log_id(index, &bytes)).transpose()?;
        let inner = Inner {
            vote: extent.vote.map(codec::vote),
            purged,
            last: last.max(purged),
            tail: Tail::default(),
        };
        Ok(Self(Arc::new(GroupLog {
            group,
            db: db.clone(),
            poison: poison.clone(),
            writer: writer.clone(),
            inner: Mutex::new(inner),
        })))
    }

    /// Checks that the log and the state that it was applied to go together. The state is a function of the log, so one
    /// that holds what the log does not reach, or lacks what the log has purged, means that one of the two was lost or
    /// replaced; openraft would purge its way over the gap and go on with what is left.
    ///
    /// # Errors
    /// [`OdgmError::Corrupt`] saying which entries are missing.
    pub(super) fn check(&self, state: &StateRecord) -> Result<(), OdgmError> {
        let group = self.0.group;
        let (last, purged) = {
            let inner = self.0.inner.lock();
            (inner.last, inner.purged)
        };
        let applied = state.applied.map(codec::log_id);
        let refuse = |what: &str, detail: String| {
            Err(OdgmError::corrupt(format!("the {what} of raft group {group}"), detail))
        };
        let show = |id: Option<LogId>| id.map_or_else(|| "no entry".to_owned(), |id| format!("entry {id}"));
        // a snapshot may have been installed just before the log was purged up to it
        if last < applied && !state.installed {
            let (applied, last) = (show(applied), show(last));
            return refuse("log", format!("{applied} is applied, but it ends with {last}: {RESTORE}"));
        }
        if applied < purged {
            let (applied, purged) = (show(applied), show(purged));
            return refuse(
                "state",
                format!("{applied} is applied, but the log is purged up to {purged}: {RESTORE}"),
            );
        }
        let next = applied.max(purged).map_or(0, |id| id.index + 1);
        match self.0.db.first(group)? {
            Some(first) if first > next => refuse(
                "log",
                format!("it begins with entry {first}, but entry {next} is to be applied next: {RESTORE}"),
            ),
            _ => Ok(()),
        }
    }

    /// A group that was never initialised has neither vote nor entries.
    pub(super) fn is_pristine(&self) -> bool {
        let inner = self.0.inner.lock();
        inner.vote.is_none() && inner.last.is_none()
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let inner = self.0.inner.lock();
        Ok(LogState { last_purged_log_id: inner.purged, last_log_id: inner.last })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader::new(self.0.clone())
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> Result<(), io::Error> {
        let record = codec::vote_record(vote).encode_to_vec();
        self.0.writer.write(LogOp::Vote { group: self.0.group, vote: record }).await?;
        self.0.inner.lock().vote = Some(*vote);
        Ok(())
    }

    // `save_committed` is left at its default on purpose: it would be awaited on every commit, and the applied index
    // lies durably in the state anyway.

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = RaftEntry> + Send,
        I::IntoIter: Send,
    {
        let log = self.0.clone();
        let mut encoded = Vec::new();
        let mut last = None;
        {
            let mut inner = log.inner.lock();
            for entry in entries {
                let bytes = codec::encode_entry(&entry);
                last = Some(entry.log_id);
                let (index, size) = (entry.log_id.index, bytes.len());
                inner.tail.push(entry, size);
                encoded.push((index, bytes));
            }
            inner.last = last.or(inner.last);
        }
        let op = LogOp::Append { group: log.group, entries: encoded };
        let writer = log.writer.clone();
        writer.submit(
            op,
            Box::new(move |outcome| {
                if let (Ok(()), Some(last)) = (&outcome, last) {
                    log.inner.lock().tail.set_durable(last.index);
                }
                callback.io_completed(outcome);
            }),
        );
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let first = last.map_or(0, |last| last.index + 1);
        let Some(end) = self.0.inner.lock().last.filter(|end| end.index >= first) else { return Ok(()) };
        self.0.writer.write(LogOp::Truncate { group: self.0.group, first, last: end.index }).await?;
        // only now: completions of earlier appends, which move the tail's durable mark, have all been called
        let mut inner = self.0.inner.lock();
        inner.tail.truncate_after(last.map(|last| last.index));
        inner.last = last.max(inner.purged);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let (first, last) = {
            let mut inner = self.0.inner.lock();
            let first = inner.purged.map_or(0, |purged| purged.index + 1);
            // what the log never held need not be deleted: after a snapshot `upto` may be far ahead of it
            let last = inner.last.map_or(0, |last| last.index.min(upto.index));
            inner.purged = inner.purged.max(Some(upto));
            if inner.last.is_none_or(|last| last.index < upto.index) {
                inner.last = Some(upto);
            }
            inner.tail.purge(upto.index);
            (first, last)
        };
        let mark = PurgedRecord { format: FORMAT, upto: codec::log_id_record(&upto) }.encode_to_vec();
        let op = LogOp::Purge { group: self.0.group, first, last, mark };
        // a failure latches the poison, and a lost purge is done again
        self.0.writer.submit(op, Box::new(drop));
        Ok(())
    }
}

#[cfg(test)]
#[path = "log_store_tests.rs"]
mod tests;
