//! Dead letters: messages that are tried no more.

use bytes::Bytes;

use crate::outcome::Problem;

/// Names a dead letter within its partition and class; later ones are larger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
pub struct LetterId {
    /// The entry of the partition's log that made it one.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Its number within that entry.
    #[prost(uint32, tag = "2")]
    pub nth: u32,
}

/// Asks one partition for a page of a class's dead letters. The class may have been removed.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ListDeadLetters {
    /// The class that the messages were for.
    #[prost(string, tag = "1")]
    pub class: String,
    /// The partition's Raft group.
    #[prost(uint64, tag = "2")]
    pub group: u64,
    /// Only those after this one.
    #[prost(message, optional, tag = "3")]
    pub after: Option<LetterId>,
    /// Items at the most.
    #[prost(uint32, tag = "4")]
    pub limit: u32,
}

/// A page of dead letters.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeadLetterPage {
    /// Oldest first.
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<DeadLetter>,
    /// More follow after the last item.
    #[prost(bool, tag = "2")]
    pub more: bool,
}

/// A dead letter.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeadLetter {
    /// Its name.
    #[prost(message, required, tag = "1")]
    pub id: LetterId,
    /// The message's own id, and that of the calls that it was run as.
    #[prost(string, tag = "2")]
    pub message: String,
    /// The sender's class.
    #[prost(string, tag = "3")]
    pub from_class: String,
    /// The sender.
    #[prost(string, tag = "4")]
    pub from_object: String,
    /// The receiver; empty for a function.
    #[prost(string, tag = "5")]
    pub object: String,
    /// The method or function.
    #[prost(string, tag = "6")]
    pub method: String,
    /// Its arguments.
    #[prost(bytes = "bytes", tag = "7")]
    pub payload: Bytes,
    /// A trigger sent it.
    #[prost(bool, tag = "8")]
    pub triggered: bool,
    /// How often it failed.
    #[prost(uint32, tag = "9")]
    pub attempts: u32,
    /// What it failed with at last.
    #[prost(message, required, tag = "10")]
    pub problem: Problem,
    /// When it was sent, in milliseconds since the Unix epoch.
    #[prost(uint64, tag = "11")]
    pub sent_ms: u64,
    /// When it was given up.
    #[prost(uint64, tag = "12")]
    pub dead_ms: u64,
}

/// Tries dead letters of a class in one partition again, or forgets them.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ChangeDeadLetters {
    /// The class.
    #[prost(string, tag = "1")]
    pub class: String,
    /// The partition's Raft group.
    #[prost(uint64, tag = "2")]
    pub group: u64,
    /// Which ones; with none named, all that there are.
    #[prost(message, repeated, tag = "3")]
    pub letters: Vec<LetterId>,
    /// They are forgotten; otherwise tried again.
    #[prost(bool, tag = "4")]
    pub purge: bool,
}

/// Dead letters were changed.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct DeadLettersChanged {
    /// How many were there.
    #[prost(uint64, tag = "1")]
    pub count: u64,
}
