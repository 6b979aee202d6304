//! The types that openraft is instantiated with, and what crosses the border to it.

use std::fmt;
use std::sync::Arc;

use openraft::impls::{BoxedErrorSource, EmptyNode, Entry, EntryPayload, InlineBatch, Vote, leader_id_std};
use openraft::raft::responder::Responder;
use openraft::type_config::alias::{
    CommittedLeaderIdOf, EntryOf, LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf,
};
use openraft::{OptionalSend, RaftTypeConfig};
use oprc_mesh::outcome::Problem;

use crate::catalog::CatalogReply;
use crate::mail::{MailCommand, MailReply};
use crate::record::{CatalogChange, CommitBatch};
use crate::types::CommitReply;

/// What an entry asks the state machine to do. Clones share the content: an entry lies in the log's tail, in openraft
/// and in the state machine at once.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    /// Commits to a partition.
    Commits(Arc<CommitBatch>),
    /// A change of the catalog; group 0 only.
    Catalog(Arc<CatalogChange>),
    /// A step of messages in a partition.
    Mail(Arc<MailCommand>),
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commits(batch) => write!(f, "{} commits", batch.commits.len()),
            Self::Catalog(_) => f.write_str("a catalog change"),
            Self::Mail(_) => f.write_str("a step of messages"),
        }
    }
}

/// What applying an entry gave.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// To an entry of Raft's own.
    None,
    /// One per commit, in order.
    Commits(Vec<CommitReply>),
    /// To a catalog change.
    Catalog(Result<CatalogReply, Problem>),
    /// To a step of messages.
    Mail(MailReply),
}

/// Takes an entry's outcome: called once when it is applied or refused; dropped uncalled when the group stops, and
/// then nobody knows.
pub(crate) struct Completion<T>(Box<dyn FnOnce(T) + Send>);

impl<T> Completion<T> {
    pub(crate) fn new(call: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Box::new(call))
    }
}

impl<T: OptionalSend + 'static> Responder<TypeConfig, T> for Completion<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}

/// Why an entry has no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProposalError {
    /// This node does not lead; it was never appended.
    NotLeader { leader: Option<u64> },
    /// It was appended and then leadership was lost: it may be applied under the next leader, or never.
    Discarded { leader: Option<u64> },
    /// The group has stopped before it was appended.
    Stopped,
}

/// See [`RaftTypeConfig`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TypeConfig;

impl RaftTypeConfig for TypeConfig {
    type D = Command;
    type R = Reply;
    type NodeId = u64;
    type Node = EmptyNode;
    type Term = u64;
    type LeaderId = leader_id_std::LeaderId<u64, u64>;
    type Vote = Vote<Self::LeaderId>;
    type Payload = EntryPayload<Command, u64, EmptyNode>;
    type Entry = Entry<CommittedLeaderIdOf<Self>, Self::Payload>;
    #[allow(deprecated, reason = "the runtime's own crate would be one more dependency for the same type")]
    type AsyncRuntime = openraft::impls::TokioRuntime;
    type Responder<T>
        = Completion<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

pub(crate) type LogId = LogIdOf<TypeConfig>;
pub(crate) type RaftEntry = EntryOf<TypeConfig>;
pub(crate) type RaftVote = VoteOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<u64, EmptyNode>;
pub(crate) type StoredMembership = StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = SnapshotMetaOf<TypeConfig>;
pub(super) type Snapshot = SnapshotOf<TypeConfig, super::snapshot::SnapshotData>;
