//! Streams of events to many readers: what is encoded once goes to all whom it is for, each through a bounded queue of its
//! own. Nothing here waits, and nothing knows where events come from: that is [`crate::events`]' part.

mod hub;
mod hubs;
mod queue;
#[cfg(test)]
mod tests;
mod text;

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

pub(crate) use self::hub::{Filter, Hub, Scope};
pub(crate) use self::hubs::{Hold, Hubs, Seat};
pub(crate) use self::queue::{Queue, Stream};
pub(crate) use self::text::{End, Gap, event, gap, opening};

/// How often a reader that nothing comes for is shown that its stream is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// When it is.
pub(crate) fn heartbeats() -> Interval {
    let mut beats = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats
}
