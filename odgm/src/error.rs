//! What can go wrong in the state grid: one case per cause, each naming the operation and its subject.

use std::error::Error;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use oprc_mesh::outcome::{Code, Problem};

/// A failure of this host's part of the grid. Refusals of a request are [`Problem`]s, not errors.
#[derive(Debug, thiserror::Error)]
pub enum OdgmError {
    /// The file system refused.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The database refused.
    #[error("cannot {operation}: {source}")]
    Database {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Another process, or another handle of this one, holds the data directory.
    #[error("the data directory {} is in use by another process", path.display())]
    Locked {
        /// The data directory.
        path: PathBuf,
    },
    /// The data directory was written by a newer version of oprc.
    #[error("the data directory {} has format version {found}, this build knows versions up to {known}", path.display())]
    Format {
        /// The data directory.
        path: PathBuf,
        /// The version that was found.
        found: u32,
        /// The newest version that this build reads.
        known: u32,
    },
    /// A part of the data directory is gone. To go on without it would found an empty grid in the old one's place.
    #[error(
        "the data directory {} has lost its {missing}: restore all of it from a copy, or, if what this host held is to be \
         given up, remove all of it, and the host starts as a new one",
        path.display()
    )]
    Incomplete {
        /// The data directory.
        path: PathBuf,
        /// The file or directory that should be in it.
        missing: &'static str,
    },
    /// Stored bytes are not what this build writes: damaged, or of a newer version.
    #[error("{what} cannot be read: {detail}")]
    Corrupt {
        /// Which record.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// An earlier write failed, and since then nothing is served.
    #[error("storage failed and this node serves nothing more: {reason}")]
    Poisoned {
        /// The first failure.
        reason: String,
    },
    /// A Raft group cannot go on.
    #[error("cannot {operation} of raft group {group}: {detail}")]
    Raft {
        /// What was tried.
        operation: &'static str,
        /// In which group.
        group: u64,
        /// Why it failed.
        detail: String,
    },
    /// The catalog refused what this host asked of it.
    #[error("the catalog refused: {0}")]
    Catalog(Problem),
}

impl OdgmError {
    /// An `io::Error` with its operation and path; for `map_err`.
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { operation, path, source }
    }

    /// A database error with its operation; for `map_err`.
    pub(crate) fn database(operation: &'static str) -> impl FnOnce(rocksdb::Error) -> Self {
        move |source| Self::Database { operation, source: Box::new(source) }
    }

    #[allow(clippy::needless_pass_by_value, reason = "callers hand over errors and fresh strings")]
    pub(crate) fn corrupt(what: impl Into<String>, detail: impl Display) -> Self {
        Self::Corrupt { what: what.into(), detail: detail.to_string() }
    }

    #[allow(clippy::needless_pass_by_value, reason = "callers hand over errors and fresh strings")]
    pub(crate) fn raft(operation: &'static str, group: u64, detail: impl Display) -> Self {
        Self::Raft { operation, group, detail: detail.to_string() }
    }
}

impl From<OdgmError> for Problem {
    fn from(error: OdgmError) -> Self {
        match error {
            OdgmError::Catalog(problem) => problem,
            other => Problem::new(Code::Unavailable, other.to_string()),
        }
    }
}

/// Openraft speaks `io::Error`; the text keeps the cause.
impl From<OdgmError> for io::Error {
    fn from(error: OdgmError) -> Self {
        io::Error::other(error.to_string())
    }
}
