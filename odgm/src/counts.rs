//! What a host's grid has done since its start, as far as nobody else counts it. For metrics alone: nothing is decided by it.

use oprc_mesh::metrics::Count;

use crate::types::CommitReply;

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
            count.one();
        }
    }
}
