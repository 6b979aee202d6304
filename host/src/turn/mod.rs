//! Turns: one run of a method on one object. It starts, reads, buffers writes, then commits or vanishes.

mod access;
mod answer;
mod asked;
mod chain;
mod commit;
mod deliver;
mod effects;
mod emits;
mod gate;
#[cfg(test)]
mod gate_tests;
mod http;
mod mail;
mod mailbox;
mod nested;
#[cfg(test)]
mod nested_tests;
mod once;
mod others;
mod overlay;
mod read;
mod run;
mod standing;
#[cfg(test)]
mod tests;
mod traced;
mod triggers;
mod write;

pub(crate) use deliver::{Came, judge, settings_for};
pub(crate) use read::Wish;
pub(crate) use run::Turns;
