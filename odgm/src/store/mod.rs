//! Everything of one host that is on its disk: the data directory with its lock, format version and node id, and the
//! two databases.

mod dir;
mod group;
mod log;
mod options;
mod reader;
#[cfg(test)]
mod reader_tests;
mod snapshot;
mod state;

use std::sync::Arc;

use oprc_mesh::id::NodeId;

pub(crate) use self::dir::{DataDir, random};
pub(crate) use self::group::{DeadHome, GroupState};
pub(crate) use self::log::LogDb;
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
    // after the databases: they close first, then the lock goes
    dir: DataDir,
}

impl Store {
    /// Opens, or creates, the data directory.
    pub(crate) fn open(config: &OdgmConfig, poison: &Poison) -> Result<Self, OdgmError> {
        let dir = DataDir::open(&config.data_dir)?;
        let shared = options::Shared::new(config);
        let log = LogDb::open(&dir.path().join(dir::LOG), &shared)?;
        let state = StateDb::open(&dir.path().join(dir::STATE), &shared, poison.clone())?;
        dir.keep_node_id()?;
        Ok(Self { log: Arc::new(log), state: Arc::new(state), dir })
    }

    pub(crate) fn node(&self) -> NodeId {
        self.dir.node()
    }

    pub(crate) fn dir(&self) -> &DataDir {
        &self.dir
    }
}
