//! The function host: runs WebAssembly components beside the state that they read and write.
//!
//! One call's way through this crate: the mesh hands an operation to [`serve`]; a method of an object goes to
//! [`turn`], which queues it in the object's mailbox, gives it a view of the committed fields with its own writes above
//! (`overlay`), and lets [`wasm`] run the component, whose arguments and result [`value`] maps between JSON and WIT.
//! What it asks of the world outside goes through [`outgoing`].
//! What the turn wrote is proposed to the partition as one fenced commit; only when that is durable and applied does
//! the reply leave.

mod classes;
mod deploy;
mod events;
mod health;
mod host;
mod logs;
mod messages;
mod metrics;
mod outgoing;
mod serve;
mod supply;
mod sweep;
mod told;
mod turn;
mod value;
mod warm;
mod wasm;

pub use host::{Host, HostConfig, HostError};
#[doc(hidden)]
pub use wasm::bench;
