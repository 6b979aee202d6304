//! What of messages lies in the log, in the state and on the mesh: protobuf, tags never change.

use oprc_mesh::outcome::Problem;

use super::asked::{Ask, Asked, Asking};

/// What a message takes up beside what it holds, about.
const OVERHEAD_BYTES: usize = 64;
/// A text of a problem that is kept with a dead letter.
const PROBLEM_TEXT_BYTES_MAX: usize = 4096;

/// A message to an object, or to a function.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Message {
    /// Names it for ever; given when the sender's commit is applied. Also the id of the call that it becomes.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The sender's class.
    #[prost(string, tag = "2")]
    pub from_class: String,
    /// The sender.
    #[prost(string, tag = "3")]
    pub from_object: String,
    /// The receiver's class.
    #[prost(string, tag = "4")]
    pub class: String,
    /// The receiver; empty for a function.
    #[prost(string, tag = "5")]
    pub object: String,
    /// The method or function.
    #[prost(string, tag = "6")]
    pub method: String,
    /// Its arguments.
    #[prost(bytes = "bytes", tag = "7")]
    pub payload: bytes::Bytes,
    /// What the payload is: [`oprc_mesh::wire::Form`].
    #[prost(int32, tag = "8")]
    pub form: i32,
    /// Triggers that led to it, one through the other.
    #[prost(uint32, tag = "9")]
    pub depth: u32,
    /// When it was sent, by the sender's partition's clock.
    #[prost(uint64, tag = "10")]
    pub sent_ms: u64,
    /// A trigger sent it, and not the sender's code.
    #[prost(bool, tag = "11")]
    pub triggered: bool,
    /// A client's asynchronous call, and what it is beside a message.
    #[prost(message, optional, tag = "12")]
    pub asked: Option<Asked>,
    /// How often it was a dead letter that was tried again: what it is run as calls others anew each time.
    #[prost(uint32, tag = "13")]
    pub revived: u32,
    /// The sender's span, as in the header `traceparent`; empty when it was not traced.
    #[prost(string, tag = "14")]
    pub trace: String,
    /// It is delivered long after it was sent: what it is run as begins a trace of its own.
    #[prost(bool, tag = "15")]
    pub later: bool,
}

impl Message {
    /// About what it takes up, for bounds on batches.
    pub(crate) fn bytes(&self) -> usize {
        let names = [&self.id, &self.from_class, &self.from_object, &self.class, &self.object, &self.method];
        let asked = self.asked.as_ref().map_or(0, Asked::bytes);
        let names = names.iter().map(|name| name.len()).sum::<usize>();
        self.payload.len() + names + asked + self.trace.len() + OVERHEAD_BYTES
    }
}

/// A message on its way into the sender's commit.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Outgoing {
    /// The message, without an id.
    #[prost(message, required, tag = "1")]
    pub message: Message,
    /// The group of the receiver's partition; a function's messages stay in the sender's.
    #[prost(uint64, tag = "2")]
    pub to_group: u64,
    /// Not to be delivered before then; 0 for at once.
    #[prost(uint64, tag = "3")]
    pub due_ms: u64,
    /// A name within the sender: a later message of the same name takes its place while it is not due.
    #[prost(string, optional, tag = "4")]
    pub key: Option<String>,
}

impl Outgoing {
    /// About what it takes up in the log.
    pub(crate) fn bytes(&self) -> usize {
        self.message.bytes() + self.key.as_ref().map_or(0, String::len) + 16
    }
}

/// A message that is not due yet.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TimerRecord {
    #[prost(message, required, tag = "1")]
    pub(crate) outgoing: Outgoing,
    /// The sender's class's number.
    #[prost(uint64, tag = "2")]
    pub(crate) class: u64,
}

/// Names a record by a time and a place in the log: unique in its group, and later ones are larger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Message)]
pub struct ReadyKey {
    /// From when on it counts.
    #[prost(uint64, tag = "1")]
    pub at_ms: u64,
    /// The entry that made it.
    #[prost(uint64, tag = "2")]
    pub index: u64,
    /// Its number within that entry.
    #[prost(uint32, tag = "3")]
    pub nth: u32,
}

/// The first message of a lane, which may be run.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ReadyRecord {
    /// The lane, as it stands in keys.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) lane: Vec<u8>,
    /// The message's number in the lane.
    #[prost(uint64, tag = "2")]
    pub(crate) number: u64,
    /// How often it has failed.
    #[prost(uint32, tag = "3")]
    pub(crate) attempts: u32,
}

/// A lane that is not empty: its messages have the numbers from `head` to before `next`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct LaneRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) head: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) next: u64,
}

/// The outbox for one group: what lies in it has the numbers after `trimmed` and up to `last`. They count from 1.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct OutRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) last: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) trimmed: u64,
}

/// What becomes of a ready message; part of the commit of the turn that it was run as.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Settle {
    /// Which one. When it is ready no more, somebody has settled it, and the whole commit is void.
    #[prost(message, required, tag = "1")]
    pub ready: ReadyKey,
    /// What becomes of it.
    #[prost(enumeration = "Verdict", tag = "2")]
    pub verdict: i32,
    /// When to try again, for [`Verdict::Retry`] and [`Verdict::Postpone`].
    #[prost(uint64, tag = "3")]
    pub at_ms: u64,
    /// What it failed with, for [`Verdict::Dead`].
    #[prost(message, optional, tag = "4")]
    pub problem: Option<Problem>,
    /// Where it belongs, for [`Verdict::Forward`].
    #[prost(uint64, tag = "5")]
    pub to_group: u64,
}

impl Settle {
    /// The same without what is long in its problem: a dead letter is kept for people.
    pub(crate) fn shortened(mut self) -> Self {
        if let Some(problem) = &mut self.problem {
            for text in [&mut problem.detail, &mut problem.error, &mut problem.backtrace] {
                if text.len() > PROBLEM_TEXT_BYTES_MAX {
                    text.truncate(text.floor_char_boundary(PROBLEM_TEXT_BYTES_MAX));
                    text.push_str(" ...");
                }
            }
        }
        self
    }
}

/// See [`Settle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Verdict {
    /// It has taken effect.
    Consumed = 0,
    /// It failed, and is tried again later.
    Retry = 1,
    /// It is tried no more.
    Dead = 2,
    /// Its receiver lives in another partition.
    Forward = 3,
    /// It could not be tried; that is no failure of its own.
    Postpone = 4,
}

/// What a commit does beside the object: messages that it sends, timers that it cancels, the message that it settles.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Post {
    /// In the order in which they were sent.
    pub sends: Vec<Outgoing>,
    /// Names of the sender's timers; cancelled before anything is sent.
    pub cancels: Vec<String>,
    /// The message that the turn was run for.
    pub settle: Option<Settle>,
}

impl Post {
    /// Whether there is nothing to commit in it.
    pub fn is_empty(&self) -> bool {
        self.sends.is_empty() && self.cancels.is_empty() && self.settle.is_none()
    }
}

/// A message that is tried no more.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeadRecord {
    /// The message.
    #[prost(message, required, tag = "1")]
    pub message: Message,
    /// How often it failed.
    #[prost(uint32, tag = "2")]
    pub attempts: u32,
    /// What it failed with at last.
    #[prost(message, required, tag = "3")]
    pub problem: Problem,
    /// When it was given up.
    #[prost(uint64, tag = "4")]
    pub dead_ms: u64,
}

/// Names a dead letter within its group and class.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Message)]
pub struct DeadKey {
    /// The entry that made it.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Its number within that entry.
    #[prost(uint32, tag = "2")]
    pub nth: u32,
}

/// What to do with dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum DeadAction {
    /// Try them again, from the first attempt.
    Retry = 0,
    /// Forget them.
    Purge = 1,
}

/// A step of messages that is no turn's commit.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct MailCommand {
    /// The term in which it was decided; it is void in another.
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    /// The leader's clock.
    #[prost(uint64, tag = "2")]
    pub(crate) now_ms: u64,
    #[prost(oneof = "MailStep", tags = "10, 11, 12, 13, 14, 15")]
    pub(crate) step: Option<MailStep>,
}

/// See [`MailCommand`].
#[allow(clippy::large_enum_variant, reason = "one at a time, and moved rather than kept")]
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum MailStep {
    /// Messages from another group's outbox.
    #[prost(message, tag = "10")]
    Take(Take),
    /// Messages of the outbox have been taken.
    #[prost(message, tag = "11")]
    Trim(Trim),
    /// Timers are due.
    #[prost(message, tag = "12")]
    Tick(Tick),
    /// Dead letters are tried again, or forgotten.
    #[prost(message, tag = "13")]
    Dead(DeadStep),
    /// Messages of the outbox are for a group that is gone for good.
    #[prost(message, tag = "14")]
    Return(Trim),
    /// A client's asynchronous call.
    #[prost(message, tag = "15")]
    Ask(Ask),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Take {
    #[prost(uint64, tag = "1")]
    pub(crate) from_group: u64,
    /// The first one's number; the others follow.
    #[prost(uint64, tag = "2")]
    pub(crate) first: u64,
    #[prost(message, repeated, tag = "3")]
    pub(crate) messages: Vec<Message>,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Trim {
    #[prost(uint64, tag = "1")]
    pub(crate) to_group: u64,
    /// The last number that was taken.
    #[prost(uint64, tag = "2")]
    pub(crate) upto: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Tick {
    /// No timer is due before then, as the leader knows: what was removed there is not looked through again.
    #[prost(uint64, tag = "1")]
    pub(crate) from_ms: u64,
    /// Timers at the most.
    #[prost(uint32, tag = "2")]
    pub(crate) limit: u32,
}

/// Names dead letters of a class.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeadStep {
    /// The class.
    #[prost(string, tag = "1")]
    pub class: String,
    /// Which ones; those that are not there are left out.
    #[prost(message, repeated, tag = "2")]
    pub letters: Vec<DeadKey>,
    /// What to do with them.
    #[prost(enumeration = "DeadAction", tag = "3")]
    pub action: i32,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MailReply {
    /// It was decided in another term than it came to be applied in: nothing was done.
    Stale,
    /// To [`MailStep::Take`]: the last number that is taken.
    Taken(u64),
    /// To [`MailStep::Ask`].
    Asked(Asking),
    /// To the others: how many were dealt with.
    Done(u64),
}
