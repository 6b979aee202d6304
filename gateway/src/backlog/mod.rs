//! Answers that were given and that their readers have not taken yet. They lie in memory for as long as the reader likes:
//! HTTP/2 lets it open its window whenever it wants, and a slow line empties a socket's buffer slowly. So each is counted
//! until nothing holds its bytes any more, wherever they are on their way, and watched. One that is taken too slowly is
//! given up: its stream is reset, or over HTTP/1.1 its connection cut, and nothing else is.

mod progress;
mod untaken;

use std::sync::Arc;

use bytes::Bytes;
use futures::future::AbortHandle;
use parking_lot::Mutex;
use slab::Slab;
use tokio::sync::Notify;

use self::progress::Progress;
pub(crate) use self::untaken::Untaken;

/// An answer is given out in pieces of so many bytes, so that it shows how fast it is taken.
const PIECE_BYTES: usize = 64 * 1024;
/// What an answer costs beside its bytes, roughly: its stream, task and headers.
const OVERHEAD_BYTES: usize = 2 * 1024;

tokio::task_local! {
    /// What ends the stream of HTTP/2 that this task is.
    pub(crate) static STREAM: AbortHandle;
}

/// What waits for the reader at one connection.
pub(crate) struct Backlog {
    of_all: Arc<Untaken>,
    answers: Mutex<Slab<Answer>>,
    /// Told when an answer is given up that has no stream of its own.
    pub(crate) cut: Notify,
}

/// One answer.
struct Answer {
    /// Bytes of memory.
    costs: usize,
    progress: Progress,
    /// What ends it; none where the connection has to end.
    stream: Option<AbortHandle>,
    given_up: bool,
}

/// How an answer stands.
enum Stand {
    /// It is given up.
    Leaves,
    /// It will be there for so many milliseconds.
    Slow(u64),
    Moves,
}

/// Whose memory an answer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    Own,
    /// It is counted elsewhere, or there in any case.
    Shared,
}

impl Backlog {
    /// That of a new connection.
    pub(crate) fn new(of_all: &Arc<Untaken>) -> Arc<Self> {
        let (of_all, answers, cut) = (of_all.clone(), Mutex::default(), Notify::new());
        let backlog = Arc::new(Self { of_all, answers, cut });
        backlog.of_all.watch(&backlog);
        backlog
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.answers.lock().is_empty()
    }

    /// Takes in an answer, or a part of one. Of the task in which this is asked for the stream is known.
    ///
    /// # Errors
    /// There is no memory for it, although what is slow was given up.
    pub(crate) fn hold(self: &Arc<Self>, bytes: Bytes, memory: Memory) -> Result<Waiting, NoMemory> {
        let costs = match memory {
            Memory::Own => bytes.len() + OVERHEAD_BYTES,
            Memory::Shared => OVERHEAD_BYTES,
        };
        self.of_all.add(costs)?;
        let progress = Progress::new(bytes.len(), self.of_all.now_ms());
        let stream = STREAM.try_with(AbortHandle::clone).ok();
        let key = self.answers.lock().insert(Answer { costs, progress, stream, given_up: false });
        Ok(Waiting { rest: bytes, held: Arc::new(Held { backlog: self.clone(), key }) })
    }

    /// Looks at what waits, once in a second or so, and gives up what is taken more slowly than it must be.
    pub(crate) fn look(&self, bytes_per_s_min: u64) {
        let now_ms = self.of_all.now_ms();
        for (_, answer) in self.answers.lock().iter_mut() {
            if answer.progress.look(now_ms, bytes_per_s_min) {
                self.give_up(answer, "it is taken too slowly");
            }
        }
        self.of_all.relieve();
    }

    fn give_up(&self, answer: &mut Answer, why: &'static str) {
        if std::mem::replace(&mut answer.given_up, true) {
            return;
        }
        tracing::debug!(why, bytes = answer.costs, "an answer was given up");
        match &answer.stream {
            Some(stream) => stream.abort(),
            None => self.cut.notify_one(),
        }
    }

    /// Tells how each answer stands, with its key and what it costs.
    fn each(&self, now_ms: u64, mut tell: impl FnMut(usize, usize, Stand)) {
        for (key, answer) in self.answers.lock().iter() {
            let stand = match answer.progress.slow_ms(now_ms) {
                _ if answer.given_up => Stand::Leaves,
                Some(needs_ms) => Stand::Slow(needs_ms),
                None => Stand::Moves,
            };
            tell(key, answer.costs, stand);
        }
    }

    /// Gives an answer up, if it is still there and slow.
    fn give_up_slow(&self, key: usize, now_ms: u64) {
        if let Some(answer) = self.answers.lock().get_mut(key)
            && answer.progress.slow_ms(now_ms).is_some()
        {
            self.give_up(answer, "it is taken slowly, and others need the memory");
        }
    }
}

/// There is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("answers that their readers do not take use up the memory that is set aside for them")]
pub(crate) struct NoMemory;

/// An answer that is given out piece by piece.
pub(crate) struct Waiting {
    rest: Bytes,
    held: Arc<Held>,
}

impl Waiting {
    /// The next piece; none at the end.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        if self.rest.is_empty() {
            return None;
        }
        let bytes = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        Some(Bytes::from_owner(Piece { bytes, held: self.held.clone() }))
    }

    /// How many bytes are to be given out.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }
}

/// An answer's place in its backlog.
struct Held {
    backlog: Arc<Backlog>,
    key: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        let answer = self.backlog.answers.lock().remove(self.key);
        self.backlog.of_all.subtract(answer.costs);
    }
}

/// Some of an answer on its way: it is taken when it is dropped.
struct Piece {
    bytes: Bytes,
    held: Arc<Held>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(answer) = self.held.backlog.answers.lock().get_mut(self.held.key) {
            answer.progress.took(self.bytes.len());
        }
    }
}

#[cfg(test)]
mod tests;
