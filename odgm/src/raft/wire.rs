//! What hosts say to each other about their groups: one protobuf message per request or reply. Requests carry a number
//! that the reply brings back; the mesh gathers the messages of all groups for one host into frames.

use prost::Message;

use crate::record::{LogIdRecord, StateRecord, VoteRecord};

/// One message between the replicas of a group.
#[derive(Clone, PartialEq, Message)]
pub(super) struct GroupMessage {
    /// The group.
    #[prost(uint64, tag = "1")]
    pub(super) group: u64,
    /// The cluster that the sender belongs to: group numbers mean nothing in another.
    #[prost(uint64, tag = "2")]
    pub(super) cluster: u64,
    /// Chosen by who asks; the reply carries it back.
    #[prost(uint64, tag = "3")]
    pub(super) number: u64,
    /// An unknown one is refused, so that its sender counts this host as not reached.
    #[prost(oneof = "Body", tags = "10, 11, 12, 13, 14, 15, 16, 20, 21, 22, 23, 24, 25")]
    pub(super) body: Option<Body>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Body {
    #[prost(message, tag = "10")]
    Append(Append),
    #[prost(message, tag = "11")]
    Vote(Ballot),
    #[prost(message, tag = "12")]
    PreVote(Ballot),
    #[prost(message, tag = "13")]
    Transfer(Transfer),
    #[prost(message, tag = "14")]
    Chunk(Chunk),
    /// Rest until there is work (see `rest`).
    #[prost(message, tag = "15")]
    Sleep(Sleep),
    /// Of no group: the sending host is there.
    #[prost(message, tag = "16")]
    Alive(Sign),
    #[prost(message, tag = "20")]
    Appended(Appended),
    #[prost(message, tag = "21")]
    Voted(Voted),
    #[prost(message, tag = "22")]
    Transferred(Transferred),
    #[prost(message, tag = "23")]
    Stored(Stored),
    /// To any request: it was not handed to the group.
    #[prost(message, tag = "24")]
    Refused(Refused),
    /// To [`Body::Sleep`]: it rests.
    #[prost(message, tag = "25")]
    Slept(Nothing),
}

impl Body {
    pub(super) fn is_reply(&self) -> bool {
        matches!(
            self,
            Self::Appended(_)
                | Self::Voted(_)
                | Self::Transferred(_)
                | Self::Stored(_)
                | Self::Refused(_)
                | Self::Slept(_)
        )
    }
}

/// Entries to append after `prev`; without entries a heartbeat.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Append {
    #[prost(message, required, tag = "1")]
    pub(super) vote: VoteRecord,
    #[prost(message, optional, tag = "2")]
    pub(super) prev: Option<LogIdRecord>,
    #[prost(message, optional, tag = "3")]
    pub(super) committed: Option<LogIdRecord>,
    /// The index of the first entry; the others follow on.
    #[prost(uint64, tag = "4")]
    pub(super) first: u64,
    /// As they lie in the log.
    #[prost(bytes = "bytes", repeated, tag = "5")]
    pub(super) entries: Vec<bytes::Bytes>,
    /// A sign of life of the receiver's that the leader had before it made this.
    #[prost(message, optional, tag = "6")]
    pub(super) seen: Option<Sign>,
    /// For how many milliseconds the leader had heard of no majority then; none when it never had.
    #[prost(uint64, optional, tag = "7")]
    pub(super) unconfirmed_ms: Option<u64>,
}

/// A host is there.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct Sign {
    /// Which of its processes.
    #[prost(fixed64, tag = "1")]
    pub(super) process: u64,
    /// How long that process had run, in milliseconds.
    #[prost(uint64, tag = "2")]
    pub(super) at_ms: u64,
}

/// To [`Append`].
#[derive(Clone, PartialEq, Message)]
pub(super) struct Appended {
    /// Durable up to the end of the request.
    #[prost(bool, tag = "1")]
    pub(super) all: bool,
    /// Durable up to here only.
    #[prost(message, optional, tag = "2")]
    pub(super) partly: Option<PartlyAppended>,
    /// The log does not hold `prev`.
    #[prost(bool, tag = "3")]
    pub(super) conflict: bool,
    /// There is a later leader or candidate.
    #[prost(message, optional, tag = "4")]
    pub(super) higher: Option<VoteRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PartlyAppended {
    #[prost(message, optional, tag = "1")]
    pub(super) upto: Option<LogIdRecord>,
}

/// A candidate's request, or the question whether it would be granted.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Ballot {
    #[prost(message, required, tag = "1")]
    pub(super) vote: VoteRecord,
    #[prost(message, optional, tag = "2")]
    pub(super) last: Option<LogIdRecord>,
    /// The leader itself asked for this election.
    #[prost(bool, tag = "3")]
    pub(super) transfer: bool,
}

/// To [`Ballot`].
#[derive(Clone, PartialEq, Message)]
pub(super) struct Voted {
    #[prost(message, required, tag = "1")]
    pub(super) vote: VoteRecord,
    #[prost(bool, tag = "2")]
    pub(super) granted: bool,
    #[prost(message, optional, tag = "3")]
    pub(super) last: Option<LogIdRecord>,
}

/// The leader hands over to `to`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Transfer {
    #[prost(message, required, tag = "1")]
    pub(super) from: VoteRecord,
    #[prost(uint64, tag = "2")]
    pub(super) to: u64,
    #[prost(message, optional, tag = "3")]
    pub(super) last: Option<LogIdRecord>,
}

/// To [`Transfer`].
#[derive(Clone, PartialEq, Message)]
pub(super) struct Transferred {
    #[prost(bool, tag = "1")]
    pub(super) accepted: bool,
    /// Why not: another vote was seen.
    #[prost(message, optional, tag = "2")]
    pub(super) vote: Option<VoteRecord>,
    /// Why not: the log ends here.
    #[prost(message, optional, tag = "3")]
    pub(super) last: Option<LogIdRecord>,
}

/// A piece of a snapshot, in key order.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Chunk {
    /// The leader that sends it.
    #[prost(message, required, tag = "1")]
    pub(super) vote: VoteRecord,
    /// Names the transfer: the pieces of two never mix.
    #[prost(uint64, tag = "2")]
    pub(super) transfer: u64,
    /// Counts the pieces from 0.
    #[prost(uint64, tag = "3")]
    pub(super) piece: u64,
    /// Keys without the sender's replica generation, strictly ascending over all pieces, and their values.
    #[prost(message, repeated, tag = "4")]
    pub(super) records: Vec<Pair>,
    /// With the last piece: what the snapshot contains.
    #[prost(message, optional, tag = "5")]
    pub(super) end: Option<StateRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Pair {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) key: bytes::Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) value: bytes::Bytes,
}

/// To [`Chunk`]: it is on disk; with the last one the whole snapshot is installed.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Stored {
    /// The replica's vote once the snapshot is installed.
    #[prost(message, optional, tag = "1")]
    pub(super) vote: Option<VoteRecord>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Nothing {}

/// The leader's log ends at `last`, all of it is applied everywhere, and it sends nothing until there is more.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Sleep {
    #[prost(message, required, tag = "1")]
    pub(super) vote: VoteRecord,
    #[prost(message, optional, tag = "2")]
    pub(super) last: Option<LogIdRecord>,
}

/// See [`Body::Refused`].
#[derive(Clone, PartialEq, Message)]
pub(super) struct Refused {
    #[prost(string, tag = "1")]
    pub(super) reason: String,
}
