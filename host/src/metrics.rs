//! What this host has run, counted where it happens; [`crate::told`] tells it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use oprc_mesh::catalog::CatalogView;
use oprc_mesh::metrics::{BOUNDS, Calls, Count};
use oprc_mesh::outcome::Code;
use oprc_odgm::{Rejection, Verdict};

/// How a turn came to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// Somebody waits for it.
    Call,
    /// A message, or an asynchronous call.
    Message,
}

impl Via {
    /// Its words, by number.
    pub(crate) const WORDS: [&str; 2] = ["call", "message"];
}

/// What one attempt at a message came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// It is settled.
    Done,
    /// Its receiver is in another partition by now.
    Forwarded,
    /// It is tried again after a pause, which counts,
    Retried,
    /// or which does not count.
    Postponed,
    /// It is a dead letter.
    Dead,
    /// This host could not go on, and somebody will.
    Interrupted,
}

impl Attempt {
    /// Its words, by number.
    pub(crate) const WORDS: [&str; 6] = ["done", "forwarded", "retried", "postponed", "dead", "interrupted"];

    pub(crate) fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Consumed => Self::Done,
            Verdict::Forward => Self::Forwarded,
            Verdict::Retry => Self::Retried,
            Verdict::Postpone => Self::Postponed,
            Verdict::Dead => Self::Dead,
        }
    }
}

/// Why a turn is run again, by number.
pub(crate) const CAUSES: [&str; 4] = ["term", "base", "revision", "settled"];

/// See the module.
pub(crate) struct Metrics {
    pub(crate) calls: Calls,
    pub(crate) replays: Count,
    pub(crate) reruns: [Count; CAUSES.len()],
    pub(crate) attempts: [Count; Attempt::WORDS.len()],
    readers: AtomicUsize,
}

/// One who reads events, until it is dropped.
pub(crate) struct Reading<'m>(&'m Metrics);

impl Default for Metrics {
    fn default() -> Self {
        Self {
            calls: Calls::new(BOUNDS),
            replays: Count::default(),
            reruns: Default::default(),
            attempts: Default::default(),
            readers: AtomicUsize::new(0),
        }
    }
}

impl Metrics {
    /// A method or function was run, or was to be, and it was over after `took`.
    pub(crate) fn ran(
        &self,
        view: &CatalogView,
        (class, method): (&str, &str),
        via: Via,
        failed: Option<Code>,
        took: Duration,
    ) {
        self.calls.record(view, (class, method), via as usize, failed, took);
    }

    /// A turn is to be run again.
    pub(crate) fn rerun(&self, rejection: &Rejection) {
        let cause = match rejection {
            Rejection::Term { .. } => 0,
            Rejection::Base { .. } => 1,
            Rejection::Revision { .. } => 2,
            Rejection::Settled => 3,
        };
        self.reruns[cause].one();
    }

    pub(crate) fn attempted(&self, attempt: Attempt) {
        self.attempts[attempt as usize].one();
    }

    pub(crate) fn reading(&self) -> Reading<'_> {
        self.readers.fetch_add(1, Ordering::Relaxed);
        Reading(self)
    }

    /// How many read events now.
    pub(crate) fn readers(&self) -> usize {
        self.readers.load(Ordering::Relaxed)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.readers.fetch_sub(1, Ordering::Relaxed);
    }
}
