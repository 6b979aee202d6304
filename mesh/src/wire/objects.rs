//! Objects and fields, read, written and listed.

use bytes::Bytes;

use super::Consistency;

/// Asks for an object whole.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ObjectAddress {
    /// Its class's name.
    #[prost(string, tag = "1")]
    pub class: String,
    /// Its id.
    #[prost(string, tag = "2")]
    pub object: String,
    /// How new what is read must be.
    #[prost(enumeration = "Consistency", tag = "3")]
    pub consistency: i32,
    /// See [`super::Invoke::revision`].
    #[prost(uint64, tag = "4")]
    pub revision: u64,
}

/// An object's position in its history: the pair behind an `ETag`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Message)]
pub struct Tag {
    /// The Raft index at which the object was created.
    #[prost(uint64, tag = "1")]
    pub incarnation: u64,
    /// Counts commits from 1.
    #[prost(uint64, tag = "2")]
    pub version: u64,
}

/// What must hold for a write to happen.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Precondition {
    /// `If-None-Match: *`: the object must not exist.
    #[prost(bool, tag = "1")]
    pub absent: bool,
    /// `If-Match: *`: the object must exist.
    #[prost(bool, tag = "2")]
    pub present: bool,
    /// `If-Match` with tags: the object must be at one of them. Empty: no such condition.
    #[prost(message, repeated, tag = "3")]
    pub tags: Vec<Tag>,
}

/// A change of an object from outside.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WriteObject {
    /// The class's name.
    #[prost(string, tag = "1")]
    pub class: String,
    /// The object's id.
    #[prost(string, tag = "2")]
    pub object: String,
    /// What must hold.
    #[prost(message, optional, tag = "3")]
    pub precondition: Option<Precondition>,
    /// What happens to the fields.
    #[prost(enumeration = "WriteMode", tag = "4")]
    pub mode: i32,
    /// The fields to set; one without a value is deleted.
    #[prost(message, repeated, tag = "5")]
    pub fields: Vec<FieldWrite>,
    /// See [`super::Invoke::revision`].
    #[prost(uint64, tag = "6")]
    pub revision: u64,
    /// Names the write within its object: sent again, it takes effect once.
    #[prost(string, tag = "7")]
    pub invocation: String,
    /// See [`super::Invoke::keyed`].
    #[prost(bool, tag = "8")]
    pub keyed: bool,
}

/// How a write treats the fields that it does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum WriteMode {
    /// They stay.
    Merge = 0,
    /// They go.
    Replace = 1,
    /// The whole object goes; `fields` is empty.
    Delete = 2,
    /// They stay, and deleting a field that is not there is `not-found`.
    DeleteField = 3,
}

/// One field's new value.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FieldWrite {
    /// The key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value; absent deletes the field.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub value: Option<Bytes>,
}

/// An object after a write.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Written {
    /// Where it stands; absent when it does not exist any more.
    #[prost(message, optional, tag = "1")]
    pub tag: Option<Tag>,
    /// The write created it.
    #[prost(bool, tag = "2")]
    pub created: bool,
    /// See [`super::Invoked::replayed`].
    #[prost(bool, tag = "3")]
    pub replayed: bool,
}

/// An object read whole.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Object {
    /// Where it stands.
    #[prost(message, required, tag = "1")]
    pub tag: Tag,
    /// Its fields in key order.
    #[prost(message, repeated, tag = "2")]
    pub fields: Vec<Field>,
    /// To [`Consistency::Stale`]: for so many milliseconds at the most something newer may have been acknowledged; absent
    /// when that is not known.
    #[prost(uint64, optional, tag = "3")]
    pub stale_ms: Option<u64>,
}

/// A field.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Field {
    /// Its key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// The address of a field.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReadField {
    /// The class's name.
    #[prost(string, tag = "1")]
    pub class: String,
    /// The object's id.
    #[prost(string, tag = "2")]
    pub object: String,
    /// The field's key.
    #[prost(string, tag = "3")]
    pub key: String,
    /// How new what is read must be.
    #[prost(enumeration = "Consistency", tag = "4")]
    pub consistency: i32,
    /// See [`super::Invoke::revision`].
    #[prost(uint64, tag = "5")]
    pub revision: u64,
}

/// A field's value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FieldRead {
    /// Where its object stands.
    #[prost(message, required, tag = "1")]
    pub tag: Tag,
    /// The value.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    /// See [`Object::stale_ms`].
    #[prost(uint64, optional, tag = "3")]
    pub stale_ms: Option<u64>,
}

/// Asks for a page of an object's fields.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ListFields {
    /// The class's name.
    #[prost(string, tag = "1")]
    pub class: String,
    /// The object's id.
    #[prost(string, tag = "2")]
    pub object: String,
    /// Only keys that begin so.
    #[prost(string, tag = "3")]
    pub prefix: String,
    /// Only keys after this one; empty for all.
    #[prost(string, tag = "4")]
    pub after: String,
    /// Items at the most.
    #[prost(uint32, tag = "5")]
    pub limit: u32,
    /// How new what is read must be.
    #[prost(enumeration = "Consistency", tag = "6")]
    pub consistency: i32,
    /// See [`super::Invoke::revision`].
    #[prost(uint64, tag = "7")]
    pub revision: u64,
}

/// A page of fields.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FieldPage {
    /// Where the object stands.
    #[prost(message, required, tag = "1")]
    pub tag: Tag,
    /// In key order.
    #[prost(message, repeated, tag = "2")]
    pub items: Vec<Field>,
    /// More follow after the last item.
    #[prost(bool, tag = "3")]
    pub more: bool,
    /// See [`Object::stale_ms`].
    #[prost(uint64, optional, tag = "4")]
    pub stale_ms: Option<u64>,
}

/// Asks one partition for a page of its objects of a class.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ListObjects {
    /// The class's name.
    #[prost(string, tag = "1")]
    pub class: String,
    /// The partition's Raft group.
    #[prost(uint64, tag = "2")]
    pub group: u64,
    /// Only ids that begin so.
    #[prost(string, tag = "3")]
    pub prefix: String,
    /// Only ids after this one; empty for all.
    #[prost(string, tag = "4")]
    pub after: String,
    /// Items at the most.
    #[prost(uint32, tag = "5")]
    pub limit: u32,
    /// How new what is read must be.
    #[prost(enumeration = "Consistency", tag = "6")]
    pub consistency: i32,
    /// See [`super::Invoke::revision`].
    #[prost(uint64, tag = "7")]
    pub revision: u64,
}

/// A page of objects.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ObjectPage {
    /// In id order.
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<ObjectEntry>,
    /// More follow after the last item.
    #[prost(bool, tag = "2")]
    pub more: bool,
    /// See [`Object::stale_ms`].
    #[prost(uint64, optional, tag = "3")]
    pub stale_ms: Option<u64>,
}

/// An object in a listing.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ObjectEntry {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Where it stands.
    #[prost(message, required, tag = "2")]
    pub tag: Tag,
}
