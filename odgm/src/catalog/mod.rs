//! The catalog's state and what its commands do to it: the pure part. Group 0 replicates the commands like any
//! partition's (see [`crate::raft`]); [`crate::catalog_client`] is how callers reach it.

mod access;
mod canary;
#[cfg(test)]
mod canary_tests;
mod change;
#[cfg(test)]
mod change_tests;
mod classes;
mod draft;
mod keys;
mod layout;
mod nodes;
mod partitions;
#[cfg(test)]
mod placed_tests;
mod promises;
mod rollback;
#[cfg(test)]
mod rollback_tests;
mod shared;
#[cfg(test)]
pub(crate) mod simulated;
mod state;

pub(crate) use self::keys::{CatalogEffect, CatalogKey};
pub(crate) use self::shared::CatalogShared;
pub(crate) use self::state::CatalogState;

use oprc_mesh::wire::Deployed;

/// The name of the grid that classes without a grid of their own share.
pub(crate) const DEFAULT_GRID: &str = "default";
/// The catalog's own Raft group.
pub(crate) const CATALOG_GROUP: u64 = 0;

/// What a change of the catalog gave.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CatalogReply {
    /// The revision that shows it.
    Changed(u64),
    /// A class was deployed, or was so already.
    Deployed(Box<Deployed>),
}
