//! Events: what each commit did to its object, and what its turn told the world.

use bytes::Bytes;

use super::Tag;

/// What one commit did. Events of a partition are numbered from 1 without a hole, in the order of their commits.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Event {
    /// Its number in its partition.
    #[prost(uint64, tag = "1")]
    pub seq: u64,
    /// The object's id.
    #[prost(string, tag = "2")]
    pub object: String,
    /// Where the commit brought the object; for a deletion one version past the last.
    #[prost(message, required, tag = "3")]
    pub tag: Tag,
    /// What happened to the object as a whole.
    #[prost(enumeration = "ObjectAction", tag = "4")]
    pub action: i32,
    /// What happened to single fields, in the order of the turn's writes: at most
    /// [`crate::limits::EVENT_CHANGES_MAX`].
    #[prost(message, repeated, tag = "5")]
    pub changes: Vec<FieldChange>,
    /// Fields written beyond those.
    #[prost(uint64, tag = "6")]
    pub unlisted: u64,
    /// What the guest emitted, in order.
    #[prost(message, repeated, tag = "7")]
    pub emitted: Vec<Emitted>,
    /// The number of the object's class.
    #[prost(uint64, tag = "8")]
    pub class: u64,
}

/// What happened to one field.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FieldChange {
    /// Its key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// What happened.
    #[prost(enumeration = "FieldAction", tag = "2")]
    pub action: i32,
}

/// What a guest emitted.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Emitted {
    /// What it is about: formed like a field's key.
    #[prost(string, tag = "1")]
    pub topic: String,
    /// Any bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub payload: Bytes,
}

/// What a commit did to an object as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum ObjectAction {
    /// Some of its fields changed.
    Update = 0,
    /// It came into being.
    Create = 1,
    /// All fields that are not among the changes are gone.
    Replace = 2,
    /// It is gone with all its fields.
    Delete = 3,
    /// It was deleted and created anew: another incarnation, at version 1.
    Recreate = 4,
    /// Nothing: the turn only emitted. The version is the one before.
    None = 5,
}

impl ObjectAction {
    /// As documents say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Delete => "delete",
            Self::Recreate => "recreate",
            Self::None => "none",
        }
    }
}

/// What a commit did to one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum FieldAction {
    /// It was there and has been set.
    Update = 0,
    /// It was not there and has been set.
    Create = 1,
    /// It was there and is gone.
    Delete = 2,
}

impl FieldAction {
    /// As documents say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Create => "create",
            Self::Delete => "delete",
        }
    }
}

/// Asks a partition's leader for events of a class, oldest first.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReadEvents {
    /// The partition's Raft group.
    #[prost(uint64, tag = "1")]
    pub group: u64,
    /// The class's name.
    #[prost(string, tag = "2")]
    pub class: String,
    /// Only events after this number. Absent: none, only where the log ends.
    #[prost(uint64, optional, tag = "3")]
    pub after: Option<u64>,
    /// Only of objects whose ids begin so; empty for all.
    #[prost(string, tag = "4")]
    pub prefix: String,
    /// Only of the object whose id is just the prefix.
    #[prost(bool, tag = "5")]
    pub exact: bool,
    /// While there is nothing to tell, wait so long for it.
    #[prost(uint64, tag = "6")]
    pub wait_ms: u64,
    /// See [`super::Invoke::revision`].
    #[prost(uint64, tag = "7")]
    pub revision: u64,
}

/// The answer to [`ReadEvents`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct EventPage {
    /// Oldest first; fewer than there are when that would be too much at once.
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<Event>,
    /// Everything that was asked for up to this number is among the items, but for a gap: go on after it.
    #[prost(uint64, tag = "2")]
    pub upto: u64,
    /// Events were missed, and nobody can tell them any more: those after the number asked for, up to this one. The items
    /// come after it.
    #[prost(uint64, optional, tag = "3")]
    pub gap: Option<u64>,
    /// There is more to read at once.
    #[prost(bool, tag = "4")]
    pub more: bool,
}
