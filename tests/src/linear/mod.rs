//! Is what clients saw explained by one register at each object, on which every operation took effect at one moment
//! between its invocation and its completion? (Herlihy and Wing, "Linearizability", 1990.)
//!
//! A test notes its operations in a [`History`] and asks it to [`History::check`]. Objects are checked one by one, which
//! is allowed because linearizability is local. An operation whose outcome is unknown may have taken effect at any
//! moment after its invocation, or never; one that certainly failed is no part of the history.

mod history;
mod model;
mod search;
#[cfg(test)]
mod tests;

pub use history::{History, Operation, Pending};
pub use model::{Action, Outcome, Seen, State};
pub use search::{Violation, check};
