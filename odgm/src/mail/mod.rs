//! Durable messages, as far as they are a function of the log: what a commit, a delivery or the passing of time does to a
//! partition's boxes. Pure: it sees what is stored through [`Below`] and says what is to be stored instead.
//!
//! One message's way: the sender's commit puts it into the *outbox* for the receiver's partition, under the next number
//! for that pair of partitions, or, when it is not due yet, into the *timers* of the sender's own partition. A courier
//! (see [`crate::courier`]) carries the outbox over, in order and as often as it takes; the receiver's partition takes
//! exactly what follows on its *mark* for the sender's partition, which never goes away, so that nothing is taken twice
//! and nothing is left out. Taken messages wait in a *lane* for each pair of objects; the first of each lane is *ready* and
//! is run as a turn, whose commit settles it in the same entry. An asynchronous call (`asked`) begins in its lane.

mod asked;
mod desk;
mod keys;
mod lanes;
mod record;
#[cfg(test)]
mod sim_tests;
#[cfg(test)]
mod tests;
mod timers;

pub(crate) use self::asked::{Ask, AskedRecord};
pub use self::asked::{Asked, Asking};
pub(crate) use self::desk::{Below, Desk, Records, Stirred};
pub(crate) use self::keys::{
    all_dead_letters, asked, clock, dead, dead_after, dead_letters_of, filled, in_lane, in_lanes, outbox,
    outbox_for, outboxes, parse_dead, parse_outbox_of, parse_ready, parse_timer, readies, ready, timer_named,
    timers, timers_from,
};
pub use self::record::{
    DeadAction, DeadKey, DeadRecord, DeadStep, Message, Outgoing, Post, ReadyKey, Settle, Verdict,
};
pub(crate) use self::record::{MailCommand, MailReply, MailStep, OutRecord, ReadyRecord, Take, Tick, Trim};
