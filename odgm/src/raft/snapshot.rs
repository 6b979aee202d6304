//! Snapshots of one group. Building one copies nothing: it makes durable what the group has applied and names that.
//! Only when a follower wants it are its records read, from a consistent view of the database, in pieces.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openraft::storage::RaftSnapshotBuilder;
use rocksdb::{ReadOptions, WriteBatch};

use super::codec;
use super::types::{Snapshot, SnapshotMeta, TypeConfig};
use crate::error::OdgmError;
use crate::key::{Space, successor};
use crate::store::{GroupState, OwnedSnapshot, StateDb};

/// Records are copied in batches of about this size, so that memory stays flat.
const COPY_BATCH_BYTES: usize = 1024 * 1024;

/// One group at one moment. Reads of it are lazy; while it lives the database keeps what it sees.
pub(super) struct SnapshotData {
    view: Arc<OwnedSnapshot>,
    space: Space,
}

impl SnapshotData {
    pub(super) fn take(group: &GroupState) -> Self {
        let space = group.space();
        Self { view: Arc::new(OwnedSnapshot::take(group.db())), space }
    }

    /// What it contains, as it says itself.
    pub(super) fn meta(&self) -> Result<SnapshotMeta, OdgmError> {
        let (last_log_id, last_membership) = codec::applied(&GroupState::state_in(&self.view, self.space)?);
        Ok(SnapshotMeta { last_log_id, last_membership })
    }

    /// Writes every record but the applied state into another generation, of this or another database. Blocks.
    pub(super) fn copy_to(&self, target: &StateDb, to: Space) -> Result<(), OdgmError> {
        let begin = self.space.begin();
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        options.fill_cache(false);
        if let Some(end) = successor(begin.clone()) {
            options.set_iterate_upper_bound(end);
        }
        let state = self.space.state();
        let mut records = self.view.view().raw_iterator_opt(options);
        let mut batch = WriteBatch::default();
        records.seek(&begin);
        while let Some((key, value)) = records.item() {
            if key != state {
                batch.put([&to.begin(), &key[begin.len()..]].concat(), value);
            }
            if batch.size_in_bytes() >= COPY_BATCH_BYTES {
                target.write(std::mem::take(&mut batch))?;
            }
            records.next();
        }
        records.status().map_err(OdgmError::database("read a snapshot"))?;
        target.write(batch)
    }
}

/// See the module.
pub(super) struct SnapshotBuilder {
    group: Arc<GroupState>,
    data: Option<SnapshotData>,
    /// What has to be made durable first; `None` when a checkpoint has done it already.
    sequence: Option<u64>,
    /// Set once one was built: from then on the group offers snapshots.
    built: Arc<AtomicBool>,
}

impl SnapshotBuilder {
    pub(super) fn new(group: &Arc<GroupState>, built: &Arc<AtomicBool>) -> Self {
        let (data, sequence) = match group.take_durable() {
            Some((view, space)) => (SnapshotData { view, space }, None),
            None => (SnapshotData::take(group), Some(group.db().sequence())),
        };
        Self { group: group.clone(), data: Some(data), sequence, built: built.clone() }
    }
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let data = self.data.take().ok_or_else(|| io::Error::other("a snapshot builder builds once"))?;
        let meta = data.meta()?;
        // openraft purges the log up to a snapshot, so what it names must be durable before it is named
        if let Some(sequence) = self.sequence {
            let db = self.group.db().clone();
            tokio::task::spawn_blocking(move || db.flush_through(sequence))
                .await
                .map_err(io::Error::other)??;
        }
        self.built.store(true, Ordering::Release);
        Ok(Snapshot { meta, snapshot: data })
    }
}
