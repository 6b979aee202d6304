//! The state grid of one host, from opening its data directory to closing it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use oprc_mesh::catalog::{CatalogView, NodeState};
use oprc_mesh::id::NodeId;
use oprc_mesh::outcome::Problem;
use oprc_mesh::wire::{GridAnswer, GridAsk, Leads, ReplicaStatus};
use oprc_mesh::{Peers, Receiver};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::alone::Alone;
use crate::ask::Asker;
use crate::bootstrap::{self, Bootstrap};
use crate::catalog::{CATALOG_GROUP, CatalogShared};
use crate::catalog_client::Catalog;
use crate::config::{Joining, OdgmConfig};
use crate::control::{Driver, Rules, Signals, Steered};
use crate::courier::{Office, while_leading};
use crate::drain::{Led, drain};
use crate::error::OdgmError;
use crate::identity::Identity;
use crate::leadership::Leaderships;
use crate::log_writer::{CheckpointDue, LogWriter};
use crate::partition::Partition;
use crate::partitions::Partitions;
use crate::poison::Poison;
use crate::questions::Questions;
use crate::raft::{Exchange, Group, GroupContext, Inlet, Machine, finish_forgetting};
use crate::store::Store;
use crate::types::LogStats;
use crate::{checkpoint, janitor};

/// Data that this host may not forget yet is asked about again after so long.
const SWEEP_MS: u64 = 2_000;

/// An opened data directory: which host this is, before it joins the mesh under that id.
pub struct Prepared {
    config: OdgmConfig,
    store: Arc<Store>,
    poison: Poison,
}

/// The Object Data Grid Manager: this host's partitions and its copy of the catalog.
pub struct Odgm {
    context: GroupContext,
    catalog: Arc<Catalog>,
    catalog_group: Arc<Group>,
    partitions: Arc<Partitions>,
    leaderships: Arc<Leaderships>,
    questions: Questions,
    bootstrap: Bootstrap,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Prepared {
    /// This host's id, made once and kept in the data directory.
    pub fn node_id(&self) -> NodeId {
        self.store.node()
    }

    /// Starts what the data directory holds. It serves what it leads from then on; a host that is new belongs to a cluster
    /// only after [`Odgm::ready`].
    ///
    /// # Errors
    /// Storage fails, or what is stored cannot be read.
    pub async fn start(self, peers: Arc<dyn Peers>) -> Result<Arc<Odgm>, OdgmError> {
        let context = self.context(&peers)?;
        let Self { config, poison, .. } = self;
        let node = context.node;
        let expect = match config.joining {
            Joining::Alone => 1,
            Joining::Expect(hosts) => hosts.max(1),
            Joining::Join => 0,
        };
        finish_forgetting(&context).await?;
        let identity = Arc::new(Identity::open(&context.store, expect)?);
        context.exchange.set_cluster(identity.cluster());
        let asker = Asker::new(peers.clone(), identity.clone());
        let shared = Arc::new(CatalogShared::new());
        let group = Arc::new(Group::start(&context, CATALOG_GROUP, Machine::Catalog(shared.clone())).await?);
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let leaderships = Arc::new(Leaderships::new(node));
        let always = watch::channel(true).1;
        tasks.spawn(leaderships.clone().follow(CATALOG_GROUP, group.follow(), Arc::default(), always));
        let catalog =
            Arc::new(Catalog::new(group.clone(), shared.clone(), poison, asker.clone(), stop.clone()));
        let partitions = Arc::new(Partitions::new(
            context.clone(),
            shared.clone(),
            leaderships.clone(),
            tasks.clone(),
            config.entries_in_flight,
        )?);
        let questions = Questions {
            identity: identity.clone(),
            catalog: catalog.clone(),
            partitions: partitions.clone(),
        };
        let bootstrap = Bootstrap {
            identity,
            asker: asker.clone(),
            catalog: catalog.clone(),
            group: group.clone(),
            exchange: context.exchange.clone(),
            zone: config.zone,
            alone: config.joining == Joining::Alone,
            expect,
            replicas: config.replicas,
        };
        let odgm = Odgm {
            context,
            catalog,
            catalog_group: group,
            partitions,
            leaderships,
            questions,
            bootstrap,
            tasks,
            stop,
        };
        odgm.spawn_background(
            &shared,
            &*peers,
            asker,
            Rules { grace: config.grace, moves_max: config.moves_max },
        );
        Ok(Arc::new(odgm))
    }
}

impl Prepared {
    fn context(&self, peers: &Arc<dyn Peers>) -> Result<GroupContext, OdgmError> {
        let due =
            CheckpointDue { bytes: self.config.checkpoint_bytes, entries: self.config.checkpoint_entries };
        Ok(GroupContext {
            node: self.store.node(),
            store: self.store.clone(),
            writer: LogWriter::start(self.store.log.clone(), self.poison.clone(), due)?,
            poison: self.poison.clone(),
            exchange: Exchange::new(peers.clone()),
            collect: Arc::default(),
        })
    }
}

impl Odgm {
    /// Opens the data directory, creating what is missing, and locks it.
    ///
    /// # Errors
    /// The directory cannot be used, is held by another process, has lost its databases, or was written by a newer version.
    pub async fn prepare(config: OdgmConfig) -> Result<Prepared, OdgmError> {
        let poison = Poison::new();
        let store = Arc::new(open_store(config.clone(), poison.clone()).await?);
        Ok(Prepared { config, store, poison })
    }

    /// Opens the grid of a host that is alone. A new one founds its cluster with itself as the only host and the shared
    /// grid on it. Returns once every partition placed here is led.
    ///
    /// # Errors
    /// As [`Self::prepare`] and [`Self::ready`].
    pub async fn open(config: OdgmConfig) -> Result<Arc<Self>, OdgmError> {
        let prepared = Self::prepare(config).await?;
        let odgm = prepared.start(Arc::new(Alone::new())).await?;
        if let Err(error) = odgm.ready().await {
            // what was started must not go on behind the caller's back
            odgm.shutdown().await;
            return Err(error);
        }
        Ok(odgm)
    }

    /// Returns once this host belongs to its cluster: it has founded or joined one, the catalog has it, and its copy of the
    /// catalog is current; with no other host in the cluster also once it leads every partition. It waits for other
    /// hosts as long as it takes, and logs for whom.
    ///
    /// # Errors
    /// The host was removed from its cluster; or only hosts of another one are on the mesh; or storage fails.
    pub async fn ready(&self) -> Result<(), OdgmError> {
        let mut poisoned = self.poisoned();
        tokio::select! {
            joined = bootstrap::run(&self.bootstrap) => joined?,
            _ = poisoned.wait_for(Option::is_some) => self.context.poison.check()?,
        }
        self.partitions.set_current();
        let view = self.catalog.view();
        self.partitions.reconcile(&view).await?;
        if view.nodes.iter().any(|node| node.id != self.node_id().0) {
            return Ok(());
        }
        let all: Vec<u64> = self.partitions().iter().map(|partition| partition.group()).collect();
        self.wait_to_lead(|led| all.iter().all(|group| led.contains(group))).await
    }

    /// Takes what other hosts' grids post; to be handed to the mesh before this host serves on it.
    pub fn receiver(&self) -> Arc<dyn Receiver> {
        Arc::new(Inlet(Arc::downgrade(&self.context.exchange)))
    }

    /// Whether this host belongs to its cluster and its copy of the catalog is current.
    pub fn is_ready(&self) -> bool {
        self.partitions.is_current()
    }

    /// Answers another host's grid.
    ///
    /// # Errors
    /// What the asking host gets instead of an answer.
    pub async fn answer(&self, ask: GridAsk, deadline: Instant) -> Result<GridAnswer, Problem> {
        self.questions.answer(ask, deadline).await
    }

    /// Returns once the catalog, or another host, says that this host was removed from the cluster for good; it is to stop
    /// then.
    pub async fn removed(&self) {
        let (me, mut views) = (self.node_id(), self.catalog.watch());
        let gone =
            |view: &Arc<CatalogView>| view.node(me).is_some_and(|node| node.state() == NodeState::Removed);
        let shown = async {
            if views.wait_for(gone).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = shown => {}
            () = bootstrap::removed(&self.bootstrap) => {}
        }
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

    fn spawn_background(&self, shared: &Arc<CatalogShared>, peers: &dyn Peers, asker: Asker, rules: Rules) {
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
        let steered = {
            let groups = groups.clone();
            move || groups().into_iter().map(|group| group as Arc<dyn Steered>).collect()
        };
        let driver = Driver::new(self.node_id(), self.catalog.clone(), steered, rules);
        let signals = Signals {
            views: shared.watch(),
            nodes: peers.watch_nodes(),
            standings: self.leaderships.moved(),
        };
        self.tasks.spawn(driver.run(signals, stop.clone()));
        let checkpoints =
            checkpoint::run(context.store.state.clone(), context.writer.clone(), groups, stop.clone());
        self.tasks.spawn(checkpoints);
        self.tasks.spawn(context.exchange.clone().run(stop.clone()));
        self.tasks.spawn(janitor::run(shared.clone(), context.collect.clone(), states, stop.clone()));
        self.spawn_couriers(shared, asker.clone());
        self.tasks.spawn(follow_catalog(self.partitions.clone(), shared.watch(), asker, stop.clone()));
    }

    fn spawn_couriers(&self, shared: &Arc<CatalogShared>, asker: Asker) {
        let partitions = self.partitions.clone();
        let office = Arc::new(Office { asker, partitions: partitions.clone(), catalog: shared.clone() });
        let held = move |group| partitions.get(group);
        let serve = move |partition, _| office.clone().serve(partition);
        self.tasks.spawn(while_leading(self.leadership(), held, serve, self.stop.clone()));
    }

    /// Runs `work` for each partition while this host leads it, with the term; it is dropped when the leadership ends.
    /// Returns after `stop`.
    pub async fn while_leading<F: Future<Output = ()> + Send + 'static>(
        &self,
        work: impl Fn(Arc<Partition>, u64) -> F,
        stop: CancellationToken,
    ) {
        while_leading(self.leadership(), |group| self.partition(group), work, stop).await;
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

    /// What there is to tell metrics of.
    pub(crate) fn parts(&self) -> (&GroupContext, &Leaderships, &Arc<Group>) {
        (&self.context, &self.leaderships, &self.catalog_group)
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
        self.context.exchange.drain().await;
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

/// Starts and stops partitions as the catalog changes, and forgets what nobody needs any more.
async fn follow_catalog(
    partitions: Arc<Partitions>,
    mut views: watch::Receiver<Arc<CatalogView>>,
    asker: Asker,
    stop: CancellationToken,
) {
    loop {
        let view = views.borrow_and_update().clone();
        let reconciled = partitions.reconcile(&view).await;
        let swept = stop.run_until_cancelled(partitions.sweep(&asker)).await;
        let left = match (reconciled, swept) {
            (Err(error), _) | (Ok(()), Some(Err(error))) => {
                tracing::error!(%error, "could not follow the catalog; trying again");
                true
            }
            (Ok(()), Some(Ok(left))) => left,
            (Ok(()), None) => return,
        };
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(Duration::from_millis(SWEEP_MS)), if left => {}
            () = stop.cancelled() => return,
        }
    }
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
