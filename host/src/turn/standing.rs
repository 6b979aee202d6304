//! The asynchronous calls that are having their turn on this host, and who waits for one to be decided. Only a help: what is
//! decided stands in the partition, and whoever waits looks there again by itself, though not as soon.

use std::collections::HashMap;
use std::sync::Arc;

use oprc_mesh::outcome::{Code, Effect, Problem};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// A class's number, an object or nothing for a function, an invocation id.
pub(crate) type CallKey = (u64, String, String);

/// What one more is told to wait before it asks again.
const RETRY_AFTER_MS: u64 = 1_000;
/// Those who wait on one host, at the most: fewer than the mesh takes requests, so that some are left for calls.
const WAITING_MAX: usize = 4_096;

/// See the module. Holds calls that somebody runs or waits for.
#[derive(Default)]
pub(crate) struct Standing(Mutex<Calls>);

#[derive(Default)]
struct Calls {
    by_key: HashMap<CallKey, Entry>,
    waiting: usize,
}

#[derive(Default)]
struct Entry {
    running: usize,
    waiting: usize,
    moved: Arc<Notify>,
}

/// A call has its turn for as long as this lives.
pub(crate) struct Running<'a>(&'a Standing, CallKey);

/// Somebody waits for a call for as long as this lives.
pub(crate) struct Waiting<'a> {
    standing: &'a Standing,
    key: CallKey,
    /// Told whenever the call may have been decided.
    pub(crate) moved: Arc<Notify>,
}

impl Standing {
    /// A call's turn begins.
    pub(crate) fn run(&self, key: CallKey) -> Running<'_> {
        self.0.lock().by_key.entry(key.clone()).or_default().running += 1;
        Running(self, key)
    }

    /// Whether a call is having its turn.
    pub(crate) fn is_running(&self, key: &CallKey) -> bool {
        self.0.lock().by_key.get(key).is_some_and(|entry| entry.running > 0)
    }

    /// Begins to wait for a call.
    ///
    /// # Errors
    /// `overloaded` when 4,096 others wait.
    pub(crate) fn wait(&self, key: CallKey) -> Result<Waiting<'_>, Problem> {
        let mut calls = self.0.lock();
        if calls.waiting == WAITING_MAX {
            return Err(overloaded());
        }
        calls.waiting += 1;
        let entry = calls.by_key.entry(key.clone()).or_default();
        entry.waiting += 1;
        let moved = entry.moved.clone();
        drop(calls);
        Ok(Waiting { standing: self, key, moved })
    }

    /// A call may have been decided.
    pub(crate) fn moved(&self, key: &CallKey) {
        if let Some(entry) = self.0.lock().by_key.get(key) {
            entry.moved.notify_waiters();
        }
    }

    fn leave(&self, key: &CallKey, running: usize, waiting: usize) {
        let mut calls = self.0.lock();
        calls.waiting -= waiting;
        if let Some(entry) = calls.by_key.get_mut(key) {
            entry.running -= running;
            entry.waiting -= waiting;
            if entry.running == 0 && entry.waiting == 0 {
                calls.by_key.remove(key);
            }
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.leave(&self.1, 1, 0);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.standing.leave(&self.key, 0, 1);
    }
}

fn overloaded() -> Problem {
    Problem::new(Code::Overloaded, format!("{WAITING_MAX} others wait for calls on this host"))
        .with_effect(Effect::NotRun)
        .retry_after_ms(RETRY_AFTER_MS)
        .hint("ask without `wait`, or again later")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[test]
    fn those_who_wait_are_told_and_nothing_stays() {
        let standing = Standing::default();
        let key = |id: &str| (1, "o".to_owned(), id.to_owned());
        let waiting = standing.wait(key("a")).unwrap();
        let mut told = Box::pin(waiting.moved.notified());
        told.as_mut().enable();
        standing.moved(&key("b"));
        assert!((&mut told).now_or_never().is_none(), "another call");
        let running = standing.run(key("a"));
        assert!(standing.is_running(&key("a")) && !standing.is_running(&key("b")));
        drop(running);
        assert!(!standing.is_running(&key("a")));
        standing.moved(&key("a"));
        assert!((&mut told).now_or_never().is_some());
        drop(told);
        drop(waiting);
        assert!(standing.0.lock().by_key.is_empty());
    }

    #[test]
    fn as_many_wait_as_may_and_places_come_back() {
        let standing = Standing::default();
        let key = |n: usize| (1, "o".to_owned(), (n % 7).to_string());
        let mut waiting: Vec<_> = (0..WAITING_MAX).map(|n| standing.wait(key(n)).unwrap()).collect();
        assert_eq!(standing.wait(key(0)).err().unwrap().kind(), Code::Overloaded);
        waiting.pop();
        drop(standing.wait(key(0)).unwrap());
        drop(waiting);
        let calls = standing.0.lock();
        assert_eq!((calls.by_key.len(), calls.waiting), (0, 0));
    }
}
