//! The clock that interrupts guests: one thread advances the engine's epoch while turns run, and sleeps otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use wasmtime::Engine;

/// How often a running guest is interrupted: it then yields to other tasks, and its limits are checked.
pub(super) const TICK: Duration = Duration::from_millis(2);
/// Ticks that the thread goes on after the last turn, so that steady traffic need not wake it for every turn.
const IDLE_TICKS: u32 = 50;

/// Owns the thread; dropping it ends and joins the thread.
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    handle: Thread,
}

#[derive(Default)]
struct Shared {
    turns: AtomicUsize,
    asleep: AtomicBool,
    stop: AtomicBool,
}

/// A turn is running as long as this lives.
pub(super) struct Running<'a>(&'a Shared);

impl Ticker {
    /// Starts the thread.
    pub(super) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new().name("oprc-epoch".into()).spawn({
            let (engine, shared) = (engine.clone(), Arc::clone(&shared));
            move || shared.tick(&engine)
        })?;
        let handle = thread.thread().clone();
        Ok(Self { shared, thread: Some(thread), handle })
    }

    /// Says that a turn runs now. Costs two atomic operations unless the thread sleeps.
    pub(super) fn running(&self) -> Running<'_> {
        // Sequentially consistent with `asleep` below: either this sees the thread going to sleep and wakes it, or the
        // thread sees the turn and stays awake.
        self.shared.turns.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.handle.unpark();
        }
        Running(&self.shared)
    }

    #[cfg(test)]
    pub(super) fn is_asleep(&self) -> bool {
        self.shared.asleep.load(Ordering::SeqCst)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.turns.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    fn tick(&self, engine: &Engine) {
        let mut idle = 0;
        while !self.stop.load(Ordering::SeqCst) {
            if self.turns.load(Ordering::SeqCst) > 0 {
                idle = 0;
            } else {
                idle += 1;
            }
            if idle < IDLE_TICKS {
                std::thread::park_timeout(TICK);
                engine.increment_epoch();
                continue;
            }
            self.asleep.store(true, Ordering::SeqCst);
            if self.turns.load(Ordering::SeqCst) == 0 && !self.stop.load(Ordering::SeqCst) {
                std::thread::park();
            }
            self.asleep.store(false, Ordering::SeqCst);
            idle = 0;
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.handle.unpark();
        if let Some(thread) = self.thread.take() {
            // It only ends by panicking if the engine does; there is nothing left to do about that here.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn until(what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..10_000 {
            if holds() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("never came true: {what}");
    }

    #[test]
    fn it_sleeps_without_turns_and_wakes_for_one() {
        let ticker = Ticker::start(&Engine::default()).unwrap();
        until("asleep", || ticker.is_asleep());
        let running = ticker.running();
        until("awake", || !ticker.is_asleep());
        drop(running);
        until("asleep again", || ticker.is_asleep());
    }
}
