//! The partitions that this host holds, kept as the catalog says: one that it places here is started, one that is gone
//! is stopped and its data forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::{join_all, try_join_all};
use oprc_mesh::catalog::CatalogView;
use parking_lot::RwLock;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::catalog::CATALOG_GROUP;
use crate::error::OdgmError;
use crate::key::Space;
use crate::leadership::Leaderships;
use crate::log_writer::LogOp;
use crate::partition::Partition;
use crate::raft::{Group, GroupContext, Machine};

/// See the module.
pub(crate) struct Partitions {
    context: GroupContext,
    running: RwLock<BTreeMap<u64, Arc<Partition>>>,
    leaderships: Arc<Leaderships>,
    tasks: TaskTracker,
    in_flight: usize,
    /// Held while partitions start and stop; `true` once the node shuts down, after which none may start: a catalog
    /// change on its way would otherwise find nothing running and start everything again.
    closed: Mutex<bool>,
}

impl Partitions {
    pub(crate) fn new(
        context: GroupContext,
        leaderships: Arc<Leaderships>,
        tasks: TaskTracker,
        in_flight: usize,
    ) -> Self {
        Self { context, running: RwLock::default(), leaderships, tasks, in_flight, closed: Mutex::default() }
    }

    pub(crate) fn get(&self, group: u64) -> Option<Arc<Partition>> {
        self.running.read().get(&group).cloned()
    }

    /// All of them, in group order.
    pub(crate) fn all(&self) -> Vec<Arc<Partition>> {
        self.running.read().values().cloned().collect()
    }

    /// Brings what runs in line with the catalog.
    pub(crate) async fn reconcile(&self, view: &CatalogView) -> Result<(), OdgmError> {
        let closed = self.closed.lock().await;
        if *closed {
            return Ok(());
        }
        let wanted = placed_here(view, self.context.node.0);
        let running: BTreeSet<u64> = self.running.read().keys().copied().collect();
        let started = try_join_all(wanted.difference(&running).map(|group| self.start(*group))).await;
        let stopped = join_all(running.difference(&wanted).map(|group| self.forget(*group))).await;
        started?;
        stopped.into_iter().collect()
    }

    /// Starts a partition's group; it shows among the running ones before it leads.
    async fn start(&self, group: u64) -> Result<(), OdgmError> {
        let raft = Arc::new(Group::start(&self.context, group, Machine::Partition).await?);
        if raft.is_pristine().await {
            raft.found([self.context.node.0].into()).await?;
        }
        let stop = CancellationToken::new();
        let (partition, proposer) =
            Partition::new(raft, self.context.poison.clone(), self.in_flight, stop.clone());
        self.tasks.spawn(partition.follow(self.leaderships.clone()));
        self.tasks.spawn(proposer.run(stop));
        self.running.write().insert(group, Arc::new(partition));
        Ok(())
    }

    async fn forget(&self, group: u64) -> Result<(), OdgmError> {
        let partition = self.running.write().remove(&group);
        if let Some(partition) = partition {
            partition.shutdown().await;
        }
        self.forget_data(group).await
    }

    /// Forgets the data of groups that the catalog does not know: this host stopped before it could.
    pub(crate) async fn forget_unknown(&self, view: &CatalogView) -> Result<(), OdgmError> {
        let wanted = placed_here(view, self.context.node.0);
        let store = &self.context.store;
        let stored: BTreeSet<u64> = store.log.groups()?.into_iter().chain(store.state.groups()?).collect();
        for group in stored.difference(&wanted).filter(|group| **group != CATALOG_GROUP) {
            self.forget_data(*group).await?;
        }
        Ok(())
    }

    async fn forget_data(&self, group: u64) -> Result<(), OdgmError> {
        tracing::info!(group, "the catalog has no such partition here any more: its data goes");
        self.context.store.state.drop_range(Space::group(group).to_vec())?;
        let dropped = self.context.writer.write(LogOp::Drop { group }).await;
        dropped.map_err(|error| OdgmError::raft("forget the log", group, error))
    }

    /// Stops all of them; none is started any more.
    pub(crate) async fn shutdown(&self) {
        *self.closed.lock().await = true;
        let running = std::mem::take(&mut *self.running.write());
        join_all(running.values().map(|partition| partition.shutdown())).await;
    }
}

fn placed_here(view: &CatalogView, node: u64) -> BTreeSet<u64> {
    let partitions = view.grids.iter().flat_map(|grid| &grid.partitions);
    partitions.filter(|partition| partition.nodes.contains(&node)).map(|partition| partition.group).collect()
}
