//! Answers that were given and that their readers have not taken yet. They lie in memory for as long as the reader likes:
//! HTTP/2 lets it open its window whenever it wants, and a slow line empties a socket's buffer slowly. So each is counted
//! until nothing holds its bytes any more, wherever they are on their way, and watched. One that is taken too slowly is
//! given up: its stream is reset, or where that does not help its connection is cut.

mod piece;
mod progress;
#[cfg(test)]
mod tests;
mod untaken;

use std::sync::Arc;

use bytes::Bytes;
use futures::future::AbortHandle;
use parking_lot::Mutex;
use slab::Slab;
use tokio::sync::Notify;

pub(crate) use self::piece::{Piece, Way};
use self::progress::Progress;
pub(crate) use self::untaken::{NoMemory, Untaken};

/// What an answer costs beside its bytes, roughly: its stream, task and headers.
const OVERHEAD_BYTES: usize = 2 * 1024;
/// The same of each further piece.
const PIECE_OVERHEAD_BYTES: usize = 512;
/// Answers up to so many bytes are never refused: the others leave room for them.
const SMALL_BYTES: usize = 64 * 1024;
/// An answer that is given up is gone once nothing has moved for so long. If not, no task has it any more, or the socket takes
/// nothing.
const QUIET_MS: u64 = 2_000;
/// It is waited no longer for it, whatever moves.
const GONE_MS: u64 = 10_000;

tokio::task_local! {
    /// What ends the stream of HTTP/2 that this task is.
    pub(crate) static STREAM: AbortHandle;
}

/// What waits for the reader at one connection.
pub(crate) struct Backlog {
    of_all: Arc<Untaken>,
    answers: Mutex<Slab<Answer>>,
    /// Told when an answer is given up that does not go by itself.
    pub(crate) cut: Notify,
}

/// One answer.
struct Answer {
    /// Bytes of memory, of so many pieces.
    costs: usize,
    pieces: usize,
    progress: Progress,
    way: Arc<Way>,
    /// What ends it; none where the connection has to end.
    stream: Option<AbortHandle>,
    given_up: Option<GivenUp>,
}

/// How it is with an answer that was given up.
struct GivenUp {
    at_ms: u64,
    quiet_from_ms: u64,
    /// Bytes that its connection had written then, as far as is known.
    written: Option<u64>,
}

/// How an answer stands.
enum Stand {
    /// It is given up.
    Leaves,
    /// It will be there for so many milliseconds.
    Slow(u64),
    Moves,
}

/// Whose memory it is that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// An answer's own.
    Own,
    /// It is there in any case, or counted elsewhere.
    Shared,
}

/// Why an answer is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Stuck,
    Slow,
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

    /// Takes in an answer, or more of the one of which something went on the way `after`, if any of that still waits: what
    /// waits behind something else is not to be blamed for it. Of the task in which this is asked for the stream is known.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(crate) fn hold(
        self: &Arc<Self>,
        bytes: Bytes,
        memory: Memory,
        after: Option<&Arc<Way>>,
    ) -> Result<Piece, NoMemory> {
        let overhead = if after.is_some() { PIECE_OVERHEAD_BYTES } else { OVERHEAD_BYTES };
        let costs = match memory {
            Memory::Own => bytes.len() + overhead,
            Memory::Shared => 0,
        };
        self.of_all.add(costs, bytes.len() > SMALL_BYTES)?;
        let mut answers = self.answers.lock();
        if let Some(way) = after
            && let Some(answer) = answers.get_mut(way.key).filter(|answer| Arc::ptr_eq(&answer.way, way))
        {
            answer.pieces += 1;
            answer.costs += costs;
            way.follows(bytes.len());
            return Ok(Piece::new(bytes, costs, self, way));
        }
        let place = answers.vacant_entry();
        let way = Arc::new(Way::new(place.key(), bytes.len()));
        let progress = Progress::new(self.of_all.now_ms());
        let stream = STREAM.try_with(AbortHandle::clone).ok();
        place.insert(Answer { costs, pieces: 1, progress, way: way.clone(), stream, given_up: None });
        Ok(Piece::new(bytes, costs, self, &way))
    }

    /// A piece becomes two.
    fn split(&self, way: &Way) {
        if let Some(answer) = self.answers.lock().get_mut(way.key) {
            answer.pieces += 1;
        }
    }

    /// Nothing holds a piece any more that cost so much.
    fn release(&self, way: &Way, costs: usize) {
        let mut answers = self.answers.lock();
        if let Some(answer) = answers.get_mut(way.key) {
            answer.costs -= costs;
            answer.pieces -= 1;
            if answer.pieces == 0 {
                answers.remove(way.key);
            }
        }
        drop(answers);
        self.of_all.subtract(costs);
    }

    /// Looks at what waits, once in a second or so, when the connection has written so much, and gives up what is taken more
    /// slowly than it must be.
    pub(crate) fn look(&self, written: u64, bytes_per_s_min: u64) {
        let now_ms = self.of_all.now_ms();
        for (_, answer) in self.answers.lock().iter_mut() {
            if let Some(given_up) = &mut answer.given_up {
                if given_up.stays(written, now_ms) {
                    self.cut.notify_one();
                }
            } else if answer.progress.look(answer.way.taken(), now_ms, bytes_per_s_min) {
                self.give_up(answer, Why::Stuck, now_ms);
            }
        }
        self.of_all.relieve();
    }

    fn give_up(&self, answer: &mut Answer, why: Why, now_ms: u64) {
        if answer.given_up.is_some() {
            return;
        }
        answer.given_up = Some(GivenUp { at_ms: now_ms, quiet_from_ms: now_ms, written: None });
        self.of_all.gave_up(why);
        tracing::debug!(?why, bytes = answer.costs, left = answer.way.left(), "an answer was given up");
        match &answer.stream {
            Some(stream) => stream.abort(),
            None => self.cut.notify_one(),
        }
    }

    /// Tells how each answer stands, with its key and what it costs.
    fn each(&self, now_ms: u64, mut tell: impl FnMut(usize, usize, Stand)) {
        for (key, answer) in self.answers.lock().iter() {
            let stand = match answer.slow_ms(now_ms) {
                _ if answer.given_up.is_some() => Stand::Leaves,
                // nothing is had from what costs nothing
                _ if answer.costs == 0 => Stand::Moves,
                Some(needs_ms) => Stand::Slow(needs_ms),
                None => Stand::Moves,
            };
            tell(key, answer.costs, stand);
        }
    }

    /// Gives an answer up, if it is still there and slow.
    fn give_up_slow(&self, key: usize, now_ms: u64) {
        if let Some(answer) = self.answers.lock().get_mut(key)
            && answer.slow_ms(now_ms).is_some()
        {
            self.give_up(answer, Why::Slow, now_ms);
        }
    }
}

impl Answer {
    fn slow_ms(&self, now_ms: u64) -> Option<u64> {
        self.progress.slow_ms(self.way.taken(), self.way.left(), now_ms)
    }
}

impl GivenUp {
    /// Whether it will not go by itself. As long as its connection writes, what ends its stream may wait behind others.
    fn stays(&mut self, written: u64, now_ms: u64) -> bool {
        if self.written != Some(written) {
            (self.written, self.quiet_from_ms) = (Some(written), now_ms);
        }
        now_ms >= (self.quiet_from_ms + QUIET_MS).min(self.at_ms + GONE_MS)
    }
}
