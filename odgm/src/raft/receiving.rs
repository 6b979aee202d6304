//! Receives a snapshot: each piece becomes a file of its own in a new replica generation, so that memory stays flat
//! whatever the size; with the last one the generation takes the place of the old one. Whatever interrupts it, the old
//! state stays whole until then.

use std::sync::Arc;

use openraft::Raft;
use tokio::sync::Mutex;

use super::codec;
use super::snapshot::SnapshotData;
use super::state_machine::StateMachine;
use super::types::{Snapshot, SnapshotMeta, TypeConfig};
use super::wire::{Chunk, Pair, Stored};
use crate::error::OdgmError;
use crate::key::Space;
use crate::record::StateRecord;
use crate::store::GroupState;

/// See the module.
pub(super) struct Receiving {
    group: Arc<GroupState>,
    // held over a piece's writing: pieces of one transfer come in order, and another transfer waits
    current: Mutex<Option<Transfer>>,
}

/// A transfer under way.
struct Transfer {
    from: u64,
    number: u64,
    next: u64,
    to: Space,
    last: Vec<u8>,
}

impl Receiving {
    pub(super) fn new(group: &Arc<GroupState>) -> Self {
        Self { group: group.clone(), current: Mutex::new(None) }
    }

    /// Takes one piece; returns when it is on the disk, and with the last one when the snapshot is installed.
    pub(super) async fn take(
        &self,
        raft: &Raft<TypeConfig, StateMachine>,
        from: u64,
        chunk: Chunk,
    ) -> Result<Stored, String> {
        let mut current = self.current.lock().await;
        if chunk.piece == 0 {
            *current = None;
            let to = self.begin().await.map_err(|error| error.to_string())?;
            *current = Some(Transfer { from, number: chunk.transfer, next: 0, to, last: Vec::new() });
        }
        let transfer = current.as_mut().ok_or("the transfer has not begun")?;
        if (transfer.from, transfer.number, transfer.next) != (from, chunk.transfer, chunk.piece) {
            return Err(format!("piece {} does not follow on", chunk.piece));
        }
        check_order(&transfer.last, &chunk.records)?;
        if let Some(last) = chunk.records.last() {
            transfer.last = last.key.to_vec();
            let stored = self.store(transfer.to, chunk.records).await;
            if let Err(error) = stored {
                *current = None;
                return Err(error.to_string());
            }
        }
        transfer.next += 1;
        let Some(end) = chunk.end else { return Ok(Stored::default()) };
        let to = transfer.to;
        *current = None;
        install(raft, chunk.vote, to, &end).await
    }

    async fn begin(&self) -> Result<Space, OdgmError> {
        let group = self.group.clone();
        blocking(move || group.next_space()).await
    }

    async fn store(&self, to: Space, records: Vec<Pair>) -> Result<(), OdgmError> {
        let db = self.group.db().clone();
        blocking(move || db.ingest(to, records.iter().map(|pair| (&*pair.key, &*pair.value)))).await
    }
}

/// Keys ascend over all pieces: a file must be in order, and two of them must not overlap.
fn check_order(last: &[u8], records: &[Pair]) -> Result<(), String> {
    let mut before = last;
    for record in records {
        if &*record.key <= before {
            return Err("its keys are not in order".to_owned());
        }
        before = &record.key;
    }
    Ok(())
}

async fn install(
    raft: &Raft<TypeConfig, StateMachine>,
    vote: crate::record::VoteRecord,
    to: Space,
    end: &StateRecord,
) -> Result<Stored, String> {
    let (last_log_id, last_membership) = codec::applied(end);
    let meta = SnapshotMeta { last_log_id, last_membership };
    let snapshot = Snapshot { meta, snapshot: SnapshotData::Received(to) };
    let response = raft.install_full_snapshot(codec::vote(vote), snapshot).await;
    let response = response.map_err(|error| error.to_string())?;
    Ok(Stored { vote: Some(codec::vote_record(&response.vote)) })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OdgmError> + Send + 'static,
) -> Result<T, OdgmError> {
    let failed = |error| OdgmError::raft("receive a snapshot", 0, error);
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}
