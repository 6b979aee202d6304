//! Components: kept by digest, compiled once, run a turn at a time.
//!
//! Three lifetimes. [`Runtime`] lives as long as the process: the engine with its pool, the component store, the cache of
//! compiled modules. [`Module`] lives as long as a deployed component is in use: its code, its methods, everything about
//! its imports and exports looked up once. [`Module::call`] is one turn: a fresh instance that sees its object through
//! an [`ObjectAccess`] and is gone afterwards, whatever it did.
//!
//! A turn ends by itself or by a limit, and every way to end has its own problem: `cpu-limit`, `wall-limit`, `deadline`,
//! `memory-limit`, `payload-too-large`, the problem of a misused import, `trap`. What the turn wrote lies in its
//! `ObjectAccess`, which the caller gets back either way; nothing here commits anything.

mod access;
mod aot;
#[doc(hidden)]
pub mod bench;
mod bindings;
mod budget;
mod call;
mod contract;
mod engine;
mod error;
mod failure;
mod http;
mod imports;
mod messages;
mod meter;
mod module;
mod nested;
mod running;
mod runtime;
mod slots;
mod state;
mod stdio;
mod store;
#[cfg(test)]
pub(crate) mod tests;
mod ticker;

pub(crate) use access::{Called, Callee, Exit, Letter, ObjectAccess, OtherObjects, PassGate};
pub(crate) use call::Call;
pub(crate) use http::HttpRequest;
pub(crate) use module::Module;
pub(crate) use runtime::{Runtime, RuntimeConfig};
pub(crate) use store::Components;

pub(crate) use crate::value::Output;
