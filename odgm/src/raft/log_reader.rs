//! Reads of one group's log: from the tail in memory, and below it from the disk.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use futures::Stream;
use futures::stream;
use openraft::OptionalSend;
use openraft::errors::LeaderChanged;
use openraft::impls::leader_id_std::LeaderId;
use openraft::storage::{LeaderBoundedStreamError, RaftLogReader};

use super::codec;
use super::log_store::GroupLog;
use super::types::{RaftEntry, RaftVote, TypeConfig};
use crate::error::OdgmError;

/// Entries travel and are applied in pieces of about this size; one entry alone may be larger.
const CHUNK_BYTES: usize = 1024 * 1024;

/// See the module.
pub(super) struct LogReader(Arc<GroupLog>);

impl LogReader {
    pub(super) fn new(log: Arc<GroupLog>) -> Self {
        Self(log)
    }
}

impl GroupLog {
    /// The entries from `start` up to but not including `end` that the log holds, in order and without a hole,
    /// stopping past `bytes` after at least one.
    fn read(&self, start: u64, end: u64, bytes: usize) -> Result<Vec<RaftEntry>, OdgmError> {
        let mut found: Vec<RaftEntry> = Vec::new();
        let mut at = start;
        let mut left = bytes;
        loop {
            let stop = {
                let inner = self.inner.lock();
                let end = end.min(inner.last.map_or(0, |last| last.index + 1));
                if let Some(purged) = inner.purged {
                    at = at.max(purged.index + 1);
                }
                if at >= end {
                    return Ok(found);
                }
                match inner.tail.first() {
                    Some(first) if first <= at => {
                        let newest = inner.tail.read(at..end, left);
                        self.extend(&mut found, newest)?;
                        return Ok(found);
                    }
                    Some(first) => first.min(end),
                    None => end,
                }
            };
            // the lock is free: what is below the tail changes only by purges, which openraft orders with reads
            let stored = self.db.read(self.group, at, stop, left)?;
            left -= stored.iter().map(|(_, bytes)| bytes.len()).sum::<usize>().min(left);
            let decoded = stored.into_iter().map(|(index, bytes)| codec::decode_entry(index, &bytes.into()));
            self.extend(&mut found, decoded.collect::<Result<_, _>>()?)?;
            at = match found.last() {
                Some(last) if last.log_id.index + 1 < stop && bytes == usize::MAX => {
                    return Err(self.missing(last.log_id.index + 1));
                }
                Some(last) if last.log_id.index + 1 < stop || left == 0 => return Ok(found),
                Some(last) => last.log_id.index + 1,
                // a log that was never purged may begin later than it is asked for
                None => stop,
            };
        }
    }

    /// Appends entries that must follow on.
    fn extend(&self, found: &mut Vec<RaftEntry>, more: Vec<RaftEntry>) -> Result<(), OdgmError> {
        for entry in more {
            if let Some(last) = found.last()
                && last.log_id.index + 1 != entry.log_id.index
            {
                return Err(self.missing(last.log_id.index + 1));
            }
            found.push(entry);
        }
        Ok(())
    }

    fn missing(&self, index: u64) -> OdgmError {
        OdgmError::corrupt(format!("the log of group {}", self.group), format!("entry {index} is missing"))
    }

    /// The same; an entry that cannot be read stops the node.
    fn read_or_stop(&self, start: u64, end: u64, bytes: usize) -> Result<Vec<RaftEntry>, io::Error> {
        self.poison.check()?;
        self.read(start, end, bytes).map_err(|error| self.poison.latch(&error).into())
    }

    /// One chunk of a stream, which begins with `at` unless that is purged: a hole must not be skipped in silence.
    fn read_chunk(&self, at: u64, end: u64) -> Result<Vec<RaftEntry>, io::Error> {
        let entries = self.read_or_stop(at, end, CHUNK_BYTES)?;
        if entries.first().is_some_and(|first| first.log_id.index == at) {
            return Ok(entries);
        }
        let there = {
            let inner = self.inner.lock();
            let purged = inner.purged.is_some_and(|purged| at <= purged.index);
            !purged && inner.last.is_some_and(|last| at <= last.index && at < end)
        };
        if there { Err(self.poison.latch(&self.missing(at)).into()) } else { Ok(entries) }
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

type Chunk<E> = Result<Vec<RaftEntry>, E>;

/// Streams the entries from `at` to `end` in chunks, so that memory stays flat however long the range is.
fn chunked<E: Send + 'static>(
    at: u64,
    end: u64,
    read: impl Fn(u64, u64) -> Chunk<E> + Send + 'static,
) -> impl Stream<Item = Result<RaftEntry, E>> + Send {
    let chunks = stream::unfold(Some(at), move |at| {
        let next = at.filter(|at| *at < end).and_then(|at| match read(at, end) {
            Ok(entries) => {
                let next = entries.last().map(|last| last.log_id.index + 1)?;
                Some((entries.into_iter().map(Ok).collect::<Vec<_>>(), Some(next)))
            }
            Err(error) => Some((vec![Err(error)], None)),
        });
        std::future::ready(next)
    });
    futures::StreamExt::flat_map(chunks, stream::iter)
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<RaftEntry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        self.0.read_or_stop(start, end, usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<RaftEntry>, io::Error> {
        self.0.read_or_stop(start, end, CHUNK_BYTES)
    }

    async fn read_vote(&mut self) -> Result<Option<RaftVote>, io::Error> {
        Ok(self.0.inner.lock().vote)
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<RaftEntry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        let log = self.0.clone();
        chunked(start, end, move |at, end| log.read_chunk(at, end))
    }

    async fn leader_bounded_stream<RB>(
        &mut self,
        leader: LeaderId<u64, u64>,
        range: RB,
    ) -> impl Stream<Item = Result<RaftEntry, LeaderBoundedStreamError<TypeConfig>>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        let log = self.0.clone();
        let led = move |log: &GroupLog| {
            let vote = log.inner.lock().vote;
            match vote {
                Some(vote) if vote.leader_id == leader && vote.committed => Ok(()),
                other => Err(LeaderBoundedStreamError::from(LeaderChanged::new(leader, other))),
            }
        };
        let read = move |at, end| {
            // before and after: a leader that changed in between may have truncated what was read
            led(&log)?;
            let entries = log.read_chunk(at, end)?;
            led(&log)?;
            Ok(entries)
        };
        chunked(start, end, read)
    }
}
