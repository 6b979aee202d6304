//! Streams of events to many readers: what is encoded once goes to all whom it is for, each through a bounded queue of its
//! own. Nothing here waits, and nothing knows where events come from: that is [`crate::events`]' part.

mod hub;
mod hubs;
mod queue;
#[cfg(test)]
mod tests;
mod text;

pub(crate) use self::hub::{Filter, Hub, Scope};
pub(crate) use self::hubs::{Hold, Hubs, Seat};
pub(crate) use self::queue::{Queue, Stream};
pub(crate) use self::text::{End, Gap, event, gap, opening};
