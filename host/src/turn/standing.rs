//! The asynchronous calls that are having their turn on this host, and who waits for one to be decided. Only a help: what is
//! decided stands in the partition, and whoever waits looks there again by itself, though not as soon.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A class's number, an object or nothing for a function, an invocation id.
pub(crate) type CallKey = (u64, String, String);

/// See the module. Holds calls that somebody runs or waits for.
#[derive(Default)]
pub(crate) struct Standing(Mutex<HashMap<CallKey, Entry>>);

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
        self.0.lock().entry(key.clone()).or_default().running += 1;
        Running(self, key)
    }

    /// Whether a call is having its turn.
    pub(crate) fn is_running(&self, key: &CallKey) -> bool {
        self.0.lock().get(key).is_some_and(|entry| entry.running > 0)
    }

    /// Begins to wait for a call.
    pub(crate) fn wait(&self, key: CallKey) -> Waiting<'_> {
        let mut calls = self.0.lock();
        let entry = calls.entry(key.clone()).or_default();
        entry.waiting += 1;
        let moved = entry.moved.clone();
        drop(calls);
        Waiting { standing: self, key, moved }
    }

    /// A call may have been decided.
    pub(crate) fn moved(&self, key: &CallKey) {
        if let Some(entry) = self.0.lock().get(key) {
            entry.moved.notify_waiters();
        }
    }

    fn leave(&self, key: &CallKey, count: impl FnOnce(&mut Entry) -> &mut usize) {
        let mut calls = self.0.lock();
        if let Some(entry) = calls.get_mut(key) {
            *count(entry) -= 1;
            if entry.running == 0 && entry.waiting == 0 {
                calls.remove(key);
            }
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.leave(&self.1, |entry| &mut entry.running);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.standing.leave(&self.key, |entry| &mut entry.waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[test]
    fn those_who_wait_are_told_and_nothing_stays() {
        let standing = Standing::default();
        let key = |id: &str| (1, "o".to_owned(), id.to_owned());
        let waiting = standing.wait(key("a"));
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
        assert!(standing.0.lock().is_empty());
    }
}
