//! How a host comes to belong to a cluster: it founds one, alone or with those that it expects, or joins one that is there.
//! What it does next is a pure function of what hosts say of themselves ([`moves`]); [`run`] asks them and does it.

mod moves;
#[cfg(test)]
mod moves_tests;
mod run;

pub(crate) use self::run::{Bootstrap, removed, run};
