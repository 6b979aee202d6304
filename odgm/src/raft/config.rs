//! Openraft's settings, one set for all groups.

use std::sync::Arc;

use openraft::{Config, SnapshotPolicy};

use crate::error::OdgmError;

const HEARTBEAT_MS: u64 = 200;
const ELECTION_MIN_MS: u64 = 600;
const ELECTION_MAX_MS: u64 = 1_000;
/// The default of 200 ms would cut off every snapshot that is not tiny.
const INSTALL_SNAPSHOT_MS: u64 = 60_000;
/// Entries that stay after a checkpoint, so that a follower a little behind needs no snapshot.
const PURGED_LOG_KEPT_ENTRIES: u64 = 1_024;
const PAYLOAD_ENTRIES_MAX: u64 = 256;

/// For so long after it last heard from a leader a replica helps no other one. A leader relies on it for
/// [`LEASE_USED_MS`] only, so that clocks may run at somewhat different rates.
pub(super) const LEASE_MS: u64 = ELECTION_MAX_MS;
/// See [`LEASE_MS`].
pub(super) const LEASE_USED_MS: u64 = LEASE_MS * 8 / 10;

/// A leader that has heard of no majority for so long takes in no more: others may lead, and if not, nothing would be
/// decided.
pub(super) const CUT_OFF_MS: u64 = 2 * LEASE_MS;

const _: () = assert!(HEARTBEAT_MS * 2 < ELECTION_MIN_MS && ELECTION_MIN_MS < ELECTION_MAX_MS);

/// The settings of `group`.
pub(super) fn config(group: u64) -> Result<Arc<Config>, OdgmError> {
    let config = Config {
        cluster_name: format!("oprc/{group}"),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: ELECTION_MIN_MS,
        election_timeout_max: ELECTION_MAX_MS,
        install_snapshot_timeout: INSTALL_SNAPSHOT_MS,
        max_payload_entries: PAYLOAD_ENTRIES_MAX,
        // the checkpoints trigger them: one flush serves all groups
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: PURGED_LOG_KEPT_ENTRIES,
        enable_pre_vote: Some(true),
        // the group switches it on once older leases are over
        enable_elect: false,
        // a restarted leader begins a new term, so that its own entry proves that all before it is applied
        enable_leader_restore: Some(false),
        ..Config::default()
    };
    config.validate().map(Arc::new).map_err(|error| OdgmError::raft("configure the log", group, error))
}
