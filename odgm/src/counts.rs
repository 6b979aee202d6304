//! What a host's grid has done since its start, as far as nobody else counts it. For metrics alone: nothing is decided by it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::types::CommitReply;

/// A number that grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// See the module. What was replayed at the start is counted as well.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Entries of all groups that were applied.
    pub(crate) entries: Count,
    /// Commits that took effect,
    pub(crate) committed: Count,
    /// that had taken effect before,
    pub(crate) known: Count,
    /// and that something had overtaken.
    pub(crate) rejected: Count,
    /// Snapshots that were named for a purge,
    pub(crate) built: Count,
    /// and that took the place of a state.
    pub(crate) installed: Count,
}

impl Counts {
    /// Counts the commits of one entry.
    pub(crate) fn replies(&self, replies: &[CommitReply]) {
        for reply in replies {
            let count = match reply {
                CommitReply::Committed(_) => &self.committed,
                CommitReply::Known(_) => &self.known,
                CommitReply::Rejected(_) => &self.rejected,
            };
            count.add(1);
        }
    }
}
