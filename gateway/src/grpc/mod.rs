//! gRPC, on the port and the connections that REST has: its requests are told by their media type. A service reads a
//! message into the types that the REST handlers use, calls what they call, and writes what comes back as a message; a
//! refusal becomes a status with details (`status`).
//!
//! Every call is let in, held to its size, its time and its share of memory as one of REST is, before any of it is read.
//! What goes on for long takes a seat like a reader of events instead, and ends with its connection: one whose reader
//! takes nothing counts as idle.

mod events;
mod health;
mod invocations;
mod lists;
mod objects;
mod parse;
mod reflection;
mod serve;
mod status;
mod told;

pub(crate) use self::serve::{answer, is_grpc};

/// What the build makes of the `.proto` files.
#[allow(clippy::all, clippy::pedantic, unreachable_pub, reason = "it is generated")]
pub(crate) mod pb {
    include!(concat!(env!("OUT_DIR"), "/oprc.v1.rs"));
}
