//! The mesh: how the parts of oprc find and call each other, and the words that they share.
//!
//! One call's way through this crate: [`Mesh::call`] looks whether the target is this very process; then it hands the
//! operation to the local [`Handler`] as it is. Otherwise it encodes a [`wire::Request`], publishes it to the node's
//! key expression over Zenoh with a correlation id, and waits for the [`wire::Reply`] until the deadline. The node's
//! side decodes, hands the same operation to its [`Handler`], and publishes the reply. Both ways give the same answers
//! and the same [`outcome::Problem`]s.

pub mod catalog;
mod config;
mod directory;
mod follow;
pub mod id;
pub mod limits;
pub mod manifest;
mod member;
mod mesh;
mod outbox;
pub mod outcome;
mod peers;
mod pending;
pub mod retry;
mod serve;
mod session;
pub mod testing;
pub mod wire;

pub use config::{Handler, MeshConfig, MeshError};
pub use directory::Directory;
pub use mesh::Mesh;
pub use peers::{Lane, Peers, Receiver};
