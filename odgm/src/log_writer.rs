//! The one thread that writes the log of all groups. It takes everything that is queued, writes it as one batch with
//! one fsync, and then completes each; meanwhile the queue fills again. So a commit costs less the more there are.
//!
//! What is queued is bounded by what the groups have under way (see [`crate::proposer`]); a group's operations are
//! written in the order in which they were queued.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use oprc_mesh::metrics::{COUNTS, Histogram, SECONDS};
use parking_lot::{Condvar, Mutex};
use rocksdb::WriteBatch;
use tokio::sync::Notify;

use crate::error::OdgmError;
use crate::key;
use crate::poison::Poison;
use crate::store::LogDb;
use crate::types::LogStats;

/// One change of one group's log.
pub(crate) enum LogOp {
    /// Entries by index.
    Append {
        group: u64,
        entries: Vec<(u64, Vec<u8>)>,
    },
    Vote {
        group: u64,
        vote: Vec<u8>,
    },
    /// Forgets the entries from `first` to `last`.
    Truncate {
        group: u64,
        first: u64,
        last: u64,
    },
    /// Forgets the entries from `first` to `last` and notes it.
    Purge {
        group: u64,
        first: u64,
        last: u64,
        mark: Vec<u8>,
    },
    /// Forgets the entries of a group and notes it; its vote stays.
    Forget {
        group: u64,
        mark: Vec<u8>,
    },
    /// Forgets all of a group.
    Drop {
        group: u64,
    },
}

impl LogOp {
    /// A purge may be lost in a crash: it is done again. Everything else must be on disk before it is completed.
    fn needs_sync(&self) -> bool {
        !matches!(self, Self::Purge { .. })
    }

    fn put(&self, batch: &mut WriteBatch) {
        match self {
            Self::Append { group, entries } => {
                for (index, entry) in entries {
                    batch.put(key::log_entry(*group, *index), entry);
                }
            }
            Self::Vote { group, vote } => batch.put(key::log_vote(*group), vote),
            Self::Truncate { group, first, last } => delete(batch, *group, *first, *last),
            Self::Purge { group, first, last, mark } => {
                delete(batch, *group, *first, *last);
                batch.put(key::log_purged(*group), mark);
            }
            Self::Forget { group, mark } => {
                batch.delete_range(key::log_entry(*group, 0), key::log_forgotten(*group));
                batch.delete(key::log_purged(*group));
                batch.put(key::log_forgotten(*group), mark);
            }
            Self::Drop { group } => {
                batch.delete_range(key::log_entry(*group, 0), key::log_vote(*group));
                batch.delete(key::log_vote(*group));
            }
        }
    }
}

/// Point deletes: range tombstones slow every read of the log, and entries are few at a time.
fn delete(batch: &mut WriteBatch, group: u64, first: u64, last: u64) {
    for index in first..=last {
        batch.delete(key::log_entry(group, index));
    }
}

/// Called once with the outcome of the write.
pub(crate) type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

struct Queue {
    ops: Vec<(LogOp, Done)>,
    closed: bool,
}

struct Shared {
    db: Arc<LogDb>,
    poison: Poison,
    queue: Mutex<Queue>,
    filled: Condvar,
    fsyncs: AtomicU64,
    entries: AtomicU64,
    bytes: AtomicU64,
    syncs: Syncs,
    checkpoint: CheckpointDue,
    /// Told when a checkpoint is due.
    due: Notify,
    #[cfg(test)]
    fault: Mutex<Option<io::Error>>,
}

/// The synced writes, for metrics.
pub(crate) struct Syncs {
    /// How long they took.
    pub(crate) took: Histogram,
    /// How many entries each held.
    pub(crate) entries: Histogram,
}

/// How much log may be written between two checkpoints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CheckpointDue {
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
}

/// The handle to the thread. Clones share it.
#[derive(Clone)]
pub(crate) struct LogWriter {
    shared: Arc<Shared>,
    thread: Arc<Thread>,
}

/// Ends the thread with the last handle, should nobody have stopped it: an opening that failed half-way.
struct Thread {
    shared: Arc<Shared>,
    join: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        // without waiting: the last handle may be in a completion, on the thread itself
        self.shared.close();
    }
}

impl LogWriter {
    /// Starts the thread.
    pub(crate) fn start(
        db: Arc<LogDb>,
        poison: Poison,
        checkpoint: CheckpointDue,
    ) -> Result<Self, OdgmError> {
        let shared = Arc::new(Shared {
            db,
            poison,
            queue: Mutex::new(Queue { ops: Vec::new(), closed: false }),
            filled: Condvar::new(),
            fsyncs: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            syncs: Syncs { took: Histogram::new(&SECONDS), entries: Histogram::new(&COUNTS) },
            checkpoint,
            due: Notify::new(),
            #[cfg(test)]
            fault: Mutex::new(None),
        });
        let worker = shared.clone();
        let thread = std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || worker.run())
            .map_err(OdgmError::io("start a thread for", std::path::Path::new("the log")))?;
        Ok(Self {
            thread: Arc::new(Thread { shared: shared.clone(), join: Mutex::new(Some(thread)) }),
            shared,
        })
    }

    /// Queues a change; `done` is called when it is durable, or cannot be.
    pub(crate) fn submit(&self, op: LogOp, done: Done) {
        let refusal = {
            let mut queue = self.shared.queue.lock();
            if queue.closed {
                Some(done)
            } else {
                queue.ops.push((op, done));
                None
            }
        };
        match refusal {
            None => {
                self.shared.filled.notify_one();
            }
            Some(done) => done(Err(io::Error::other("the log is closed"))),
        }
    }

    /// Queues a change and waits until it is durable.
    pub(crate) async fn write(&self, op: LogOp) -> io::Result<()> {
        let (tell, told) = tokio::sync::oneshot::channel();
        self.submit(op, Box::new(move |outcome| drop(tell.send(outcome))));
        told.await.unwrap_or_else(|_| Err(io::Error::other("the log writer is gone")))
    }

    /// The counters.
    pub(crate) fn stats(&self) -> LogStats {
        self.shared.stats()
    }

    /// The synced writes so far.
    pub(crate) fn syncs(&self) -> &Syncs {
        &self.shared.syncs
    }

    /// Waits until so much was written that a checkpoint is due.
    pub(crate) async fn checkpoint_due(&self) {
        self.shared.due.notified().await;
    }

    /// Writes what is queued, then ends the thread. Blocks; later changes fail.
    pub(crate) fn stop(&self) {
        self.shared.close();
        if let Some(thread) = self.thread.join.lock().take()
            && thread.join().is_err()
        {
            self.shared.poison.latch(&"the log writer panicked");
        }
    }

    /// Makes the next write fail as a full or broken disk would, before anything is written.
    #[cfg(test)]
    pub(crate) fn fail_next(&self, error: io::Error) {
        *self.shared.fault.lock() = Some(error);
    }
}

impl Shared {
    fn run(&self) {
        let mut checkpointed = LogStats::default();
        while let Some(ops) = self.take() {
            let outcome = self.write(&ops);
            let failed = outcome.err().map(|error| error.to_string());
            for (_, done) in ops {
                done(failed.as_ref().map_or(Ok(()), |reason| Err(io::Error::other(reason.clone()))));
            }
            let now = self.stats();
            let (bytes, entries) = (now.bytes - checkpointed.bytes, now.entries - checkpointed.entries);
            if bytes >= self.checkpoint.bytes || entries >= self.checkpoint.entries {
                checkpointed = now;
                self.due.notify_one();
            }
        }
    }

    fn stats(&self) -> LogStats {
        LogStats {
            fsyncs: self.fsyncs.load(Ordering::Relaxed),
            entries: self.entries.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    fn close(&self) {
        self.queue.lock().closed = true;
        self.filled.notify_one();
    }

    /// Everything that is queued; `None` once the queue is closed and empty.
    fn take(&self) -> Option<Vec<(LogOp, Done)>> {
        let mut queue = self.queue.lock();
        while queue.ops.is_empty() {
            if queue.closed {
                return None;
            }
            self.filled.wait(&mut queue);
        }
        Some(std::mem::take(&mut queue.ops))
    }

    fn write(&self, ops: &[(LogOp, Done)]) -> Result<(), OdgmError> {
        // after a failure nobody knows what the file holds, so nothing is appended to it any more
        self.poison.check()?;
        let mut batch = WriteBatch::default();
        let mut sync = false;
        let (mut entries, mut bytes) = (0, 0);
        for (op, _) in ops {
            op.put(&mut batch);
            sync |= op.needs_sync();
            if let LogOp::Append { entries: appended, .. } = op {
                entries += appended.len() as u64;
                bytes += appended.iter().map(|(_, entry)| entry.len() as u64).sum::<u64>();
            }
        }
        let begun = Instant::now();
        self.write_batch(batch, sync).map_err(|error| self.poison.latch(&error))?;
        if sync {
            self.syncs.took.took(begun.elapsed());
            self.syncs.entries.observe(entries);
        }
        self.fsyncs.fetch_add(u64::from(sync), Ordering::Relaxed);
        self.entries.fetch_add(entries, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn write_batch(&self, batch: WriteBatch, sync: bool) -> Result<(), OdgmError> {
        #[cfg(test)]
        if let Some(source) = self.fault.lock().take() {
            return Err(OdgmError::Database { operation: "write the log", source: Box::new(source) });
        }
        self.db.write(batch, sync)
    }
}

#[cfg(test)]
#[path = "log_writer_tests.rs"]
mod tests;
