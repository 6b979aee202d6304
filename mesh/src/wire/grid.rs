//! What hosts' grids ask each other: how a cluster is founded and joined, and what must reach a group's leader.

use bytes::Bytes;

use super::Deployed;

/// A question of one host's grid to another's.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GridAsk {
    /// The asking host.
    #[prost(uint64, tag = "1")]
    pub from: u64,
    /// The cluster that it belongs to; 0 while it belongs to none. A host of another cluster refuses to answer.
    #[prost(uint64, tag = "2")]
    pub cluster: u64,
    /// What is asked.
    #[prost(oneof = "GridQuestion", tags = "10, 11, 12, 13, 14")]
    pub question: Option<GridQuestion>,
}

/// See [`GridAsk`].
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum GridQuestion {
    /// Who are you? Answered by a [`Greeting`].
    #[prost(message, tag = "10")]
    Hello(Greeting),
    /// Stand by the asking host while it founds a cluster. Answered by a [`Greeting`] that shows whom the host stands by.
    #[prost(message, tag = "11")]
    Enlist(Enlist),
    /// Commit a change of the catalog; for group 0's leader. Answered by [`Proposed`].
    #[prost(message, tag = "12")]
    Propose(Propose),
    /// May the asking host forget what it holds of a group? For the group's leader. Answered by [`Leave`] when it may.
    #[prost(message, tag = "13")]
    Leave(Leave),
    /// Take messages of the asking host's outbox; for the group's leader. Answered by [`Delivered`].
    #[prost(message, tag = "14")]
    Deliver(Deliver),
}

/// The answer to a [`GridAsk`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct GridAnswer {
    /// What is answered.
    #[prost(oneof = "GridReply", tags = "10, 12, 13, 14")]
    pub reply: Option<GridReply>,
}

/// See [`GridAnswer`].
#[allow(clippy::large_enum_variant, reason = "as in `Answer`: few at a time, and moved rather than kept")]
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum GridReply {
    /// To [`GridQuestion::Hello`] and [`GridQuestion::Enlist`].
    #[prost(message, tag = "10")]
    Greeting(Greeting),
    /// To [`GridQuestion::Propose`].
    #[prost(message, tag = "12")]
    Proposed(Proposed),
    /// To [`GridQuestion::Leave`]: it may.
    #[prost(message, tag = "13")]
    Leave(Leave),
    /// To [`GridQuestion::Deliver`].
    #[prost(message, tag = "14")]
    Delivered(Delivered),
}

/// What a host says of itself while a cluster is founded or joined.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Greeting {
    /// Its id.
    #[prost(uint64, tag = "1")]
    pub node: u64,
    /// The cluster that it belongs to; 0 for none yet.
    #[prost(uint64, tag = "2")]
    pub cluster: u64,
    /// Hosts that it waits for before it founds a cluster; 0 when it only joins.
    #[prost(uint32, tag = "3")]
    pub expect: u32,
    /// The founder that it stands by; 0 for none.
    #[prost(uint64, tag = "4")]
    pub founder: u64,
    /// The founder's attempt that it stands by.
    #[prost(uint64, tag = "5")]
    pub attempt: u64,
}

/// Stand by the asking host as founder, or, with `withdraw`, no longer.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Enlist {
    /// Chosen anew by the founder each time that it begins to gather; a withdrawal of another attempt is void.
    #[prost(uint64, tag = "1")]
    pub attempt: u64,
    /// The founder gives up this attempt.
    #[prost(bool, tag = "2")]
    pub withdraw: bool,
}

/// A change of the catalog.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Propose {
    /// As it lies in the catalog's log.
    #[prost(bytes = "bytes", tag = "1")]
    pub change: Bytes,
}

/// A change of the catalog was committed.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Proposed {
    /// The revision that shows it.
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    /// What a deployment gave.
    #[prost(message, optional, tag = "2")]
    pub deployed: Option<Deployed>,
}

/// Messages from one group's outbox to another group.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Deliver {
    /// Whose outbox it is.
    #[prost(uint64, tag = "1")]
    pub from_group: u64,
    /// Whom they are for.
    #[prost(uint64, tag = "2")]
    pub to_group: u64,
    /// The first one's number; the others follow.
    #[prost(uint64, tag = "3")]
    pub first: u64,
    /// As they lie in the outbox.
    #[prost(bytes = "bytes", repeated, tag = "4")]
    pub messages: Vec<Bytes>,
}

/// How far a group has taken what another one has for it.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Delivered {
    /// The last number that was taken: all up to it were.
    #[prost(uint64, tag = "1")]
    pub mark: u64,
}

/// A host has no part in a group any more.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Leave {
    /// The group.
    #[prost(uint64, tag = "1")]
    pub group: u64,
}
