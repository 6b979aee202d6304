//! Turns: one run of a method on one object. It starts, reads, buffers writes, then commits or vanishes.

mod access;
mod commit;
mod mailbox;
mod overlay;
mod run;
mod write;

pub(crate) use run::Turns;
