//! The event log of a partition: what each commit did, numbered without a hole, in the order of the commits.
//!
//! An event is written in the same batch as the effects that it tells of, by every replica alike, so it is as durable as
//! they are and has one place for ever. The log is bounded: blocks of old events go as new ones come, decided by numbers
//! that lie in the state themselves.
//!
//! All of it is decided here without I/O: [`note`] tells what a commit did, [`append`] where it goes and what goes for it.
//! [`crate::store`] carries it out and reads.

mod log;
#[cfg(test)]
mod log_tests;
mod note;
mod record;

pub(crate) use self::log::{LIMITS, LogChange, append};
pub(crate) use self::note::{Step, note};
pub(crate) use self::record::{BlockRecord, BoundsRecord, Told, class_of, decode};
