//! The keys of the boxes, below `group, generation, 0`. Assigned bytes never change: they are on disks.
//!
//! | key | value |
//! | --- | --- |
//! | `0x04` | the group's clock: the latest time that a leader proposed, in milliseconds |
//! | `0x07, to group, number` | a message in the outbox |
//! | `0x08, 0x00, due, index, nth` | a timer |
//! | `0x08, 0x01, class, object, name` | the key of the timer of that name |
//! | `0x08, 0x02, lane` | how many timers wait for that lane |
//! | `0x09, 0x00, lane, number` | a message that was taken |
//! | `0x09, 0x01, from, index, nth` | the first message of a lane, from when on it may be run |
//! | `0x09, 0x02, lane` | a lane that is not empty |
//! | `0x09, 0x03, class number, object, invocation` | where an asynchronous call lies |
//! | `0x09, 0x04, class number, object` | how many of them wait for the object |
//! | `0x0a, 0x00, group` | how far the outbox for the group is filled, and trimmed |
//! | `0x0a, 0x01, group` | the mark: the last number taken of the group's outbox for this one |
//! | `0x0b, class, index, nth` | a dead letter |
//!
//! Numbers are u64 (`nth` u32) and big-endian. A *lane* is receiver class, receiver, sender class, sender, each ended
//! unmistakably; a function's receiver is empty. A client's call has no sender class; to a function it has its id as the
//! sender, so that functions run side by side.

use super::record::{DeadKey, Message, ReadyKey};
use crate::key::{end_text, take_text};

const CLOCK: u8 = 0x04;
const OUTBOX: u8 = 0x07;
const TIMERS: u8 = 0x08;
const LANES: u8 = 0x09;
const MARKS: u8 = 0x0a;
const DEAD: u8 = 0x0b;

const TIMER: u8 = 0x00;
const TIMER_NAME: u8 = 0x01;
const TIMER_LANE: u8 = 0x02;
const LANE_MESSAGE: u8 = 0x00;
const LANE_READY: u8 = 0x01;
const LANE_ENDS: u8 = 0x02;
const ASKED: u8 = 0x03;
const ASKED_WAITING: u8 = 0x04;
const MARK_OUT: u8 = 0x00;
const MARK_IN: u8 = 0x01;

/// The group's clock.
pub(crate) fn clock() -> Vec<u8> {
    vec![CLOCK]
}

/// A message in the outbox for `to`.
pub(crate) fn outbox(to: u64, number: u64) -> Vec<u8> {
    numbers(&[OUTBOX], &[to, number])
}

/// What the keys of all messages in the outbox for `to` begin with.
pub(crate) fn outbox_for(to: u64) -> Vec<u8> {
    numbers(&[OUTBOX], &[to])
}

/// How far an outbox is filled and trimmed.
pub(crate) fn filled(to: u64) -> Vec<u8> {
    numbers(&[MARKS, MARK_OUT], &[to])
}

/// What the keys of all of those begin with.
pub(crate) fn outboxes() -> Vec<u8> {
    vec![MARKS, MARK_OUT]
}

/// The group that an outbox is for.
pub(crate) fn parse_outbox_of(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.strip_prefix(&[MARKS, MARK_OUT])?.try_into().ok()?))
}

/// The mark for `from`.
pub(crate) fn taken(from: u64) -> Vec<u8> {
    numbers(&[MARKS, MARK_IN], &[from])
}

/// A timer.
pub(super) fn timer(key: ReadyKey) -> Vec<u8> {
    dated(&[TIMERS, TIMER], key)
}

/// What the keys of all timers begin with.
pub(crate) fn timers() -> Vec<u8> {
    vec![TIMERS, TIMER]
}

/// Where the timers begin that are due at `from_ms` or later.
pub(crate) fn timers_from(from_ms: u64) -> Vec<u8> {
    numbers(&[TIMERS, TIMER], &[from_ms])
}

/// Takes a timer's key apart.
pub(crate) fn parse_timer(key: &[u8]) -> Option<ReadyKey> {
    parse_dated(key.strip_prefix(&[TIMERS, TIMER])?)
}

/// The entry of a timer's name.
pub(crate) fn timer_named(class: u64, object: &str, name: &str) -> Vec<u8> {
    let mut key = numbers(&[TIMERS, TIMER_NAME], &[class]);
    end_text(&mut key, object);
    key.extend_from_slice(name.as_bytes());
    key
}

/// How many timers wait for a lane.
pub(super) fn timers_of(lane: &[u8]) -> Vec<u8> {
    [&[TIMERS, TIMER_LANE], lane].concat()
}

/// The lane of a message: what is delivered in order.
pub(super) fn lane(message: &Message) -> Vec<u8> {
    let mut lane = Vec::with_capacity(64);
    for part in [&message.class, &message.object, &message.from_class, &message.from_object] {
        end_text(&mut lane, part);
    }
    lane
}

/// Whether asynchronous calls lie in the lane: nobody's class is empty.
pub(super) fn is_asked(lane: &[u8]) -> bool {
    let mut rest = lane;
    let parts = [take_text(&mut rest), take_text(&mut rest), take_text(&mut rest)];
    parts[2].as_ref().is_some_and(String::is_empty)
}

/// Where an asynchronous call lies.
pub(crate) fn asked(class: u64, object: &str, invocation: &str) -> Vec<u8> {
    let mut key = numbers(&[LANES, ASKED], &[class]);
    end_text(&mut key, object);
    key.extend_from_slice(invocation.as_bytes());
    key
}

/// How many asynchronous calls wait for an object.
pub(super) fn asked_waiting(class: u64, object: &str) -> Vec<u8> {
    let mut key = numbers(&[LANES, ASKED_WAITING], &[class]);
    key.extend_from_slice(object.as_bytes());
    key
}

/// A message in its lane.
pub(crate) fn in_lane(lane: &[u8], number: u64) -> Vec<u8> {
    numbers(&[&[LANES, LANE_MESSAGE], lane].concat(), &[number])
}

/// What the keys of the messages of all lanes begin with.
pub(crate) fn in_lanes() -> Vec<u8> {
    vec![LANES, LANE_MESSAGE]
}

/// Where a lane begins and ends.
pub(super) fn ends_of(lane: &[u8]) -> Vec<u8> {
    [&[LANES, LANE_ENDS], lane].concat()
}

/// The first message of some lane.
pub(crate) fn ready(key: ReadyKey) -> Vec<u8> {
    dated(&[LANES, LANE_READY], key)
}

/// What the keys of all of those begin with.
pub(crate) fn readies() -> Vec<u8> {
    vec![LANES, LANE_READY]
}

/// Takes such a key apart.
pub(crate) fn parse_ready(key: &[u8]) -> Option<ReadyKey> {
    parse_dated(key.strip_prefix(&[LANES, LANE_READY])?)
}

/// A dead letter.
pub(crate) fn dead(class: &str, key: DeadKey) -> Vec<u8> {
    dead_after(class, key)
}

/// Where a class's dead letters from `key` on begin.
pub(crate) fn dead_after(class: &str, key: DeadKey) -> Vec<u8> {
    let mut bytes = dead_letters_of(class);
    bytes.extend_from_slice(&key.index.to_be_bytes());
    bytes.extend_from_slice(&key.nth.to_be_bytes());
    bytes
}

/// What the keys of all dead letters begin with.
pub(crate) fn all_dead_letters() -> Vec<u8> {
    vec![DEAD]
}

/// What the keys of a class's dead letters begin with.
pub(crate) fn dead_letters_of(class: &str) -> Vec<u8> {
    let mut key = vec![DEAD];
    end_text(&mut key, class);
    key
}

/// Takes a dead letter's key apart.
pub(crate) fn parse_dead(key: &[u8]) -> Option<DeadKey> {
    let mut rest = key.strip_prefix(&[DEAD])?;
    take_text(&mut rest)?;
    let (index, nth) = rest.split_first_chunk::<8>()?;
    Some(DeadKey { index: u64::from_be_bytes(*index), nth: u32::from_be_bytes(nth.try_into().ok()?) })
}

fn numbers(begin: &[u8], numbers: &[u64]) -> Vec<u8> {
    let mut key = Vec::with_capacity(begin.len() + 8 * numbers.len() + 4);
    key.extend_from_slice(begin);
    for number in numbers {
        key.extend_from_slice(&number.to_be_bytes());
    }
    key
}

fn dated(begin: &[u8], key: ReadyKey) -> Vec<u8> {
    let mut bytes = numbers(begin, &[key.at_ms, key.index]);
    bytes.extend_from_slice(&key.nth.to_be_bytes());
    bytes
}

fn parse_dated(rest: &[u8]) -> Option<ReadyKey> {
    let (at_ms, rest) = rest.split_first_chunk::<8>()?;
    let (index, nth) = rest.split_first_chunk::<8>()?;
    Some(ReadyKey {
        at_ms: u64::from_be_bytes(*at_ms),
        index: u64::from_be_bytes(*index),
        nth: u32::from_be_bytes(nth.try_into().ok()?),
    })
}
