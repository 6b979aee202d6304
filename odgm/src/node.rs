//! The state grid of one host, from opening its data directory to closing it.

use std::collections::BTreeSet;
use std::sync::Arc;

use oprc_mesh::catalog::Node;
use oprc_mesh::id::NodeId;
use oprc_mesh::wire::{Leads, ReplicaStatus};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::alone::Alone;
use crate::catalog::{CATALOG_GROUP, CatalogShared};
use crate::catalog_client::Catalog;
use crate::config::OdgmConfig;
use crate::drain::{Led, drain};
use crate::error::OdgmError;
use crate::leadership::Leaderships;
use crate::log_writer::{CheckpointDue, LogWriter};
use crate::partition::Partition;
use crate::partitions::Partitions;
use crate::poison::Poison;
use crate::raft::{Exchange, Group, GroupContext, Machine};
use crate::store::Store;
use crate::types::LogStats;
use crate::{checkpoint, janitor};

/// The Object Data Grid Manager: this host's partitions and its copy of the catalog.
pub struct Odgm {
    context: GroupContext,
    catalog: Catalog,
    catalog_group: Arc<Group>,
    partitions: Arc<Partitions>,
    leaderships: Arc<Leaderships>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Odgm {
    /// Opens the data directory, creating what is missing. A new one founds its catalog with this host as the only
    /// node and the shared grid on it. Returns once every partition placed here is led.
    ///
    /// # Errors
    /// The directory cannot be used, is held by another process, or was written by a newer version; or storage fails.
    pub async fn open(config: OdgmConfig) -> Result<Arc<Self>, OdgmError> {
        let poison = Poison::new();
        let store = open_store(config.clone(), poison.clone()).await?;
        let due = CheckpointDue { bytes: config.checkpoint_bytes, entries: config.checkpoint_entries };
        let writer = LogWriter::start(store.log.clone(), poison.clone(), due)?;
        let context = GroupContext {
            node: store.node(),
            store: Arc::new(store),
            writer,
            poison,
            exchange: Exchange::new(Arc::new(Alone::new())),
            collect: Arc::default(),
        };
        let shared = Arc::new(CatalogShared::new());
        let catalog_group =
            Arc::new(Group::start(&context, CATALOG_GROUP, Machine::Catalog(shared.clone())).await?);
        if catalog_group.is_pristine().await {
            catalog_group.found([context.node.0].into()).await?;
        }
        let (tasks, leaderships) = (TaskTracker::new(), Arc::new(Leaderships::new(context.node)));
        tasks.spawn(leaderships.clone().follow(CATALOG_GROUP, catalog_group.follow(), Arc::default()));
        let partitions =
            Partitions::new(context.clone(), leaderships.clone(), tasks.clone(), config.entries_in_flight);
        let odgm = Arc::new(Self {
            catalog: Catalog::new(catalog_group.clone(), shared.clone(), context.poison.clone()),
            catalog_group,
            partitions: Arc::new(partitions),
            leaderships,
            tasks,
            stop: CancellationToken::new(),
            context,
        });
        if let Err(error) = odgm.found(config.zone).await {
            // what was started must not go on behind the caller's back
            odgm.shutdown().await;
            return Err(error);
        }
        odgm.spawn_background(&shared);
        Ok(odgm)
    }

    /// Leads the catalog, shows this host in it, and starts what it places here.
    async fn found(&self, zone: String) -> Result<(), OdgmError> {
        self.wait_to_lead(|led| led.contains(&CATALOG_GROUP)).await?;
        self.catalog.set_node(Node { id: self.node_id().0, zone }).await?;
        let view = self.catalog.view();
        self.partitions.forget_unknown(&view).await?;
        self.partitions.reconcile(&view).await?;
        let all: Vec<u64> = self.partitions().iter().map(|partition| partition.group()).collect();
        self.wait_to_lead(|led| all.iter().all(|group| led.contains(group))).await
    }

    async fn wait_to_lead(&self, enough: impl Fn(&[u64]) -> bool) -> Result<(), OdgmError> {
        let mut leads = self.leadership();
        let mut poisoned = self.poisoned();
        let led = leads.wait_for(|leads| {
            let groups: Vec<u64> = leads.iter().map(|leads| leads.group).collect();
            enough(&groups)
        });
        tokio::select! {
            led = led => led.map(drop).map_err(|error| OdgmError::raft("lead the log", CATALOG_GROUP, error)),
            _ = poisoned.wait_for(Option::is_some) => self.context.poison.check(),
        }
    }

    fn spawn_background(&self, shared: &Arc<CatalogShared>) {
        let (partitions, catalog_group) = (self.partitions.clone(), self.catalog_group.clone());
        let groups = move || {
            let mut groups = vec![catalog_group.clone()];
            groups.extend(partitions.all().iter().map(|partition| partition.raft().clone()));
            groups
        };
        let states = {
            let partitions = self.partitions.clone();
            move || partitions.all().iter().map(|partition| partition.raft().state().clone()).collect()
        };
        let (context, stop) = (&self.context, &self.stop);
        let checkpoints =
            checkpoint::run(context.store.state.clone(), context.writer.clone(), groups, stop.clone());
        self.tasks.spawn(checkpoints);
        self.tasks.spawn(janitor::run(shared.clone(), context.collect.clone(), states, stop.clone()));
        self.tasks.spawn(follow_catalog(self.partitions.clone(), shared.watch(), stop.clone()));
    }

    /// This host's id, made once and kept in the data directory.
    pub fn node_id(&self) -> NodeId {
        self.context.node
    }

    /// The catalog.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The partition of a Raft group, when it is held here.
    pub fn partition(&self, group: u64) -> Option<Arc<Partition>> {
        self.partitions.get(group)
    }

    /// All partitions held here, in group order; the catalog's group is not among them.
    pub fn partitions(&self) -> Vec<Arc<Partition>> {
        self.partitions.all()
    }

    /// Follows the groups that this node leads, in group order, the catalog's included. A group shows once an entry of
    /// the leader's own term is applied.
    pub fn leadership(&self) -> watch::Receiver<Vec<Leads>> {
        self.leaderships.watch()
    }

    /// Becomes `Some` with the reason once storage failed; from then on nothing is served.
    pub fn poisoned(&self) -> watch::Receiver<Option<String>> {
        self.context.poison.watch()
    }

    /// What the log has done since it was opened.
    pub fn log_stats(&self) -> LogStats {
        self.context.writer.stats()
    }

    /// The hosts that vote on the catalog.
    pub fn catalog_voters(&self) -> BTreeSet<NodeId> {
        self.catalog_group.members().voters.into_iter().map(NodeId).collect()
    }

    /// How far this host's replica of the catalog is.
    pub fn catalog_status(&self) -> ReplicaStatus {
        self.catalog_group.status()
    }

    /// Hands what this host leads to other hosts, and stands for election no more: to be called before a shutdown, while
    /// the mesh still serves. Takes 5 s at the most; gives how many groups it leads still.
    pub async fn drain(&self) -> usize {
        let catalog = Led { group: self.catalog_group.clone(), partition: None };
        let partitions = self.partitions.all().into_iter();
        let led = partitions
            .map(|partition| Led { group: partition.raft().clone(), partition: Some(partition) })
            .chain([catalog]);
        drain(led.collect(), self.context.exchange.peers(), self.node_id()).await
    }

    /// Takes no further commits, waits for those under way, makes everything durable and stops all that runs. The data
    /// directory stays locked until the last handle to it (this, partitions, readers) is dropped.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.partitions.shutdown().await;
        self.catalog_group.shutdown().await;
        self.tasks.close();
        self.tasks.wait().await;
        let (state, writer) = (self.context.store.state.clone(), self.context.writer.clone());
        let closed = tokio::task::spawn_blocking(move || {
            writer.stop();
            state.flush_through(state.sequence())
        });
        match closed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "the state was not flushed; it is replayed at the next start");
            }
            Err(error) => tracing::error!(%error, "the shutdown panicked"),
        }
    }
}

impl Drop for Odgm {
    /// Without a shutdown the background stops, but nothing waits for it.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn open_store(config: OdgmConfig, poison: Poison) -> Result<Store, OdgmError> {
    let path = config.data_dir.clone();
    let opened = tokio::task::spawn_blocking(move || Store::open(&config, &poison)).await;
    opened.map_err(|error| OdgmError::io("open", &path)(std::io::Error::other(error)))?
}

/// Starts and stops partitions as the catalog changes.
async fn follow_catalog(
    partitions: Arc<Partitions>,
    mut views: watch::Receiver<Arc<oprc_mesh::catalog::CatalogView>>,
    stop: CancellationToken,
) {
    loop {
        let view = views.borrow_and_update().clone();
        if let Err(error) = partitions.reconcile(&view).await {
            tracing::error!(%error, "could not follow the catalog");
        }
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
