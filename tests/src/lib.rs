//! The harness of the cross-crate tests: it runs the real `oprc` binary, talks to it as a user would, and never looks
//! inside it.
//!
//! A test's way through it: [`both!`] makes one test per [`Kind`] of server, [`Server`] runs the processes and shows
//! their logs when the test fails, [`guests`] builds the components, [`Http`] sends requests and [`Reply`] checks what
//! comes back, [`Class`] and [`Object`] shorten the paths. [`Cluster`] runs many hosts, whose links can be cut; a
//! [`Ledger`] finds writes that were lost or doubled, [`Registers`] check that all was linearizable. Tests wait for
//! conditions ([`eventually`]), never for a time, and take their randomness from [`seed::rng`], which prints the seed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test harness fails by panicking")]

mod bank;
mod binary;
mod class;
mod cluster;
mod collector;
pub mod doors;
mod events;
pub mod figure;
pub mod grpc;
pub mod guests;
mod http;
pub mod issuer;
mod ledger;
pub mod linear;
mod links;
mod load;
pub mod mesh;
pub mod metrics;
mod miser;
mod namespaces;
pub mod open_loop;
pub mod openapi;
mod origin;
mod picture;
mod place;
mod process;
mod proxy;
pub mod raw;
mod registers;
mod reply;
mod resources;
mod run;
pub mod seed;
mod server;
pub mod values;

pub use bank::{Bank, Transfer};
pub use binary::{oprc, root};
pub use class::{Class, Object, encode, multipart, unique};
pub use cluster::{Cluster, Plan};
pub use collector::{Collector, Span};
pub use events::{Block, Events, brief};
pub use http::{Call, Http, Ingress, Lost};
pub use ledger::Ledger;
pub use links::Party;
pub use load::{Load, Over};
pub use miser::{Miser, taken_bytes};
pub use origin::{Asked, Origin};
pub use picture::{Partition, Picture};
pub use place::free_port;
pub use process::{Cli, Process};
pub use proxy::{LINK_LEASE, Proxy};
pub use registers::{Consistency, Registers, Way};
pub use reply::{Reply, tag};
pub use resources::Resources;
pub use run::{PATIENCE, eventually, run, run_on, within};
pub use server::{Kind, STOP_PATIENCE, Server};
