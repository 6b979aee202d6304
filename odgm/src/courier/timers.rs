//! Sends off timers that are due: through the log, a bounded number at a time, and never faster than a fixed rate, so that
//! what an outage has held up does not come as a flood.

use std::time::Duration;

use crate::error::OdgmError;
use crate::mail::{MailStep, Tick};
use crate::partition::Partition;
use oprc_mesh::clock::now_ms;

/// Timers that one entry sends off.
const TICK_TIMERS: u32 = 256;
/// The pause after an entry that was full: with [`TICK_TIMERS`] about 5,000 timers a second for each partition.
const TICK_PAUSE: Duration = Duration::from_millis(50);
/// The pause after a failure.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// However far off the next timer is, the clock of the system is looked at again: it may be set meanwhile.
const LOOK_MAX: Duration = Duration::from_secs(30);

/// Runs for ever; to be dropped when this host leads the partition no more.
pub(super) async fn run(partition: &Partition) {
    // no timer is due before: what is set later is due no earlier than the group's clock, which has passed it
    let mut from_ms = 0;
    loop {
        let pause = match look(partition, &mut from_ms).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(group = partition.group(), %error, "timers cannot be read");
                Some(RETRY_PAUSE)
            }
        };
        let rung = partition.raft().state().bell().timers.notified();
        match pause {
            Some(pause) => drop(tokio::time::timeout(pause, rung).await),
            None => rung.await,
        }
    }
}

/// Sends off what is due; says when to look again, at the latest when something new rings.
async fn look(partition: &Partition, from_ms: &mut u64) -> Result<Option<Duration>, OdgmError> {
    let Some(due_ms) = partition.raft().state().first_timer(*from_ms)? else { return Ok(None) };
    let now = now_ms();
    if due_ms > now {
        // a timer is never early, and late by a millisecond at the most
        return Ok(Some(Duration::from_millis(due_ms - now).min(LOOK_MAX)));
    }
    crate::crash::crash_point("before-tick");
    match partition.done(MailStep::Tick(Tick { from_ms: *from_ms, limit: TICK_TIMERS })).await {
        Ok(moved) => {
            crate::crash::crash_point("after-tick");
            *from_ms = due_ms;
            if moved >= u64::from(TICK_TIMERS) {
                tokio::time::sleep(TICK_PAUSE).await;
            }
            Ok(Some(Duration::ZERO))
        }
        Err(problem) => {
            tracing::debug!(group = partition.group(), %problem, "timers wait");
            Ok(Some(RETRY_PAUSE))
        }
    }
}
