//! What a node tells of itself and of the cluster.

use crate::catalog::{CatalogView, NodeState};

/// The catalog, and who leads what as far as the answering node knows.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CatalogRead {
    /// The catalog.
    #[prost(message, required, tag = "1")]
    pub view: CatalogView,
    /// The groups that the answering node leads.
    #[prost(message, repeated, tag = "2")]
    pub leads: Vec<Leads>,
}

/// Changes what the cluster expects of a host.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct SetHost {
    /// The host.
    #[prost(uint64, tag = "1")]
    pub node: u64,
    /// What is expected of it.
    #[prost(enumeration = "NodeState", tag = "2")]
    pub state: i32,
}

/// A node leads a group: what leaders announce.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct Leads {
    /// The Raft group.
    #[prost(uint64, tag = "1")]
    pub group: u64,
    /// The term in which it leads.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// The leader.
    #[prost(uint64, tag = "3")]
    pub node: u64,
}

/// One node's partitions.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NodeStatus {
    /// In group order.
    #[prost(message, repeated, tag = "1")]
    pub replicas: Vec<ReplicaStatus>,
    /// Why the node does not serve; empty when it does.
    #[prost(string, tag = "2")]
    pub poisoned: String,
    /// Synced writes of the node's log since it started.
    #[prost(uint64, tag = "3")]
    pub log_fsyncs: u64,
    /// Raft entries in them.
    #[prost(uint64, tag = "4")]
    pub log_entries: u64,
    /// Bytes in them.
    #[prost(uint64, tag = "5")]
    pub log_bytes: u64,
    /// Turns that committed since the node started.
    #[prost(uint64, tag = "6")]
    pub commits: u64,
    /// It is stopping and hands its leaderships over.
    #[prost(bool, tag = "20")]
    pub draining: bool,
    /// Its replica of the catalog.
    #[prost(message, optional, tag = "21")]
    pub catalog: Option<ReplicaStatus>,
}

/// One replica of a partition on one node.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReplicaStatus {
    /// The Raft group.
    #[prost(uint64, tag = "1")]
    pub group: u64,
    /// The term that it is in.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// The leader that it knows; 0 for none.
    #[prost(uint64, tag = "3")]
    pub leader: u64,
    /// The last log index that it holds.
    #[prost(uint64, tag = "4")]
    pub last: u64,
    /// The last log index that it applied.
    #[prost(uint64, tag = "5")]
    pub applied: u64,
}
