//! Answers that were given and that their readers have not taken yet. They lie in memory for as long as the reader likes:
//! HTTP/2 lets it open its window whenever it wants, and a slow line empties a socket's buffer slowly. So their bytes are
//! counted, for each connection and for all together, and both have a bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use oprc_mesh::metrics::Count;
use tokio::sync::Notify;

use super::overloaded;
use crate::problem::Refusal;

/// One connection may have this part of what all may have, before its next request waits.
const CONNECTION_PART: usize = 16;

/// What waits for all readers.
pub(crate) struct Untaken {
    bytes: AtomicUsize,
    bytes_max: usize,
    /// Told when there is too much: the connection that has been slow for the longest hears it.
    pub(crate) crowded: Notify,
    shed: Count,
}

impl Untaken {
    pub(super) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes: AtomicUsize::new(0),
            bytes_max,
            crowded: Notify::new(),
            shed: Count::default(),
        })
    }

    /// Whether as much waits as may.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes() >= self.bytes_max
    }

    /// Lets a request in whose answer may be large.
    ///
    /// # Errors
    /// `overloaded` when as much waits as may.
    pub(super) fn let_in(&self) -> Result<(), Refusal> {
        if !self.is_full() {
            return Ok(());
        }
        self.crowded.notify_one();
        self.shed.one();
        Err(overloaded("answers that their readers do not take use up the memory that is set aside for them"))
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Requests that were refused for it.
    pub(super) fn shed(&self) -> u64 {
        self.shed.get()
    }
}

/// What waits for the reader at one connection.
pub(crate) struct Backlog {
    of_all: Arc<Untaken>,
    bytes: AtomicUsize,
    /// At some time since the last look nothing waited.
    was_empty: AtomicBool,
    /// Told when there is room again.
    taken: Notify,
}

impl Backlog {
    pub(crate) fn new(of_all: Arc<Untaken>) -> Arc<Self> {
        Arc::new(Self {
            of_all,
            bytes: AtomicUsize::new(0),
            was_empty: AtomicBool::new(true),
            taken: Notify::new(),
        })
    }

    /// Waits until less waits for the reader than its connection may have. A reader that takes nothing waits for itself.
    pub(crate) async fn room(&self) {
        while self.bytes() >= self.bytes_max() {
            let taken = self.taken.notified();
            if self.bytes() >= self.bytes_max() {
                taken.await;
            }
        }
    }

    fn bytes_max(&self) -> usize {
        self.of_all.bytes_max / CONNECTION_PART
    }

    /// The same bytes, counted for as long as any of them are somewhere.
    pub(crate) fn count(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        if bytes.is_empty() {
            return bytes;
        }
        self.of_all.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        if self.bytes.fetch_add(bytes.len(), Ordering::Relaxed) == 0 {
            self.was_empty.store(true, Ordering::Relaxed);
        }
        Bytes::from_owner(Waiting { bytes, backlog: self.clone() })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether something has waited ever since this was last asked.
    pub(crate) fn waits_still(&self) -> bool {
        let was_empty = self.was_empty.swap(false, Ordering::Relaxed);
        self.bytes() > 0 && !was_empty
    }
}

/// Bytes of an answer.
struct Waiting {
    bytes: Bytes,
    backlog: Arc<Backlog>,
}

impl AsRef<[u8]> for Waiting {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let (bytes, most) = (self.bytes.len(), self.backlog.bytes_max());
        self.backlog.of_all.bytes.fetch_sub(bytes, Ordering::Relaxed);
        let before = self.backlog.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if before >= most && before - bytes < most {
            self.backlog.taken.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn answer(bytes: usize) -> Bytes {
        Bytes::from(vec![7; bytes])
    }

    #[test]
    fn what_waits_is_counted_until_its_last_byte_is_gone() {
        let all = Untaken::new(1_000);
        let backlog = Backlog::new(all.clone());
        let counted = backlog.count(answer(100));
        let last = counted.slice(99..);
        assert_eq!((counted.len(), backlog.bytes(), all.bytes()), (100, 100, 100));
        drop(counted);
        assert_eq!((backlog.bytes(), all.bytes()), (100, 100), "all of it is still there");
        drop(last);
        assert_eq!((backlog.bytes(), all.bytes()), (0, 0));
        assert!(backlog.count(Bytes::new()).is_empty());
    }

    #[test]
    fn as_much_waits_as_may_and_then_nobody_comes_in() {
        let all = Untaken::new(1_000);
        let connections = [Backlog::new(all.clone()), Backlog::new(all.clone())];
        let most = connections[0].count(answer(999));
        assert!(all.let_in().is_ok());
        let last = connections[1].count(answer(1));
        assert!(all.let_in().is_err() && all.let_in().is_err());
        assert_eq!(all.shed(), 2);
        drop(most);
        assert!(all.let_in().is_ok());
        drop(last);
    }

    #[tokio::test]
    async fn the_next_request_waits_for_what_waits() {
        let backlog = Backlog::new(Untaken::new(1_600));
        let (some, last) = (backlog.count(answer(99)), backlog.count(answer(1)));
        let mut waiting = [Box::pin(backlog.room()), Box::pin(backlog.room())];
        for room in &mut waiting {
            assert!(futures::poll!(room).is_pending());
        }
        drop(last);
        for room in &mut waiting {
            assert!(futures::poll!(room).is_ready());
        }
        backlog.room().await;
        drop(some);
    }

    #[test]
    fn what_came_since_the_last_look_does_not_wait_still() {
        let backlog = Backlog::new(Untaken::new(1_000));
        assert!(!backlog.waits_still());
        let first = backlog.count(answer(1));
        assert!(!backlog.waits_still() && backlog.waits_still() && backlog.waits_still());
        let second = backlog.count(answer(1));
        drop(first);
        assert!(backlog.waits_still(), "something waited all the time");
        drop(second);
        let third = backlog.count(answer(1));
        assert!(!backlog.waits_still() && backlog.waits_still());
        drop(third);
    }
}
