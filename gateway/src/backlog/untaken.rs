//! What waits for all readers together: its bound, and who makes room.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use oprc_mesh::metrics::Count;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Backlog, Stand, Why};

/// From this part of the bound on what is slow is given up.
const PRESSURE_PART: usize = 2;
/// What was let in before the bound was reached may take so many times as much. Only what is small may take more.
const CEILING: usize = 2;
/// It is looked no more often than this what is slow.
const RELIEF_MS: u64 = 100;

/// See the module.
pub(crate) struct Untaken {
    begun: Instant,
    /// By so much a test puts the clock forward: milliseconds.
    #[cfg(test)]
    pub(super) forward: AtomicUsize,
    bytes: AtomicUsize,
    bytes_max: usize,
    registry: Mutex<Registry>,
    /// Answers that were given up because they were stuck, or slow when memory was short, and such as found none.
    pub(crate) stuck: Count,
    pub(crate) slow: Count,
    pub(crate) dropped: Count,
}

/// There is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("answers that their readers do not take use up the memory that is set aside for them")]
pub(crate) struct NoMemory;

#[derive(Default)]
struct Registry {
    backlogs: Vec<Weak<Backlog>>,
    /// It is not looked before.
    next_ms: u64,
}

impl Untaken {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            #[cfg(test)]
            forward: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            bytes_max,
            registry: Mutex::default(),
            stuck: Count::default(),
            slow: Count::default(),
            dropped: Count::default(),
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Whether as much waits as may. Then it is looked whether something may go.
    pub(crate) fn is_full(&self) -> bool {
        let is_full = self.bytes() >= self.bytes_max;
        if is_full {
            self.relieve();
        }
        is_full
    }

    /// Whether so much more waits that hardly anything may be added.
    pub(crate) fn is_at_ceiling(&self) -> bool {
        self.bytes() >= self.ceiling()
    }

    fn ceiling(&self) -> usize {
        self.bytes_max.saturating_mul(CEILING)
    }

    pub(super) fn now_ms(&self) -> u64 {
        let now_ms = self.begun.elapsed().as_millis() as u64;
        #[cfg(test)]
        let now_ms = now_ms + self.forward.load(Ordering::Relaxed) as u64;
        now_ms
    }

    /// Keeps an eye on what waits at a connection.
    pub(super) fn watch(&self, backlog: &Arc<Backlog>) {
        let backlogs = &mut self.registry.lock().backlogs;
        if backlogs.len() == backlogs.capacity() {
            backlogs.retain(|backlog| backlog.strong_count() > 0);
            backlogs.reserve(backlogs.len().max(16)); // so that it is seldom that all are gone through
        }
        backlogs.push(Arc::downgrade(backlog));
    }

    /// Counts what waits from now on.
    ///
    /// # Errors
    /// It may be refused, and is too much by far.
    pub(super) fn add(&self, bytes: usize, may_be_refused: bool) -> Result<(), NoMemory> {
        if bytes == 0 {
            return Ok(());
        }
        let now = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if may_be_refused && now > self.ceiling() {
            self.subtract(bytes);
            self.dropped.one();
            self.relieve();
            return Err(NoMemory);
        }
        Ok(())
    }

    pub(super) fn gave_up(&self, why: Why) {
        match why {
            Why::Stuck => self.stuck.one(),
            Why::Slow => self.slow.one(),
        }
    }

    pub(super) fn subtract(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Gives up what is slow as long as much waits: first what will be there for the longest.
    pub(super) fn relieve(&self) {
        let most = self.bytes_max / PRESSURE_PART;
        if self.bytes() <= most {
            return;
        }
        let now_ms = self.now_ms();
        let Some(mut registry) = self.registry.try_lock().filter(|registry| now_ms >= registry.next_ms)
        else {
            return; // somebody does it, or just did
        };
        registry.next_ms = now_ms + RELIEF_MS;
        let mut slow = Vec::new();
        let mut leaving = 0;
        for backlog in registry.backlogs.iter().filter_map(Weak::upgrade) {
            backlog.each(now_ms, |key, costs, stand| match stand {
                Stand::Leaves => leaving += costs,
                Stand::Slow(needs_ms) => slow.push((needs_ms, costs, backlog.clone(), key)),
                Stand::Moves => {}
            });
        }
        drop(registry);
        slow.sort_unstable_by_key(|(needs_ms, costs, ..)| std::cmp::Reverse((*needs_ms, *costs)));
        let mut stays = self.bytes().saturating_sub(leaving);
        for (_, costs, backlog, key) in slow {
            if stays <= most {
                return;
            }
            backlog.give_up_slow(key, now_ms);
            stays = stays.saturating_sub(costs);
        }
    }
}
