//! Collects what nothing refers to any more: the fields of deleted and replaced objects, and all of purged classes. It
//! is invisible to readers, so each replica does it for itself and in its own time.

use std::sync::Arc;
use std::time::Duration;

use rocksdb::WriteBatch;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::catalog::CatalogShared;
use crate::error::OdgmError;
use crate::store::{DeadHome, GroupState};

/// Records that one step deletes; between two steps others get their turn.
const STEP_RECORDS: usize = 2_000;
/// After it was told, it waits a little, so that a busy partition's garbage is collected in few passes.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs until `stop`: a pass over `groups` at the start, when there are dead homes, and when the catalog changes.
pub(crate) async fn run(
    catalog: Arc<CatalogShared>,
    collect: Arc<Notify>,
    groups: impl Fn() -> Vec<Arc<GroupState>>,
    stop: CancellationToken,
) {
    let mut changes = catalog.watch();
    loop {
        for group in groups() {
            let pass = stop.run_until_cancelled(pass(group, catalog.clone()));
            match pass.await {
                None => return,
                Some(Ok(())) => {}
                Some(Err(error)) => tracing::warn!(%error, "could not collect garbage"),
            }
        }
        tokio::select! {
            () = collect.notified() => {}
            Ok(()) = changes.changed() => {}
            () = stop.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Collects all there is in one group.
async fn pass(group: Arc<GroupState>, catalog: Arc<CatalogShared>) -> Result<(), OdgmError> {
    loop {
        let (group, catalog) = (group.clone(), catalog.clone());
        let step = move || {
            collect_purged(&group, &catalog)?;
            collect_homes(&group, STEP_RECORDS)
        };
        let panicked = |error| OdgmError::raft("collect the garbage", 0, error);
        let more = tokio::task::spawn_blocking(step).await.map_err(panicked)??;
        if !more {
            return Ok(());
        }
    }
}

/// Deletes up to `limit` fields of dead homes, and the notes of homes that are empty then; says whether there is more.
fn collect_homes(group: &GroupState, limit: usize) -> Result<bool, OdgmError> {
    let mut batch = WriteBatch::default();
    for DeadHome { note, fields: prefix } in group.dead_homes(limit)? {
        let left = limit.saturating_sub(batch.len());
        let fields = group.keys(&prefix, left)?;
        let emptied = fields.len() < left;
        for field in &fields {
            batch.delete(field);
        }
        if !emptied {
            break;
        }
        batch.delete(note);
    }
    let more = batch.len() >= limit;
    if !batch.is_empty() {
        group.db().write(batch)?;
    }
    Ok(more)
}

/// Forgets all that a group holds of purged classes.
fn collect_purged(group: &GroupState, catalog: &CatalogShared) -> Result<(), OdgmError> {
    let classes = group.classes()?;
    let purged =
        catalog.with(|state| classes.into_iter().filter(|class| state.is_purged(*class)).collect::<Vec<_>>());
    for class in purged {
        group.drop_class(class)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "janitor_tests.rs"]
mod tests;
