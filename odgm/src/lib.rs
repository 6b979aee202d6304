//! The Object Data Grid Manager: durable, replicated objects with fields, in partitions that are Raft groups, over
//! `RocksDB`.
//!
//! One commit's way through this crate: [`Partition::commit`] queues it with the partition's proposer, which gathers
//! what waits into one Raft entry; openraft appends the entry; the one log-writer thread writes the entries of all
//! partitions with one fsync; the entry is committed and applied: each of its commits is fenced and turned into effects
//! by a pure function, the effects are written to the state database together with the applied index; the caller gets
//! its [`CommitReply`]. After a crash the state is what its last flush held, and the rest is replayed from the log.

mod alone;
mod apply;
mod ask;
mod asked;
mod bootstrap;
mod catalog;
mod catalog_client;
mod checkpoint;
mod config;
mod control;
mod counts;
mod courier;
mod crash;
mod drain;
mod error;
mod events;
mod identity;
mod janitor;
mod keeping;
mod key;
mod leadership;
mod log_writer;
mod mail;
mod metrics;
mod node;
mod partition;
mod partitions;
mod placement;
mod poison;
mod postbox;
mod problem;
mod proposer;
mod questions;
mod raft;
mod record;
mod store;
#[cfg(test)]
mod testing;
mod types;
mod under_way;

pub use catalog_client::Catalog;
pub use config::{Joining, OdgmConfig};
#[doc(hidden)]
pub use crash::crash_point;
pub use error::OdgmError;
pub use mail::{
    Asked, Asking, DeadAction, DeadKey, DeadRecord, DeadStep, Message, Outgoing, Post, ReadyKey, Settle,
    Verdict,
};
pub use node::{Odgm, Prepared};
pub use partition::{Ended, Partition, UnderWay};
pub use store::{AskedCall, EventsOf, Inbound, Reader};
pub use types::{Change, Commit, CommitReply, Head, Known, LogStats, NewRevision, Outcome, Rejection, Told};
