//! How a leader stands with its voters.

use std::time::Duration;

use openraft::Raft;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::metrics::{RaftDataMetrics, RaftServerMetrics};
use openraft::type_config::TypeConfigExt as _;
use openraft::type_config::alias::WatchReceiverOf;

use super::state_machine::StateMachine;
use super::types::{StoredMembership, TypeConfig};

/// See the module.
#[derive(Clone)]
pub(super) struct Authority {
    node: u64,
    server: WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>,
    data: WatchReceiverOf<TypeConfig, RaftDataMetrics<TypeConfig>>,
}

/// A replica's part in the group's votes.
pub(super) enum Voting {
    Not,
    Alone,
    Among,
}

impl Voting {
    /// Without an allocation: every read asks.
    pub(super) fn of(members: &StoredMembership, node: u64) -> Self {
        let sets = members.membership().get_joint_config();
        if !sets.iter().any(|set| set.contains(&node)) {
            Self::Not
        } else if sets.iter().all(|set| set.len() == 1) {
            Self::Alone
        } else {
            Self::Among
        }
    }
}

impl Authority {
    pub(super) fn new(node: u64, raft: &Raft<TypeConfig, StateMachine>) -> Self {
        Self { node, server: raft.server_metrics(), data: raft.data_metrics() }
    }

    /// For how long this leader has heard of no majority of the voters; none when it does not lead, is the only voter, or
    /// has not led for long enough to tell.
    pub(super) fn silence(&self) -> Option<Duration> {
        let acked = self.data.borrow_watched().last_quorum_acked?;
        let server = self.server.borrow_watched();
        let alone = matches!(Voting::of(&server.membership_config, self.node), Voting::Alone);
        (!alone && server.state.is_leader()).then(|| TypeConfig::now() - acked.into_inner())
    }

    /// The same in milliseconds, rounded up, as a leader tells it to others; nothing of silence for the only voter.
    pub(super) fn unconfirmed_ms(&self) -> Option<u64> {
        if let Some(silence) = self.silence() {
            return Some(silence.as_millis() as u64 + 1);
        }
        let server = self.server.borrow_watched();
        let alone = matches!(Voting::of(&server.membership_config, self.node), Voting::Alone);
        (alone && server.state.is_leader()).then_some(0)
    }
}
