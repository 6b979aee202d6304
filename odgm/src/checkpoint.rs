//! Checkpoints: one flush of the state database makes what all groups have applied durable; then their logs may be
//! purged up to there. They bound the log on the disk and the replay after a crash.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::error::OdgmError;
use crate::log_writer::LogWriter;
use crate::raft::Group;
use crate::store::{OwnedSnapshot, StateDb};

/// Takes a checkpoint whenever the log writer says that one is due. `groups` gives the running ones.
pub(crate) async fn run(
    state: Arc<StateDb>,
    writer: LogWriter,
    groups: impl Fn() -> Vec<Arc<Group>>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = writer.checkpoint_due() => {}
            () = stop.cancelled() => return,
        }
        if let Err(error) = take(&state, groups()).await {
            // a failed flush has poisoned the node, so the reason is told there as well
            tracing::error!(%error, "no checkpoint");
        }
    }
}

/// Takes one checkpoint of these groups.
pub(crate) async fn take(state: &Arc<StateDb>, groups: Vec<Arc<Group>>) -> Result<(), OdgmError> {
    let moved: Vec<_> = groups.into_iter().filter(|group| group.has_moved()).collect();
    let spaces: Vec<_> = moved.iter().map(|group| group.state().space()).collect();
    let flush = {
        let state = state.clone();
        move || {
            let view = Arc::new(OwnedSnapshot::take(&state));
            state.flush_through(state.sequence())?;
            Ok(view)
        }
    };
    let panicked = |error| OdgmError::raft("checkpoint the state", 0, error);
    let view = tokio::task::spawn_blocking(flush).await.map_err(panicked)??;
    for (group, space) in moved.into_iter().zip(spaces) {
        group.state().offer_durable(&view, space);
        group.checkpoint().await;
    }
    Ok(())
}
