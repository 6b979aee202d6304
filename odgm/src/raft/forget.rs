//! Forgetting a group that this host has no part in any more: its data goes, its promises stay.
//!
//! A replica that lost its log could help a candidate to leadership that lacks entries which this very replica had
//! acknowledged; and one that lost its vote could vote twice in a term. So when the data goes, the vote stays, and beside it
//! the last log id: should the group come back to this host, its replica begins empty but grants its vote to nobody whose
//! log ends before that (see [`super::inbound`]).
//!
//! The order: note it and drop the log, in one synced write; drop the state and flush; note that it is done. What a crash
//! interrupts is finished at the next start, before any group is started: a log without its state, or a state without its
//! log, is never taken for a replica.

use prost::Message as _;

use super::codec;
use super::group::GroupContext;
use crate::error::OdgmError;
use crate::key::Space;
use crate::log_writer::LogOp;
use crate::record::{FORMAT, ForgottenRecord, LogIdRecord};
use crate::store::{GroupState, Store};

/// Whether there is anything of a group here beside its promises.
pub(crate) fn is_stored(store: &Store, group: u64) -> Result<bool, OdgmError> {
    let extent = store.log.extent(group)?;
    let cleared = extent.forgotten.is_some_and(|mark| mark.cleared);
    Ok(!cleared || extent.last.is_some() || extent.purged.is_some() || store.state.holds(group)?)
}

/// Forgets what is stored of a group that does not run here; its promises stay.
pub(crate) async fn forget(context: &GroupContext, group: u64) -> Result<(), OdgmError> {
    let last = last(&context.store, group)?;
    note(context, group, last, false).await?;
    clear(context, group, last).await
}

/// Forgets the promises as well: the group is gone, and its number is never used again.
pub(crate) async fn forget_promises(context: &GroupContext, group: u64) -> Result<(), OdgmError> {
    let dropped = context.writer.write(LogOp::Drop { group }).await;
    dropped.map_err(|error| OdgmError::raft("forget the log", group, error))
}

/// Finishes what a crash interrupted.
pub(crate) async fn finish(context: &GroupContext) -> Result<(), OdgmError> {
    for group in context.store.log.groups()? {
        if let Some(mark) = context.store.log.extent(group)?.forgotten.filter(|mark| !mark.cleared) {
            clear(context, group, mark.last).await?;
        }
    }
    Ok(())
}

/// The last log id that this host ever had of the group.
fn last(store: &Store, group: u64) -> Result<Option<LogIdRecord>, OdgmError> {
    let extent = store.log.extent(group)?;
    let entry = extent.last.map(|(index, bytes)| codec::entry_log_id(index, &bytes)).transpose()?;
    let applied = GroupState::open(&store.state, group)?.state()?.applied;
    let ids = [
        entry.map(|id| codec::log_id_record(&id)),
        extent.purged.map(|mark| mark.upto),
        extent.forgotten.and_then(|mark| mark.last),
        applied,
    ];
    Ok(ids.into_iter().flatten().max_by_key(|id| (id.term, id.index)))
}

async fn clear(context: &GroupContext, group: u64, last: Option<LogIdRecord>) -> Result<(), OdgmError> {
    let state = context.store.state.clone();
    let clearing = tokio::task::spawn_blocking(move || {
        state.drop_range(Space::group(group).to_vec())?;
        state.flush_through(state.sequence())
    });
    clearing.await.map_err(|error| OdgmError::raft("forget the state", group, error))??;
    note(context, group, last, true).await
}

async fn note(
    context: &GroupContext,
    group: u64,
    last: Option<LogIdRecord>,
    cleared: bool,
) -> Result<(), OdgmError> {
    let mark = ForgottenRecord { format: FORMAT, last, cleared }.encode_to_vec();
    let noted = context.writer.write(LogOp::Forget { group, mark }).await;
    noted.map_err(|error| OdgmError::raft("forget the log", group, error))
}
