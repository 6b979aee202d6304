//! What waits for one reader, and the response body that it is taken from.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::text::End;

/// Bytes that may wait for one reader; one piece alone may be larger. Past it the reader is cut off.
pub(crate) const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Pieces that may wait for one reader.
pub(crate) const QUEUE_CHUNKS_MAX: usize = 1_024;

/// The memory of all that waits for readers. What waits for several is counted once.
pub(crate) struct Budget {
    held: AtomicUsize,
    max: usize,
}

impl Budget {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), max })
    }

    pub(crate) fn chunk(self: &Arc<Self>, bytes: Vec<u8>) -> Chunk {
        self.held.fetch_add(bytes.len(), Ordering::Relaxed);
        Chunk(Arc::new(Held { bytes: bytes.into(), budget: self.clone() }))
    }

    fn is_spent(&self) -> bool {
        self.held.load(Ordering::Relaxed) > self.max
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// A piece of a stream: encoded once, shared by all whom it is for.
#[derive(Clone)]
pub(crate) struct Chunk(Arc<Held>);

/// On its way to a reader it is still held.
impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

struct Held {
    bytes: Bytes,
    budget: Arc<Budget>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

/// See the module.
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    budget: Arc<Budget>,
    /// Told when something was taken.
    taken: Notify,
}

struct Inner {
    ready: VecDeque<Chunk>,
    /// What comes live while the reader still gets what came before.
    later: Option<VecDeque<Chunk>>,
    /// Of what is in both.
    bytes: usize,
    /// After what is ready nothing comes.
    ended: bool,
    waker: Option<Waker>,
    /// Kept while the stream lives: what shows its connection to be in use.
    guard: Option<Box<dyn Any + Send>>,
}

impl Queue {
    /// A queue whose reader is given what is live at once, or with `behind` only after [`Self::go_live`].
    pub(crate) fn new(budget: &Arc<Budget>, behind: bool) -> Arc<Self> {
        let later = behind.then(VecDeque::new);
        let inner = Inner { ready: VecDeque::new(), later, bytes: 0, ended: false, waker: None, guard: None };
        Arc::new(Self { inner: Mutex::new(inner), budget: budget.clone(), taken: Notify::new() })
    }

    /// Queues what came live. A reader for whom too much waits is cut off.
    pub(super) fn push(&self, chunk: &Chunk) {
        let mut inner = self.inner.lock();
        if inner.ended {
            return;
        }
        let bytes = chunk.0.bytes.len();
        let waiting = inner.ready.len() + inner.later.as_ref().map_or(0, VecDeque::len);
        let full = waiting >= QUEUE_CHUNKS_MAX
            || (waiting > 0 && (inner.bytes + bytes > QUEUE_BYTES_MAX || self.budget.is_spent()));
        if full {
            return drop(self.cut_off(inner));
        }
        inner.bytes += bytes;
        if let Some(later) = &mut inner.later {
            later.push_back(chunk.clone());
        } else {
            inner.ready.push_back(chunk.clone());
            inner.wake();
        }
    }

    /// Queues what shows that the stream is alive, unless something waits that shows it as well.
    pub(super) fn beat(&self, chunk: &Chunk) {
        let idle = {
            let inner = self.inner.lock();
            inner.ready.is_empty() && inner.later.is_none()
        };
        if idle {
            self.push(chunk);
        }
    }

    /// Queues what came before, for a reader that is behind.
    pub(crate) fn push_past(&self, bytes: Vec<u8>) {
        let chunk = self.budget.chunk(bytes);
        let mut inner = self.inner.lock();
        if !inner.ended {
            inner.bytes += chunk.0.bytes.len();
            inner.ready.push_back(chunk);
            inner.wake();
        }
    }

    /// Waits until its reader has taken all that is ready.
    pub(crate) async fn emptied(&self) {
        loop {
            let taken = self.taken.notified();
            if self.inner.lock().ready.is_empty() {
                return;
            }
            taken.await;
        }
    }

    /// All that came before is queued: what came live follows.
    pub(crate) fn go_live(&self) {
        let mut inner = self.inner.lock();
        let later = inner.later.take().unwrap_or_default();
        inner.ready.extend(later);
        inner.wake();
    }

    /// Ends the stream in order: after what is ready its reader gets the reason.
    pub(crate) fn end(&self, why: End) {
        let last = self.budget.chunk(why.block());
        let mut inner = self.inner.lock();
        if inner.ended {
            return;
        }
        inner.later = None;
        inner.bytes = inner.ready.iter().map(|chunk| chunk.0.bytes.len()).sum::<usize>() + last.0.bytes.len();
        inner.ready.push_back(last);
        inner.ended = true;
        inner.wake();
    }

    /// Ends the stream of a reader that does not take what is sent. What waits for it is given up: it comes back with the last
    /// id that it got, if it ever does. From now on its connection counts as idle.
    pub(crate) fn cut(&self) {
        let inner = self.inner.lock();
        if !inner.ended {
            drop(self.cut_off(inner));
        }
    }

    /// Gives what is to be dropped once nothing is locked.
    fn cut_off(&self, mut inner: parking_lot::MutexGuard<'_, Inner>) -> impl Sized + use<> {
        let last = self.budget.chunk(End::Slow.block());
        let given_up = (std::mem::take(&mut inner.ready), inner.later.take(), inner.guard.take());
        inner.bytes = last.0.bytes.len();
        inner.ready.push_back(last);
        inner.ended = true;
        inner.wake();
        given_up
    }

    fn take(&self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        let mut inner = self.inner.lock();
        if let Some(chunk) = inner.ready.pop_front() {
            inner.bytes -= chunk.0.bytes.len();
            let emptied = inner.ready.is_empty();
            drop(inner);
            if emptied {
                self.taken.notify_waiters();
            }
            return Poll::Ready(Some(Bytes::from_owner(chunk)));
        }
        if inner.ended {
            return Poll::Ready(None);
        }
        match &mut inner.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => inner.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Inner {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The body of a response that goes on. Dropping it ends whatever fills it.
pub(crate) struct Stream {
    queue: Arc<Queue>,
    _seat: Box<dyn Any + Send>,
}

impl Stream {
    /// `seat` is dropped with the body.
    pub(crate) fn new(queue: Arc<Queue>, seat: impl Any + Send) -> Self {
        Self { queue, _seat: Box::new(seat) }
    }

    /// Keeps `guard` for as long as the stream is alive and taken.
    pub(crate) fn keep(&self, guard: impl Any + Send) {
        let mut inner = self.queue.inner.lock();
        if !inner.ended {
            inner.guard = Some(Box::new(guard));
        }
    }

    /// The next piece; none at the end.
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        self.queue.take(cx)
    }
}
