//! The state database: all groups' data. Its WAL is off: after a crash the tail is replayed from the log, so what
//! matters is that each batch carries the applied index with the data, and that the log is purged only up to what a
//! flush made durable.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rocksdb::{
    DB, FlushOptions, IngestExternalFileOptions, Options, SstFileWriter, WriteBatch, WriteOptions,
};

use super::options::{self, Shared};
use crate::counts::Counts;
use crate::error::OdgmError;
use crate::key::{Space, parse_group, successor};
use crate::poison::Poison;

/// See the module.
pub(crate) struct StateDb {
    pub(super) db: DB,
    unlogged: WriteOptions,
    poison: Poison,
    /// Everything written up to this sequence number is durable.
    flushed: Mutex<u64>,
    /// How it was opened, and how the files that are taken in are written.
    file: Options,
    /// Where they are written.
    incoming: PathBuf,
    /// Numbers them.
    files: AtomicU64,
    /// What the groups have done.
    pub(crate) counts: Counts,
}

impl StateDb {
    pub(super) fn open(path: &Path, shared: &Shared, poison: Poison) -> Result<Self, OdgmError> {
        let file = shared.state();
        let db = DB::open(&file, path).map_err(OdgmError::database("open the state database"))?;
        let mut unlogged = WriteOptions::default();
        unlogged.disable_wal(true);
        let flushed = Mutex::new(db.latest_sequence_number());
        // on the same file system, so that a file is taken in by renaming it
        let incoming = path.with_extension("incoming");
        match fs::remove_dir_all(&incoming) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(OdgmError::io("remove", &incoming)(error));
            }
            _ => fs::create_dir_all(&incoming).map_err(OdgmError::io("create", &incoming))?,
        }
        let (files, counts) = (AtomicU64::new(0), Counts::default());
        Ok(Self { db, unlogged, poison, flushed, file, incoming, files, counts })
    }

    /// Takes in records of a space that nothing was written to since it was handed out, as a file of their own: they
    /// bypass memory and are durable when this returns. Keys are relative to the space and ascend. Blocks.
    pub(crate) fn ingest<'r>(
        &self,
        to: Space,
        records: impl Iterator<Item = (&'r [u8], &'r [u8])>,
    ) -> Result<(), OdgmError> {
        self.poison.check()?;
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let path = self.incoming.join(format!("{number}.sst"));
        let begin = to.begin();
        let mut writer = SstFileWriter::create(&self.file);
        let write = || {
            writer.open(&path)?;
            for (key, value) in records {
                writer.put([&begin, key].concat(), value)?;
            }
            writer.finish()?;
            let mut options = IngestExternalFileOptions::default();
            options.set_move_files(true);
            self.db.ingest_external_file_opts(&options, vec![&path])
        };
        let taken = write().map_err(OdgmError::database("take in a part of a snapshot"));
        if taken.is_err() {
            let _ = fs::remove_file(&path); // it is in nobody's way, and goes with the next start
        }
        taken
    }

    /// Writes a batch whole or not at all. A failure poisons the node.
    pub(crate) fn write(&self, batch: WriteBatch) -> Result<(), OdgmError> {
        self.poison.check()?;
        let written = self.db.write_opt(batch, &self.unlogged);
        written.map_err(|error| self.poison.latch(&OdgmError::database("write the state")(error)))
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<rocksdb::DBPinnableSlice<'_>>, OdgmError> {
        self.db.get_pinned(key).map_err(OdgmError::database("read the state"))
    }

    /// See [`options::blocks`].
    pub(super) fn blocks(&self) -> (u64, u64) {
        options::blocks(&self.file)
    }

    /// See [`options::buffered_bytes`].
    pub(super) fn buffered_bytes(&self) -> u64 {
        options::buffered_bytes(&self.db)
    }

    /// A number that grows with every write; for [`Self::flush_through`].
    pub(crate) fn sequence(&self) -> u64 {
        self.db.latest_sequence_number()
    }

    /// Makes everything written up to `sequence` durable, of all groups at once. Blocks; a caller that finds it
    /// covered by another's flush returns at once.
    pub(crate) fn flush_through(&self, sequence: u64) -> Result<(), OdgmError> {
        let mut flushed = self.flushed.lock();
        if *flushed >= sequence {
            return Ok(());
        }
        self.poison.check()?;
        let covers = self.db.latest_sequence_number();
        let mut options = FlushOptions::default();
        options.set_wait(true);
        let done = self.db.flush_opt(&options);
        done.map_err(|error| self.poison.latch(&OdgmError::database("flush the state")(error)))?;
        *flushed = covers;
        Ok(())
    }

    /// Forgets a range that nothing reads any more: a purged class, an old generation, a dropped group.
    pub(crate) fn drop_range(&self, begin: Vec<u8>) -> Result<(), OdgmError> {
        let Some(end) = successor(begin.clone()) else { return Ok(()) };
        let mut batch = WriteBatch::default();
        batch.delete_range(begin, end);
        self.write(batch)
    }

    /// Whether a group has anything in the state.
    pub(crate) fn holds(&self, group: u64) -> Result<bool, OdgmError> {
        let mut options = rocksdb::ReadOptions::default();
        options.set_total_order_seek(true);
        let mut keys = self.db.raw_iterator_opt(options);
        keys.seek(Space::group(group));
        let holds = keys.key().and_then(parse_group) == Some(group);
        keys.status().map_err(OdgmError::database("read the state"))?;
        Ok(holds)
    }

    /// The groups that have anything in the state.
    pub(crate) fn groups(&self) -> Result<Vec<u64>, OdgmError> {
        let mut options = rocksdb::ReadOptions::default();
        options.set_total_order_seek(true);
        let mut keys = self.db.raw_iterator_opt(options);
        let mut groups = Vec::new();
        keys.seek_to_first();
        while let Some(key) = keys.key() {
            let group = parse_group(key).ok_or_else(|| OdgmError::corrupt("a state key", "its length"))?;
            groups.push(group);
            let Some(next) = group.checked_add(1) else { break };
            keys.seek(Space::group(next));
        }
        keys.status().map_err(OdgmError::database("read the state"))?;
        Ok(groups)
    }
}
