//! What lies on disk inside the keys of [`crate::key`]: protobuf, so that a field may be added and tags never change.
//! A log record begins with [`FORMAT`] and its kind; an unknown one stops the node, because skipping a command that
//! other replicas apply would make them differ.

use oprc_mesh::access::{ApiKey, ChangeKey};
use oprc_mesh::catalog::{Class, ClassSettings, Founding, Grid, Method, Node, NodeState};
use oprc_mesh::wire::{Emitted, FieldWrite, Tag};

use crate::mail::{Outgoing, Settle};
use crate::types::{Change, Commit, Outcome};

/// The format of every stored record and of the data directory.
pub(crate) const FORMAT: u32 = 1;

/// A Raft log id.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct LogIdRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) index: u64,
}

/// A Raft vote.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct VoteRecord {
    #[prost(uint32, tag = "1")]
    pub(crate) format: u32,
    #[prost(uint64, tag = "2")]
    pub(crate) term: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) node: u64,
    #[prost(bool, tag = "4")]
    pub(crate) committed: bool,
}

/// How far a group's log is purged.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct PurgedRecord {
    #[prost(uint32, tag = "1")]
    pub(crate) format: u32,
    #[prost(message, required, tag = "2")]
    pub(crate) upto: LogIdRecord,
}

/// A group that was forgotten here. See [`crate::raft`].
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct ForgottenRecord {
    #[prost(uint32, tag = "1")]
    pub(crate) format: u32,
    /// The last log id that this host had.
    #[prost(message, optional, tag = "2")]
    pub(crate) last: Option<LogIdRecord>,
    /// The state is gone as well.
    #[prost(bool, tag = "3")]
    pub(crate) cleared: bool,
}

/// The members of a group: one voter set, or two during a joint change; other nodes learn.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct MembershipRecord {
    #[prost(message, repeated, tag = "1")]
    pub(crate) voters: Vec<VoterSet>,
    #[prost(uint64, repeated, tag = "2")]
    pub(crate) nodes: Vec<u64>,
}

/// One set of voters.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct VoterSet {
    #[prost(uint64, repeated, tag = "1")]
    pub(crate) nodes: Vec<u64>,
}

/// How far a replica generation has applied the log; written in the same batch as the data.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StateRecord {
    #[prost(uint32, tag = "1")]
    pub(crate) format: u32,
    #[prost(message, optional, tag = "2")]
    pub(crate) applied: Option<LogIdRecord>,
    #[prost(message, optional, tag = "3")]
    pub(crate) membership_at: Option<LogIdRecord>,
    #[prost(message, optional, tag = "4")]
    pub(crate) membership: Option<MembershipRecord>,
    /// All of it came with a snapshot, and nothing was applied since: the log may not reach up to it.
    #[prost(bool, tag = "5")]
    pub(crate) installed: bool,
}

/// A number on its own: a generation, a revision.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct NumberRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) value: u64,
}

/// The commits of one Raft entry, each fenced on its own.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CommitBatch {
    #[prost(message, repeated, tag = "1")]
    pub(crate) commits: Vec<CommitRecord>,
    /// The proposing leader's clock, in milliseconds since the Unix epoch. Replicas take time from the log alone.
    #[prost(uint64, tag = "2")]
    pub(crate) now_ms: u64,
}

/// One commit in the log.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CommitRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) class: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) revision: u64,
    #[prost(string, tag = "4")]
    pub(crate) object: String,
    #[prost(message, required, tag = "5")]
    pub(crate) base: Tag,
    #[prost(enumeration = "Change", tag = "6")]
    pub(crate) change: i32,
    #[prost(message, repeated, tag = "7")]
    pub(crate) writes: Vec<FieldWrite>,
    #[prost(string, tag = "8")]
    pub(crate) invocation: String,
    #[prost(message, optional, tag = "9")]
    pub(crate) outcome: Option<Outcome>,
    /// See [`crate::Post`] for these three.
    #[prost(message, repeated, tag = "12")]
    pub(crate) sends: Vec<Outgoing>,
    #[prost(string, repeated, tag = "13")]
    pub(crate) cancels: Vec<String>,
    #[prost(message, optional, tag = "14")]
    pub(crate) settle: Option<Settle>,
    #[prost(message, repeated, tag = "16")]
    pub(crate) emitted: Vec<Emitted>,
    /// It was computed from nothing of the object and changes nothing of it: it holds wherever the object stands.
    #[prost(bool, tag = "17")]
    pub(crate) unbound: bool,
}

/// A call that took effect, under its class, object and invocation id.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct KnownRecord {
    #[prost(message, required, tag = "1")]
    pub(crate) outcome: Outcome,
    /// Where it left the object.
    #[prost(message, optional, tag = "2")]
    pub(crate) tag: Option<Tag>,
}

/// When a call that took effect is to be forgotten, in the order of that.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ExpiryRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) class: u64,
    #[prost(string, tag = "2")]
    pub(crate) object: String,
    #[prost(string, tag = "3")]
    pub(crate) invocation: String,
    /// What it takes up.
    #[prost(uint64, tag = "4")]
    pub(crate) bytes: u64,
}

/// How much a group keeps of calls, and as of when.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct ClockRecord {
    /// The latest time that a leader proposed, in milliseconds since the Unix epoch.
    #[prost(uint64, tag = "1")]
    pub(crate) now_ms: u64,
    /// Calls that are kept ...
    #[prost(uint64, tag = "2")]
    pub(crate) kept: u64,
    /// ... and what they take up.
    #[prost(uint64, tag = "3")]
    pub(crate) kept_bytes: u64,
}

impl CommitRecord {
    /// About what it takes up in the log.
    pub(crate) fn bytes(&self) -> usize {
        let field =
            |write: &FieldWrite| write.key.len() + write.value.as_ref().map_or(0, bytes::Bytes::len) + 8;
        let outcome = self.outcome.as_ref().map_or(0, prost::Message::encoded_len);
        let emitted = |emitted: &Emitted| emitted.topic.len() + emitted.payload.len() + 8;
        self.writes.iter().map(field).sum::<usize>()
            + self.emitted.iter().map(emitted).sum::<usize>()
            + self.sends.iter().map(Outgoing::bytes).sum::<usize>()
            + self.object.len()
            + self.invocation.len()
            + outcome
            + 32
    }
}

impl From<Commit> for CommitRecord {
    fn from(commit: Commit) -> Self {
        Self {
            term: commit.term,
            class: commit.class,
            revision: commit.revision,
            object: commit.object.as_str().to_owned(),
            base: commit.base,
            change: commit.change as i32,
            writes: commit.writes,
            invocation: commit.invocation,
            outcome: commit.outcome,
            unbound: false,
            emitted: commit.emitted,
            sends: commit.post.sends,
            cancels: commit.post.cancels,
            settle: commit.post.settle.map(Settle::shortened),
        }
    }
}

/// One change of the catalog.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CatalogChange {
    #[prost(oneof = "CatalogCommand", tags = "1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12")]
    pub(crate) command: Option<CatalogCommand>,
}

impl CatalogChange {
    /// Whether this build knows what is to be done. What it does not know it must not pass over: other hosts do it.
    pub(crate) fn is_known(&self) -> bool {
        match &self.command {
            Some(CatalogCommand::ChangeKey(change)) => change.change.is_some(),
            command => command.is_some(),
        }
    }
}

/// The catalog's commands.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum CatalogCommand {
    /// A host joins or returns, or its zone changed; its state is not looked at. Once as many have joined as the founding
    /// expects, the default grid is laid out on them.
    #[prost(message, tag = "1")]
    SetNode(Node),
    /// Deploy a class.
    #[prost(message, tag = "2")]
    Deploy(DeployRecord),
    /// Remove a class.
    #[prost(message, tag = "3")]
    Remove(RemoveRecord),
    /// Begin the cluster: the first command of all.
    #[prost(message, tag = "4")]
    Found(Founding),
    /// What is expected of a host changes.
    #[prost(message, tag = "5")]
    SetState(StateChange),
    /// A partition should be held by other hosts, or led by another.
    #[prost(message, tag = "6")]
    Place(PlaceRecord),
    /// A partition's own leader tells who its members are.
    #[prost(message, tag = "7")]
    Settle(SettleRecord),
    /// The keys change.
    #[prost(message, tag = "8")]
    ChangeKey(ChangeKey),
    /// Deploy again what a class was before.
    #[prost(message, tag = "10")]
    Rollback(RollbackRecord),
    /// Give a class a canary, or change the one that it has.
    #[prost(message, tag = "11")]
    Canary(CanaryRecord),
    /// Make a class's canary the class.
    #[prost(message, tag = "12")]
    Promote(PromoteRecord),
}

/// Changes a host's state.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct StateChange {
    #[prost(uint64, tag = "1")]
    pub(crate) node: u64,
    #[prost(enumeration = "NodeState", tag = "2")]
    pub(crate) state: i32,
    /// Only when it is in this state; otherwise nothing changes.
    #[prost(enumeration = "NodeState", optional, tag = "3")]
    pub(crate) from: Option<i32>,
}

/// Places a partition.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PlaceRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) group: u64,
    /// The first one should lead.
    #[prost(uint64, repeated, tag = "2")]
    pub(crate) nodes: Vec<u64>,
    /// The partition's `placed` when this was decided; on another the command is refused.
    #[prost(uint64, tag = "3")]
    pub(crate) placed: u64,
}

/// The members of a partition's Raft group, committed there.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct SettleRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) group: u64,
    #[prost(uint64, repeated, tag = "2")]
    pub(crate) members: Vec<u64>,
    /// The partition's `placed` that the leader has followed; on another nobody is let go of.
    #[prost(uint64, tag = "3")]
    pub(crate) placed: u64,
}

/// See [`crate::NewRevision`].
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct DeployRecord {
    #[prost(string, tag = "1")]
    pub(crate) class: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) digest: bytes::Bytes,
    #[prost(message, required, tag = "3")]
    pub(crate) settings: ClassSettings,
    #[prost(message, repeated, tag = "4")]
    pub(crate) methods: Vec<Method>,
    #[prost(bool, tag = "5")]
    pub(crate) generic: bool,
    #[prost(uint64, tag = "6")]
    pub(crate) deployed_at_ms: u64,
    /// Refuse it when callers of the version before it would break. Older entries do not say, and were not refused.
    #[prost(bool, tag = "7")]
    pub(crate) keep_methods: bool,
    #[prost(bool, tag = "79")]
    pub(crate) serves_http: bool,
}

/// Deploys a component for a share of a class's objects.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CanaryRecord {
    #[prost(message, required, tag = "1")]
    pub(crate) deploy: DeployRecord,
    /// In percent.
    #[prost(uint32, tag = "2")]
    pub(crate) share: u32,
}

/// Makes a class's canary the class.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PromoteRecord {
    #[prost(string, tag = "1")]
    pub(crate) class: String,
    /// The clock of the host that was asked, in milliseconds since the Unix epoch.
    #[prost(uint64, tag = "2")]
    pub(crate) at_ms: u64,
}

/// Deploys an earlier version of a class again.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RollbackRecord {
    #[prost(string, tag = "1")]
    pub(crate) class: String,
    /// The version; 0 for the one before the current one.
    #[prost(uint64, tag = "2")]
    pub(crate) to: u64,
    /// The clock of the host that was asked, in milliseconds since the Unix epoch.
    #[prost(uint64, tag = "3")]
    pub(crate) at_ms: u64,
}

/// Removes a class; `purge` forgets it and its objects for good.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RemoveRecord {
    #[prost(string, tag = "1")]
    pub(crate) class: String,
    #[prost(bool, tag = "2")]
    pub(crate) purge: bool,
}

/// One stored record of the catalog's state.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CatalogRecord {
    #[prost(oneof = "CatalogItem", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub(crate) item: Option<CatalogItem>,
}

/// What the catalog's state consists of.
#[allow(clippy::large_enum_variant, reason = "few at a time, and moved rather than kept")]
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum CatalogItem {
    #[prost(message, tag = "1")]
    Counters(Counters),
    #[prost(message, tag = "2")]
    Node(Node),
    #[prost(message, tag = "3")]
    Grid(Grid),
    #[prost(message, tag = "4")]
    Class(ClassRecord),
    #[prost(message, tag = "5")]
    Version(Class),
    #[prost(message, tag = "6")]
    Founding(Founding),
    #[prost(message, tag = "7")]
    Key(ApiKey),
}

/// Numbers that are never given out twice.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Counters {
    /// The log index of the last change.
    #[prost(uint64, tag = "1")]
    pub(crate) revision: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) next_class: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) next_group: u64,
}

/// A class's name and number; its deployments are records of their own.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ClassRecord {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(uint64, tag = "2")]
    pub(crate) id: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) version: u64,
    /// Removed, but its objects stay and a redeploy brings it back.
    #[prost(bool, tag = "4")]
    pub(crate) removed: bool,
}
