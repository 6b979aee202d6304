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
use crate::record::StateRecord;
use crate::store::{GroupState, OwnedSnapshot, StateDb};

/// Records are copied in batches of about this size, so that memory stays flat.
const COPY_BATCH_BYTES: usize = 1024 * 1024;
const READ_AHEAD_BYTES: usize = 1024 * 1024;

/// A group's records as openraft passes them on.
pub(super) enum SnapshotData {
    /// The group here, at one moment.
    Here(Moment),
    /// Another replica's, received whole into a generation that is not the current one yet.
    Received(Space),
}

/// One group at one moment. Reads of it are lazy; while it lives the database keeps what it sees.
#[derive(Clone)]
pub(super) struct Moment {
    view: Arc<OwnedSnapshot>,
    space: Space,
}

/// A record without its group and generation, which differ from replica to replica.
pub(super) type Record = (Vec<u8>, Vec<u8>);

impl Moment {
    pub(super) fn take(group: &GroupState) -> Self {
        let space = group.space();
        Self { view: Arc::new(OwnedSnapshot::take(group.db())), space }
    }

    /// How far the log was applied.
    pub(super) fn state(&self) -> Result<StateRecord, OdgmError> {
        GroupState::state_in(&self.view, self.space)
    }

    /// What it contains, as it says itself.
    pub(super) fn meta(&self) -> Result<SnapshotMeta, OdgmError> {
        let (last_log_id, last_membership) = codec::applied(&self.state()?);
        Ok(SnapshotMeta { last_log_id, last_membership })
    }

    /// The records after `after`, in key order, up to about `bytes` of them but at least one if there is one; the
    /// applied state is not among them. Blocks.
    pub(super) fn read(&self, after: Option<&[u8]>, bytes: usize) -> Result<Vec<Record>, OdgmError> {
        let begin = self.space.begin();
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        options.fill_cache(false);
        options.set_readahead_size(READ_AHEAD_BYTES);
        if let Some(end) = successor(begin.clone()) {
            options.set_iterate_upper_bound(end);
        }
        let state = self.space.state();
        let mut stored = self.view.view().raw_iterator_opt(options);
        match after {
            // the least key past `after` is `after` with a zero byte
            Some(after) => stored.seek([&begin, after, &[0]].concat()),
            None => stored.seek(&begin),
        }
        let mut records = Vec::new();
        let mut total = 0;
        while let Some((key, value)) = stored.item() {
            if key != state {
                total += key.len() + value.len();
                if total > bytes && !records.is_empty() {
                    break;
                }
                records.push((key[begin.len()..].to_vec(), value.to_vec()));
            }
            stored.next();
        }
        stored.status().map_err(OdgmError::database("read a snapshot"))?;
        Ok(records)
    }

    /// Writes every record but the applied state into another generation, of this or another database. Blocks.
    pub(super) fn copy_to(&self, target: &StateDb, to: Space) -> Result<(), OdgmError> {
        let mut after = None;
        loop {
            let records = self.read(after.as_deref(), COPY_BATCH_BYTES)?;
            let Some((last, _)) = records.last() else { return Ok(()) };
            after = Some(last.clone());
            let mut batch = WriteBatch::default();
            for (key, value) in &records {
                batch.put([&to.begin(), key.as_slice()].concat(), value);
            }
            target.write(batch)?;
        }
    }
}

/// See the module.
pub(super) struct SnapshotBuilder {
    group: Arc<GroupState>,
    data: Option<Moment>,
    /// What has to be made durable first; `None` when a checkpoint has done it already.
    sequence: Option<u64>,
    /// Set once one was built: from then on the group offers snapshots.
    built: Arc<AtomicBool>,
}

impl SnapshotBuilder {
    pub(super) fn new(group: &Arc<GroupState>, built: &Arc<AtomicBool>) -> Self {
        let (data, sequence) = match group.take_durable() {
            Some((view, space)) => (Moment { view, space }, None),
            None => (Moment::take(group), Some(group.db().sequence())),
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
        self.group.db().counts.built.one();
        self.built.store(true, Ordering::Release);
        Ok(Snapshot { meta, snapshot: SnapshotData::Here(data) })
    }
}
