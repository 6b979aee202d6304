//! The harness of the cross-crate tests: it runs the real `oprc` binary, talks to it as a user would, and never looks
//! inside it.
//!
//! A test's way through it: [`both!`] makes one test per [`Kind`] of server, [`Server`] runs the processes and shows
//! their logs when the test fails, [`guests`] builds the components, [`Http`] sends requests and [`Reply`] checks what
//! comes back, [`Class`] and [`Object`] shorten the paths. Tests wait for conditions ([`eventually`]), never for a time,
//! and take their randomness from [`seed::rng`], which prints the seed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test harness fails by panicking")]

mod binary;
mod class;
pub mod guests;
mod http;
mod place;
mod process;
mod proxy;
pub mod raw;
mod reply;
mod run;
pub mod seed;
mod server;

pub use binary::{oprc, root};
pub use class::{Class, Object, encode, multipart, unique};
pub use http::{Call, Http, Lost};
pub use place::free_port;
pub use process::{Cli, Process};
pub use proxy::{LINK_LEASE, Proxy};
pub use reply::{Reply, tag};
pub use run::{PATIENCE, eventually, run, run_on};
pub use server::{Kind, STOP_PATIENCE, Server};
