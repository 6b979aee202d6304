//! The log database: all groups' Raft entries, votes and purge marks. Reads only; [`crate::log_writer`] writes.

use std::path::Path;

use rocksdb::{DB, Direction, ErrorKind, IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions};

use super::dir::Lock;
use super::options::{self, Shared};
use crate::error::OdgmError;
use crate::key;
use crate::record::{FORMAT, ForgottenRecord, PurgedRecord, VoteRecord};

/// See the module.
pub(crate) struct LogDb {
    db: DB,
    synced: WriteOptions,
    buffered: WriteOptions,
    lock: Lock,
    /// How it was opened.
    options: Options,
}

/// What a group's log holds when it is opened.
pub(crate) struct LogExtent {
    pub(crate) vote: Option<VoteRecord>,
    pub(crate) purged: Option<PurgedRecord>,
    /// That it was forgotten here, and how far it went then.
    pub(crate) forgotten: Option<ForgottenRecord>,
    /// Index and bytes of the last entry.
    pub(crate) last: Option<(u64, Vec<u8>)>,
}

impl LogDb {
    pub(super) fn open(path: &Path, shared: &Shared, lock: Lock) -> Result<Self, OdgmError> {
        let options = shared.log();
        let db = DB::open(&options, path).map_err(|error| match error.kind() {
            ErrorKind::Corruption => OdgmError::corrupt(
                "the log database",
                format!("{error}; restore the data directory from a copy"),
            ),
            _ => OdgmError::database("open the log database")(error),
        })?;
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        Ok(Self { db, synced, buffered: WriteOptions::default(), lock, options })
    }

    /// See [`options::blocks`].
    pub(super) fn blocks(&self) -> (u64, u64) {
        options::blocks(&self.options)
    }

    /// See [`options::buffered_bytes`].
    pub(super) fn buffered_bytes(&self) -> u64 {
        options::buffered_bytes(&self.db)
    }

    /// Writes a batch; with `sync` it is on the disk when this returns.
    pub(crate) fn write(&self, batch: WriteBatch, sync: bool) -> Result<(), OdgmError> {
        // what is written into a directory that was removed is not durable, whatever fsync says
        self.lock.check()?;
        let options = if sync { &self.synced } else { &self.buffered };
        self.db.write_opt(batch, options).map_err(OdgmError::database("write the log"))
    }

    /// What a group's log holds.
    pub(crate) fn extent(&self, group: u64) -> Result<LogExtent, OdgmError> {
        let vote = self.get::<VoteRecord>(&key::log_vote(group), "a vote", |vote| vote.format)?;
        let purged = self.get::<PurgedRecord>(&key::log_purged(group), "a purge mark", |mark| mark.format)?;
        let forgotten = self.get::<ForgottenRecord>(
            &key::log_forgotten(group),
            "the note of a forgotten group",
            |note| note.format,
        )?;
        Ok(LogExtent { vote, purged, forgotten, last: self.last(group)? })
    }

    fn get<R: prost::Message + Default>(
        &self,
        key: &[u8],
        what: &str,
        format: impl Fn(&R) -> u32,
    ) -> Result<Option<R>, OdgmError> {
        let Some(bytes) = self.db.get_pinned(key).map_err(OdgmError::database("read the log"))? else {
            return Ok(None);
        };
        let record = R::decode(&*bytes).map_err(|error| OdgmError::corrupt(what, error))?;
        match format(&record) {
            1..=FORMAT => Ok(Some(record)),
            other => Err(OdgmError::corrupt(what, format!("format version {other}"))),
        }
    }

    /// The index of a group's first entry.
    pub(crate) fn first(&self, group: u64) -> Result<Option<u64>, OdgmError> {
        let start = key::log_entry(group, 0);
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(key::log_entry(group, key::LOG_INDEX_END));
        let mut entries = self.db.iterator_opt(IteratorMode::From(&start, Direction::Forward), options);
        let Some(entry) = entries.next() else { return Ok(None) };
        let (key, _) = entry.map_err(OdgmError::database("read the log"))?;
        let (_, index) = key::parse_log(&key).ok_or_else(|| OdgmError::corrupt("a log key", "its length"))?;
        Ok(Some(index))
    }

    fn last(&self, group: u64) -> Result<Option<(u64, Vec<u8>)>, OdgmError> {
        let end = key::log_entry(group, key::LOG_INDEX_END - 1);
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(key::log_entry(group, 0));
        let mut entries = self.db.iterator_opt(IteratorMode::From(&end, Direction::Reverse), options);
        let Some(entry) = entries.next() else { return Ok(None) };
        let (key, value) = entry.map_err(OdgmError::database("read the log"))?;
        let (_, index) = key::parse_log(&key).ok_or_else(|| OdgmError::corrupt("a log key", "its length"))?;
        Ok(Some((index, value.into_vec())))
    }

    /// Entries from `start` up to but not including `end`, in order, stopping past `bytes` after at least one.
    pub(crate) fn read(
        &self,
        group: u64,
        start: u64,
        end: u64,
        bytes: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, OdgmError> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(key::log_entry(group, end.min(key::LOG_INDEX_END)));
        let from = key::log_entry(group, start);
        let mut entries = Vec::new();
        let mut total = 0;
        for entry in self.db.iterator_opt(IteratorMode::From(&from, Direction::Forward), options) {
            let (key, value) = entry.map_err(OdgmError::database("read the log"))?;
            let (_, index) =
                key::parse_log(&key).ok_or_else(|| OdgmError::corrupt("a log key", "its length"))?;
            total += value.len();
            if total > bytes && !entries.is_empty() {
                break;
            }
            entries.push((index, value.into_vec()));
        }
        Ok(entries)
    }

    /// The groups that have anything in the log.
    pub(crate) fn groups(&self) -> Result<Vec<u64>, OdgmError> {
        let mut groups = Vec::new();
        let mut keys = self.db.raw_iterator();
        keys.seek_to_first();
        while let Some(key) = keys.key() {
            let (group, _) =
                key::parse_log(key).ok_or_else(|| OdgmError::corrupt("a log key", "its length"))?;
            groups.push(group);
            let Some(next) = group.checked_add(1) else { break };
            keys.seek(key::log_entry(next, 0));
        }
        keys.status().map_err(OdgmError::database("read the log"))?;
        Ok(groups)
    }
}
