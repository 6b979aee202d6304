//! The partitions that this host holds, kept as the catalog says: one that it may hold is started, one that it may not is
//! stopped, and its data forgotten once nobody can need it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use oprc_mesh::catalog::{CatalogView, PartitionInfo};
use oprc_mesh::id::NodeId;
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::{GridQuestion, GridReply, Leave};
use parking_lot::RwLock;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ask::Asker;
use crate::catalog::{CATALOG_GROUP, CatalogShared};
use crate::error::OdgmError;
use crate::leadership::Leaderships;
use crate::partition::Partition;
use crate::raft::{Group, GroupContext, Machine, forget, forget_promises, is_stored};

/// How long a group's hosts may take to say whether this one may forget it.
const LEAVE_MS: u64 = 2_000;

/// See the module.
pub(crate) struct Partitions {
    context: GroupContext,
    catalog: Arc<CatalogShared>,
    running: RwLock<BTreeMap<u64, Arc<Partition>>>,
    leaderships: Arc<Leaderships>,
    tasks: TaskTracker,
    in_flight: usize,
    /// The catalog's copy here is at least as new as any that this host has ever acted on.
    current: AtomicBool,
    /// Held while partitions start and stop.
    keeping: Mutex<Keeping>,
}

#[derive(Default)]
struct Keeping {
    /// The node shuts down and none may start: a catalog change on its way would otherwise find nothing running and
    /// start everything again.
    closed: bool,
    /// Groups that do not run here and whose data is here, each with a number that changes when it stops anew.
    leftovers: BTreeMap<u64, u64>,
    stops: u64,
}

impl Partitions {
    pub(crate) fn new(
        context: GroupContext,
        catalog: Arc<CatalogShared>,
        leaderships: Arc<Leaderships>,
        tasks: TaskTracker,
        in_flight: usize,
    ) -> Result<Self, OdgmError> {
        let store = &context.store;
        let stored: BTreeSet<u64> = store.log.groups()?.into_iter().chain(store.state.groups()?).collect();
        let mut leftovers = BTreeMap::new();
        for group in stored.into_iter().filter(|group| *group != CATALOG_GROUP) {
            // of one that was forgotten the promises stay, until it is gone for good
            if is_stored(store, group)? || catalog.with(|state| state.is_dropped(group)) {
                leftovers.insert(group, 0);
            }
        }
        let keeping = Keeping { leftovers, ..Keeping::default() };
        Ok(Self {
            context,
            catalog,
            running: RwLock::default(),
            leaderships,
            tasks,
            in_flight,
            current: AtomicBool::new(false),
            keeping: Mutex::new(keeping),
        })
    }

    pub(crate) fn get(&self, group: u64) -> Option<Arc<Partition>> {
        self.running.read().get(&group).cloned()
    }

    /// All of them, in group order.
    pub(crate) fn all(&self) -> Vec<Arc<Partition>> {
        self.running.read().values().cloned().collect()
    }

    /// From now on the catalog's copy here is at least as new as before this host's last stop. A copy read from the disk
    /// after a crash may be older than what this host had already acted on: by it alone, a group that has long begun may
    /// look as if it had not.
    pub(crate) fn set_current(&self) {
        self.current.store(true, Ordering::Release);
    }

    /// See [`Self::set_current`].
    pub(crate) fn is_current(&self) -> bool {
        self.current.load(Ordering::Acquire)
    }

    /// Brings what runs in line with the catalog.
    pub(crate) async fn reconcile(&self, view: &CatalogView) -> Result<(), OdgmError> {
        let mut keeping = self.keeping.lock().await;
        if keeping.closed {
            return Ok(());
        }
        let held: BTreeMap<u64, &PartitionInfo> = self.held(view).map(|info| (info.group, info)).collect();
        let running: BTreeSet<u64> = self.running.read().keys().copied().collect();
        for group in held.keys() {
            keeping.leftovers.remove(group);
        }
        let starting = held.keys().filter(|group| !running.contains(*group));
        let started = try_join_all(starting.map(|group| self.start(*group))).await;
        let begun = join_all(held.values().map(|info| self.begin(info))).await;
        let stopping: Vec<u64> = running.into_iter().filter(|group| !held.contains_key(group)).collect();
        join_all(stopping.iter().map(|group| self.stop(*group))).await;
        for group in stopping {
            keeping.stops += 1;
            let stop = keeping.stops;
            keeping.leftovers.insert(group, stop);
        }
        started?;
        begun.into_iter().collect()
    }

    fn held<'v>(&self, view: &'v CatalogView) -> impl Iterator<Item = &'v PartitionInfo> + use<'v> {
        let me = self.context.node;
        view.partitions().filter(move |info| info.is_held_by(me))
    }

    /// Starts a partition's group; it shows among the running ones before it leads.
    async fn start(&self, group: u64) -> Result<(), OdgmError> {
        let raft = Arc::new(Group::start(&self.context, group, Machine::Partition).await?);
        let stop = CancellationToken::new();
        let (partition, proposer) =
            Partition::new(raft, self.context.poison.clone(), self.in_flight, stop.clone());
        self.tasks.spawn(partition.follow(self.leaderships.clone()));
        self.tasks.spawn(proposer.run(stop));
        self.running.write().insert(group, Arc::new(partition));
        Ok(())
    }

    /// Begins a group that is this host's to begin, and lets one serve that has begun.
    async fn begin(&self, info: &PartitionInfo) -> Result<(), OdgmError> {
        let Some(partition) = self.get(info.group) else { return Ok(()) };
        if info.founded {
            partition.open();
            return Ok(());
        }
        // only by a current catalog: by an old one this host might begin again what it began, gave away and forgot
        let mine = info.founder == self.context.node.0 && self.is_current();
        if mine && partition.raft().is_pristine().await {
            partition.raft().found(info.nodes.iter().copied().collect()).await?;
        }
        Ok(())
    }

    async fn stop(&self, group: u64) {
        let partition = self.running.write().remove(&group);
        if let Some(partition) = partition {
            partition.shutdown().await;
        }
    }

    /// Forgets the data of groups that are not held here any more, as far as nobody can need it; says whether some is left.
    ///
    /// A group that the catalog knows no more is forgotten at once: its number was given out and is in no grid, which stays
    /// so for ever, however old the catalog's copy here is. One that it knows but places elsewhere is forgotten only when
    /// the group's own leader agrees: this host is no member of it (see [`crate::questions`]). And one whose number the
    /// catalog has not given out yet, as far as this copy knows, is left alone: the copy is old.
    pub(crate) async fn sweep(&self, asker: &Asker) -> Result<bool, OdgmError> {
        let leftovers = self.keeping.lock().await.leftovers.clone();
        for (group, stop) in leftovers {
            let dropped = self.catalog.with(|state| state.is_dropped(group));
            if !dropped && !self.may_leave(group, asker).await {
                continue;
            }
            let mut keeping = self.keeping.lock().await;
            // started in between, or even started and stopped again: the answer was about another time
            if keeping.closed || keeping.leftovers.get(&group) != Some(&stop) {
                continue;
            }
            tracing::info!(group, dropped, "this host has no part in the partition any more: its data goes");
            forget(&self.context, group).await?;
            if dropped {
                forget_promises(&self.context, group).await?;
            }
            keeping.leftovers.remove(&group);
        }
        Ok(!self.keeping.lock().await.leftovers.is_empty())
    }

    /// Asks those who hold the group whether this host may forget it.
    async fn may_leave(&self, group: u64, asker: &Asker) -> bool {
        let view = self.catalog.view();
        let Some(info) = view.partition(group) else { return false };
        if info.is_held_by(self.context.node) || !self.is_current() {
            return false;
        }
        let deadline = Instant::now() + Duration::from_millis(LEAVE_MS);
        let question = || GridQuestion::Leave(Leave { group });
        let mut hosts: Vec<NodeId> = info.held.iter().copied().map(NodeId).collect();
        let mut seen = BTreeSet::new();
        while let Some(host) = hosts.pop() {
            if !seen.insert(host) || host == self.context.node {
                continue;
            }
            match asker.ask(host, question(), deadline).await {
                Ok(GridReply::Leave(leave)) => return leave.group == group,
                // the leader, if it names one, is asked next
                Err(Problem { code, leader, .. }) if code == Code::NotLeader as i32 && leader != 0 => {
                    hosts.push(NodeId(leader));
                }
                Ok(_) | Err(_) => {}
            }
        }
        false
    }

    /// Stops all of them; none is started any more.
    pub(crate) async fn shutdown(&self) {
        self.keeping.lock().await.closed = true;
        let running = std::mem::take(&mut *self.running.write());
        join_all(running.values().map(|partition| partition.shutdown())).await;
    }
}
