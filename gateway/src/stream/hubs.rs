//! The hubs of a gateway: one for each class that is watched, for as long as it is.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use oprc_mesh::id::ClassName;
use oprc_mesh::metrics::Count;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use super::hub::Hub;
use super::queue::{Budget, Queue};

/// Memory for all that waits for readers. Past it, those for whom anything waits are cut off.
const HELD_BYTES_MAX: usize = 256 * 1024 * 1024;

/// See the module.
pub(crate) struct Hubs {
    open: Mutex<HashMap<ClassName, Arc<Hub>>>,
    readers: AtomicUsize,
    readers_max: usize,
    readers_shed: Count,
    budget: Arc<Budget>,
    /// What fills the hubs.
    pub(crate) tasks: TaskTracker,
}

/// One who needs a hub: without any it stops.
pub(crate) struct Hold {
    hubs: Arc<Hubs>,
    hub: Arc<Hub>,
}

/// A reader's place among those that this gateway takes.
pub(crate) struct Seat(Arc<Hubs>);

impl Hubs {
    pub(crate) fn new(readers_max: usize) -> Arc<Self> {
        Arc::new(Self {
            open: Mutex::default(),
            readers: AtomicUsize::new(0),
            readers_max,
            readers_shed: Count::default(),
            budget: Budget::new(HELD_BYTES_MAX),
            tasks: TaskTracker::new(),
        })
    }

    /// A place for one more reader; none when all are taken.
    pub(crate) fn seat(self: &Arc<Self>) -> Option<Seat> {
        let seat = Seat(self.clone()); // counted at once and given back on refusal
        if self.readers.fetch_add(1, Ordering::Relaxed) < self.readers_max {
            return Some(seat);
        }
        self.readers_shed.one();
        None
    }

    /// How many places are taken.
    pub(crate) fn readers(&self) -> usize {
        self.readers.load(Ordering::Relaxed)
    }

    /// How many found none so far.
    pub(crate) fn readers_shed(&self) -> u64 {
        self.readers_shed.get()
    }

    /// A queue for a reader of something else than a hub's events.
    pub(crate) fn queue(&self) -> Arc<Queue> {
        Queue::new(&self.budget, false)
    }

    pub(crate) fn readers_max(&self) -> usize {
        self.readers_max
    }

    /// The hub of a class, whose grid has these partitions; and whether it is new. One that is over, or of another class of
    /// that name, is left to those who hold it.
    pub(crate) fn hold(self: &Arc<Self>, class: &ClassName, number: u64, groups: &[u64]) -> (Hold, bool) {
        let mut hubs = self.open.lock();
        let known = hubs.get(class).filter(|hub| hub.is_of(number, groups)).cloned();
        let is_new = known.is_none();
        let hub = known.unwrap_or_else(|| {
            let hub = Arc::new(Hub::new(class.clone(), number, groups.to_vec(), self.budget.clone()));
            hubs.insert(class.clone(), hub.clone());
            hub
        });
        hub.holds.fetch_add(1, Ordering::Relaxed);
        (Hold { hubs: self.clone(), hub }, is_new)
    }
}

impl Hold {
    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut hubs = self.hubs.open.lock(); // kept, so that nobody takes hold in between
        if self.hub.holds.fetch_sub(1, Ordering::Relaxed) > 1 {
            return;
        }
        self.hub.stop.cancel();
        if let Entry::Occupied(entry) = hubs.entry(self.hub.class().clone())
            && Arc::ptr_eq(entry.get(), &self.hub)
        {
            entry.remove();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.readers.fetch_sub(1, Ordering::Relaxed);
    }
}
