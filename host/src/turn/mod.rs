//! Turns: one run of a method on one object. It starts, reads, buffers writes, then commits or vanishes.

mod access;
mod commit;
mod emits;
mod mailbox;
mod once;
mod others;
mod overlay;
mod read;
mod run;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use read::Wish;
pub(crate) use run::Turns;
