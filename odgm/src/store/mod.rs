//! Everything of one host that is on its disk: the data directory with its lock, format version and node id, and the
//! two databases.

mod asked;
mod depths;
mod dir;
mod events;
#[cfg(test)]
mod events_tests;
mod group;
mod log;
mod mail;
#[cfg(test)]
mod mail_tests;
mod options;
mod reader;
#[cfg(test)]
mod reader_tests;
mod snapshot;
mod state;

use std::sync::Arc;

use oprc_mesh::id::NodeId;

pub use self::asked::AskedCall;
pub(crate) use self::depths::Depths;
pub(crate) use self::dir::{DataDir, random};
pub use self::events::EventsOf;
pub(crate) use self::group::{DeadHome, GroupState};
pub(crate) use self::log::LogDb;
pub use self::mail::Inbound;
pub use self::reader::Reader;
pub(crate) use self::snapshot::OwnedSnapshot;
pub(crate) use self::state::StateDb;

use crate::config::OdgmConfig;
use crate::error::OdgmError;
use crate::poison::Poison;

/// An open data directory.
pub(crate) struct Store {
    pub(crate) log: Arc<LogDb>,
    pub(crate) state: Arc<StateDb>,
    shared: options::Shared,
    node: NodeId,
    // after the databases: they close first, then the lock goes
    dir: DataDir,
}

/// See [`Store::usage`].
#[derive(Debug)]
pub(crate) struct Usage {
    /// Blocks that the cache had, and had not.
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) cache_bytes: u64,
    /// What is not in files yet, of each database.
    pub(crate) log_bytes: u64,
    pub(crate) state_bytes: u64,
}

impl Store {
    /// Opens, or creates, the data directory.
    pub(crate) fn open(config: &OdgmConfig, poison: &Poison) -> Result<Self, OdgmError> {
        let mut dir = DataDir::open(&config.data_dir)?;
        let shared = options::Shared::new(config, dir.is_new());
        let [log, state] = dir::DATABASES.map(|name| dir.path().join(name));
        let log = LogDb::open(&log, &shared, dir.lock().clone())?;
        let state = StateDb::open(&state, &shared, poison.clone())?;
        let empty = dir.is_new() && log.groups()?.is_empty() && state.groups()?.is_empty();
        let node = dir.settle(empty)?;
        Ok(Self { log: Arc::new(log), state: Arc::new(state), shared, node, dir })
    }

    /// What it costs in memory, and how well that serves.
    pub(crate) fn usage(&self) -> Usage {
        let (log, state) = (self.log.blocks(), self.state.blocks());
        Usage {
            hits: log.0 + state.0,
            misses: log.1 + state.1,
            cache_bytes: self.shared.cache_bytes(),
            log_bytes: self.log.buffered_bytes(),
            state_bytes: self.state.buffered_bytes(),
        }
    }

    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    pub(crate) fn dir(&self) -> &DataDir {
        &self.dir
    }
}
