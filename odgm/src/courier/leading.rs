//! Runs something for each partition for as long as this host leads it in one term.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use oprc_mesh::wire::Leads;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::partition::Partition;

/// A leadership may be told a moment before its partition shows; then it is looked again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Runs `work` for each partition that this host comes to lead, with the term; drops it when it leads it no more. Returns
/// after `stop`, once all of them are dropped.
pub(crate) async fn while_leading<F: Future<Output = ()> + Send + 'static>(
    mut leads: watch::Receiver<Vec<Leads>>,
    partition: impl Fn(u64) -> Option<Arc<Partition>>,
    work: impl Fn(Arc<Partition>, u64) -> F,
    stop: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let mut running: BTreeMap<(u64, u64), DropGuard> = BTreeMap::new();
    loop {
        let led: BTreeSet<(u64, u64)> =
            leads.borrow_and_update().iter().map(|lead| (lead.group, lead.term)).collect();
        running.retain(|key, _| led.contains(key));
        let mut missing = false;
        for (group, term) in led.into_iter().filter(|(group, _)| *group != crate::catalog::CATALOG_GROUP) {
            if running.contains_key(&(group, term)) {
                continue;
            }
            let Some(partition) = partition(group) else {
                missing = true;
                continue;
            };
            let token = CancellationToken::new();
            tasks.spawn(token.clone().run_until_cancelled_owned(work(partition, term)));
            running.insert((group, term), token.drop_guard());
        }
        tokio::select! {
            changed = leads.changed() => if changed.is_err() { break },
            () = tokio::time::sleep(LOOK_AGAIN), if missing => {}
            () = stop.cancelled() => break,
        }
    }
    drop(running);
    tasks.close();
    tasks.wait().await;
}
