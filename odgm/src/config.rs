//! How one host's state grid is set up.

use std::path::PathBuf;
use std::time::Duration;

const MIB: usize = 1024 * 1024;

/// How a host that belongs to no cluster yet comes to belong to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joining {
    /// It founds one by itself, at once.
    Alone,
    /// It founds one with so many hosts, itself included, unless one is there to be joined.
    Expect(u32),
    /// It only ever joins one.
    Join,
}

/// Settings of [`crate::Odgm::open`].
#[derive(Debug, Clone)]
pub struct OdgmConfig {
    /// Everything durable lies here; created when absent, locked while open.
    pub data_dir: PathBuf,
    /// The failure zone of this host; may be empty.
    pub zone: String,
    /// How it comes to belong to a cluster, when it does not yet.
    pub joining: Joining,
    /// Copies of each partition of the shared grid, as far as there are hosts; said by the founder, once.
    pub replicas: u32,
    /// A host that is away for so long is replaced.
    pub grace: Duration,
    /// Partitions that move between hosts at once.
    pub moves_max: usize,
    /// The block cache that both databases share, in MiB.
    pub block_cache_mib: usize,
    /// What both databases may hold in memory before they write it out, in MiB.
    pub write_buffer_mib: usize,
    /// Log bytes of all groups together after which the state is flushed and the logs are purged.
    pub checkpoint_bytes: u64,
    /// Log entries of all groups together after which the same happens.
    pub checkpoint_entries: u64,
    /// Raft entries that one partition has under way at once; further commits gather into the next one.
    pub entries_in_flight: usize,
}

impl OdgmConfig {
    /// The defaults, in `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            zone: String::new(),
            joining: Joining::Alone,
            replicas: 3,
            grace: Duration::from_mins(5),
            moves_max: 2,
            block_cache_mib: 32,
            write_buffer_mib: 64,
            checkpoint_bytes: 24 * MIB as u64,
            checkpoint_entries: 20_000,
            entries_in_flight: 2,
        }
    }
}
