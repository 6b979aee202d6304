//! Openraft behind this crate's own words: nothing outside this folder names its types.

mod authority;
mod codec;
#[cfg(test)]
mod codec_tests;
mod config;
mod exchange;
mod forget;
mod freshness;
mod group;
mod holds;
mod inbound;
mod lease;
mod log_reader;
mod log_store;
mod members;
mod message;
mod network;
mod receiving;
#[cfg(test)]
mod replication_tests;
mod rest;
mod sending;
mod signs;
mod snapshot;
mod state_machine;
#[cfg(test)]
mod state_machine_tests;
#[cfg(test)]
mod suite_tests;
mod tail;
#[cfg(test)]
mod tail_tests;
mod types;
mod window;
mod wire;

pub(crate) use self::exchange::{Exchange, Inlet};
pub(crate) use self::forget::{finish as finish_forgetting, forget, forget_promises, is_stored};
pub(crate) use self::group::{Follow, Group, GroupContext, ReadError, Standing};
pub(crate) use self::members::{MemberError, Members};
pub(crate) use self::state_machine::Machine;
pub(crate) use self::types::{Command, ProposalError, Reply};
