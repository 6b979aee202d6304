//! Who belongs to a group, and changes of that. Each is one step; deciding which comes next is the caller's.

use std::collections::{BTreeMap, BTreeSet};

use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::impls::EmptyNode;

use super::group::Group;
use super::types::TypeConfig;

/// The membership of a group as a replica knows it, whether it is committed yet or not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Members {
    /// Those who vote, in either set of a joint change.
    pub(crate) voters: BTreeSet<u64>,
    /// Those who only follow.
    pub(crate) learners: BTreeSet<u64>,
    /// A change from one set of voters to another is half done.
    pub(crate) joint: bool,
    /// It is committed: it will not be taken back.
    pub(crate) committed: bool,
}

/// Why a change of members did not happen.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub(crate) enum MemberError {
    /// Another replica leads.
    #[error("this host does not lead the group")]
    NotLeader,
    /// An earlier change is not committed yet, or the change cannot be.
    #[error("{0}")]
    Refused(String),
    /// The group has stopped.
    #[error("the group has stopped")]
    Stopped,
}

impl Group {
    /// Who belongs to it, as far as this replica knows.
    pub(crate) fn members(&self) -> Members {
        let metrics = self.raft().server_metrics();
        let metrics = metrics.borrow_watched();
        let (effective, committed) = (&metrics.membership_config, &metrics.committed_membership_config);
        let members = effective.membership();
        Members {
            voters: members.voter_ids().collect(),
            learners: members.learner_ids().collect(),
            joint: members.get_joint_config().len() > 1,
            committed: effective.log_id() == committed.log_id(),
        }
    }

    /// Leader only: up to which index each replica has the log; empty elsewhere.
    pub(crate) fn progress(&self) -> BTreeMap<u64, u64> {
        let metrics = self.raft().data_metrics();
        let metrics = metrics.borrow_watched();
        let progress = metrics.replication.iter().flatten();
        progress.map(|(node, matched)| (*node, matched.as_ref().map_or(0, |at| at.index))).collect()
    }

    /// The index of the last entry of this replica's log.
    pub(crate) fn last_index(&self) -> u64 {
        let metrics = self.raft().data_metrics();
        let metrics = metrics.borrow_watched();
        metrics.last_log.as_ref().map_or(0, |last| last.index)
    }

    /// Lets a replica follow, without a vote. Returns when that is committed.
    #[allow(
        clippy::zero_sized_map_values,
        reason = "openraft's own type; we keep nothing of a node in the group"
    )]
    pub(crate) async fn add_learner(&self, node: u64) -> Result<(), MemberError> {
        self.change(ChangeMembers::AddNodes(BTreeMap::from([(node, EmptyNode {})])), true).await
    }

    /// Makes `voters` the voters, by a joint change; earlier ones that are not among them leave the group. All of them must
    /// be members already. Returns when that is committed.
    pub(crate) async fn change_voters(&self, voters: BTreeSet<u64>) -> Result<(), MemberError> {
        self.change(ChangeMembers::ReplaceAllVoters(voters), false).await
    }

    /// Lets learners go.
    pub(crate) async fn drop_learners(&self, nodes: BTreeSet<u64>) -> Result<(), MemberError> {
        self.change(ChangeMembers::RemoveNodes(nodes), false).await
    }

    async fn change(&self, change: ChangeMembers<u64, EmptyNode>, retain: bool) -> Result<(), MemberError> {
        self.wake();
        match self.raft().change_membership(change, retain).await {
            Ok(_) => Ok(()),
            Err(error) => Err(member_error(error)),
        }
    }

    /// Hands the leadership to another voter. Whether it took it shows in [`Group::follow`].
    pub(crate) async fn transfer(&self, to: u64) -> Result<(), MemberError> {
        self.wake();
        self.give_up_lease();
        self.raft().trigger().transfer_leader(to).await.map_err(|_| MemberError::Stopped)
    }
}

fn member_error(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> MemberError {
    match error {
        RaftError::Fatal(_) => MemberError::Stopped,
        RaftError::APIError(
            ClientWriteError::ForwardToLeader(_) | ClientWriteError::LogEntryDiscarded(_),
        ) => MemberError::NotLeader,
        RaftError::APIError(other) => MemberError::Refused(other.to_string()),
    }
}
