//! The mesh: how the parts of oprc find and call each other, and the words that they share.
//!
//! One call's way through this crate: [`Mesh::call`] looks whether the target is this very process; then it hands the
//! operation to the local [`Handler`] as it is. Otherwise it encodes a [`wire::Request`], publishes it to the node's
//! key expression over Zenoh with a correlation id, and waits for the [`wire::Reply`] until the deadline. The node's
//! side decodes, hands the same operation to its [`Handler`], and publishes the reply. Both ways give the same answers
//! and the same [`outcome::Problem`]s.
//!
//! Hosts also post to each other ([`Peers::post`]): messages without an answer, of which the grid's Raft is made. Whatever
//! waits for the same receiver, posts, requests or replies, leaves together in one frame.

pub mod access;
pub mod canary;
pub mod catalog;
pub mod clock;
mod config;
mod directory;
pub mod egress;
pub mod events;
mod exposure;
mod follow;
mod frame;
pub mod id;
pub mod json;
mod keys;
pub mod limits;
pub mod manifest;
mod member;
mod mesh;
pub mod metrics;
mod outbox;
pub mod outcome;
mod peers;
mod pending;
mod publish;
mod questions;
pub mod rates;
mod relay;
pub mod retry;
mod router;
mod secret;
mod serve;
mod session;
mod settings;
pub mod testing;
pub mod trace;
pub mod triggers;
mod ways;
pub mod wire;
pub mod wit;

pub use config::{Handler, MeshConfig, MeshError};
pub use directory::Directory;
pub use exposure::OpenEndpoint;
pub use mesh::Mesh;
pub use peers::{Lane, Peers, Receiver};
pub use publish::EventPublisher;
pub use questions::{Answerer, Answering, Question, Told};
pub use router::Router;
pub use secret::{MeshSecret, SecretError};
