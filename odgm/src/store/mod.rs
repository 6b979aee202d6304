//! Everything of one host that is on its disk: the data directory with its lock, format version and node id, and the
//! two databases.

mod asked;
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
    node: NodeId,
    // after the databases: they close first, then the lock goes
    dir: DataDir,
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
        Ok(Self { log: Arc::new(log), state: Arc::new(state), node, dir })
    }

    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    pub(crate) fn dir(&self) -> &DataDir {
        &self.dir
    }
}
