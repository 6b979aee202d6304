//! The messages of the mesh: what one node asks another and what it answers. Protobuf, so that a field may be added
//! and an unknown one is skipped; tags never change. The envelope carries [`VERSION`]; a node refuses an envelope that
//! is newer than it knows.

use bytes::Bytes;

use crate::catalog::{CatalogView, Class, ClassSettings};
use crate::outcome::Problem;

/// The version of the envelope and of the operations' meaning.
pub const VERSION: u32 = 1;

/// A request on its way to a node.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// See [`VERSION`].
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Chosen by the caller; the reply carries it back.
    #[prost(uint64, tag = "2")]
    pub correlation: u64,
    /// Who asks: the caller's inbox on the mesh.
    #[prost(string, tag = "3")]
    pub reply_to: String,
    /// What is left of the caller's deadline.
    #[prost(uint64, tag = "4")]
    pub timeout_ms: u64,
    /// What is asked.
    #[prost(oneof = "Op", tags = "10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21")]
    pub op: Option<Op>,
}

/// Nobody waits for the answer to a request any more: what of it has not taken effect need not.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Cancel {
    /// The request's own.
    #[prost(uint64, tag = "1")]
    pub correlation: u64,
    /// The request's own.
    #[prost(string, tag = "2")]
    pub reply_to: String,
}

/// The answer to a request.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reply {
    /// See [`VERSION`].
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// The request's own.
    #[prost(uint64, tag = "2")]
    pub correlation: u64,
    /// What it failed with; absent when it succeeded.
    #[prost(message, optional, tag = "3")]
    pub problem: Option<Problem>,
    /// What it gave; absent when it failed.
    #[prost(oneof = "Answer", tags = "10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21")]
    pub answer: Option<Answer>,
}

/// Everything that a host serves.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Op {
    /// Call a method or a function.
    #[prost(message, tag = "10")]
    Invoke(Invoke),
    /// Read an object whole.
    #[prost(message, tag = "11")]
    ReadObject(ObjectAddress),
    /// Change an object's fields, or delete it: a turn without code.
    #[prost(message, tag = "12")]
    WriteObject(WriteObject),
    /// Read one field.
    #[prost(message, tag = "13")]
    ReadField(ReadField),
    /// One page of an object's fields.
    #[prost(message, tag = "14")]
    ListFields(ListFields),
    /// One page of one partition's objects of a class.
    #[prost(message, tag = "15")]
    ListObjects(ListObjects),
    /// One piece of a component on its way to the host's store.
    #[prost(message, tag = "16")]
    PutChunk(PutChunk),
    /// Deploy a component that the host holds.
    #[prost(message, tag = "17")]
    Deploy(Deploy),
    /// Remove a class.
    #[prost(message, tag = "18")]
    RemoveClass(RemoveClass),
    /// The deployments of a class, oldest first.
    #[prost(message, tag = "19")]
    ListVersions(ClassAddress),
    /// The catalog as this node knows it.
    #[prost(message, tag = "20")]
    ReadCatalog(Empty),
    /// This node's partitions.
    #[prost(message, tag = "21")]
    ReadStatus(Empty),
}

/// What each operation gives.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Answer {
    /// To [`Op::Invoke`].
    #[prost(message, tag = "10")]
    Invoked(Invoked),
    /// To [`Op::ReadObject`].
    #[prost(message, tag = "11")]
    Object(Object),
    /// To [`Op::WriteObject`].
    #[prost(message, tag = "12")]
    Written(Written),
    /// To [`Op::ReadField`].
    #[prost(message, tag = "13")]
    Field(FieldRead),
    /// To [`Op::ListFields`].
    #[prost(message, tag = "14")]
    Fields(FieldPage),
    /// To [`Op::ListObjects`].
    #[prost(message, tag = "15")]
    Objects(ObjectPage),
    /// To [`Op::PutChunk`].
    #[prost(message, tag = "16")]
    Chunk(ChunkStored),
    /// To [`Op::Deploy`].
    #[prost(message, tag = "17")]
    Deployed(Deployed),
    /// To [`Op::RemoveClass`].
    #[prost(message, tag = "18")]
    Removed(Revision),
    /// To [`Op::ListVersions`].
    #[prost(message, tag = "19")]
    Versions(Versions),
    /// To [`Op::ReadCatalog`].
    #[prost(message, tag = "20")]
    Catalog(CatalogRead),
    /// To [`Op::ReadStatus`].
    #[prost(message, tag = "21")]
    Status(NodeStatus),
}

/// No arguments.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Empty {}

/// A class.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ClassAddress {
    /// Its name.
    #[prost(string, tag = "1")]
    pub class: String,
}

/// An object.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ObjectAddress {
    /// Its class's name.
    #[prost(string, tag = "1")]
    pub class: String,
    /// Its id.
    #[prost(string, tag = "2")]
    pub object: String,
}

/// The form of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Form {
    /// JSON text, mapped to and from WIT values.
    Json = 0,
    /// The bytes themselves.
    Raw = 1,
}

/// A call.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Invoke {
    /// The class's name.
    #[prost(string, tag = "1")]
    pub class: String,
    /// The object's id; absent for a function.
    #[prost(string, optional, tag = "2")]
    pub object: Option<String>,
    /// The method's name.
    #[prost(string, tag = "3")]
    pub method: String,
    /// The arguments; empty is no arguments.
    #[prost(bytes = "bytes", tag = "4")]
    pub payload: Bytes,
    /// What `payload` is.
    #[prost(enumeration = "Form", tag = "5")]
    pub form: i32,
    /// What a `list<u8>` result should leave as.
    #[prost(enumeration = "Form", tag = "6")]
    pub accept: i32,
    /// Names the call, for deduplication and logs.
    #[prost(string, tag = "7")]
    pub invocation: String,
    /// Who calls, as the gateway knows it; empty for nobody in particular.
    #[prost(string, tag = "8")]
    pub caller: String,
    /// Request headers that the guest may see.
    #[prost(message, repeated, tag = "9")]
    pub headers: Vec<Header>,
    /// The caller takes the method for one that only reads, and so for one that it may repeat, or not. A host that knows
    /// better refuses with `stale-class`. Absent: the caller repeats nothing.
    #[prost(bool, optional, tag = "10")]
    pub readonly: Option<bool>,
}

/// A header's name, in lower case, and value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Header {
    /// In lower case.
    #[prost(string, tag = "1")]
    pub name: String,
    /// As received.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// What a call gave.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Invoked {
    /// The result; absent when the method has none.
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub payload: Option<Bytes>,
    /// What `payload` is.
    #[prost(enumeration = "Form", tag = "2")]
    pub form: i32,
    /// The object's version after the call; absent for a function, 0 for an object that does not exist.
    #[prost(uint64, optional, tag = "3")]
    pub version: Option<u64>,
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

/// A piece of a component. Pieces come in order; one at offset 0 begins anew; the last is checked by digest.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PutChunk {
    /// SHA-256 of the whole component.
    #[prost(bytes = "bytes", tag = "1")]
    pub digest: Bytes,
    /// The whole component's size in bytes.
    #[prost(uint64, tag = "2")]
    pub size: u64,
    /// Where `data` begins.
    #[prost(uint64, tag = "3")]
    pub offset: u64,
    /// At most [`crate::limits::COMPONENT_CHUNK_BYTES`].
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
    /// Tells uploads of the same component apart.
    #[prost(string, tag = "5")]
    pub upload: String,
}

/// A piece was taken.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ChunkStored {
    /// The component is whole, checked and durable.
    #[prost(bool, tag = "1")]
    pub complete: bool,
}

/// Deploys a component that the host holds.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Deploy {
    /// The class's name.
    #[prost(string, tag = "1")]
    pub class: String,
    /// The component.
    #[prost(bytes = "bytes", tag = "2")]
    pub digest: Bytes,
    /// What the manifest settled.
    #[prost(message, required, tag = "3")]
    pub settings: ClassSettings,
}

/// A class was deployed.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Deployed {
    /// The class as it is now.
    #[prost(message, required, tag = "1")]
    pub class: Class,
    /// Component and settings were already so: nothing changed.
    #[prost(bool, tag = "2")]
    pub unchanged: bool,
    /// The catalog revision that shows it.
    #[prost(uint64, tag = "3")]
    pub revision: u64,
}

/// Removes a class.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RemoveClass {
    /// Its name.
    #[prost(string, tag = "1")]
    pub class: String,
    /// Its objects go too; otherwise they stay and come back with a redeploy.
    #[prost(bool, tag = "2")]
    pub purge: bool,
}

/// A catalog revision.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Revision {
    /// The catalog log's index.
    #[prost(uint64, tag = "1")]
    pub revision: u64,
}

/// A class's deployments.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Versions {
    /// Oldest first.
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<Class>,
}

/// The catalog, and who leads what as far as the answering node knows.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CatalogRead {
    /// The catalog.
    #[prost(message, required, tag = "1")]
    pub view: CatalogView,
    /// The groups that the answering node leads.
    #[prost(message, repeated, tag = "2")]
    pub leads: Vec<Leads>,
}

/// A node leads a group: what leaders announce.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Leads {
    /// The Raft group.
    #[prost(uint64, tag = "1")]
    pub group: u64,
    /// The term in which it leads.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// The leader.
    #[prost(uint64, tag = "3")]
    pub node: u64,
}

/// One node's partitions.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NodeStatus {
    /// In group order.
    #[prost(message, repeated, tag = "1")]
    pub replicas: Vec<ReplicaStatus>,
    /// Why the node does not serve; empty when it does.
    #[prost(string, tag = "2")]
    pub poisoned: String,
    /// Synced writes of the node's log since it started.
    #[prost(uint64, tag = "3")]
    pub log_fsyncs: u64,
    /// Raft entries in them.
    #[prost(uint64, tag = "4")]
    pub log_entries: u64,
    /// Bytes in them.
    #[prost(uint64, tag = "5")]
    pub log_bytes: u64,
    /// Turns that committed since the node started.
    #[prost(uint64, tag = "6")]
    pub commits: u64,
}

/// One replica of a partition on one node.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReplicaStatus {
    /// The Raft group.
    #[prost(uint64, tag = "1")]
    pub group: u64,
    /// The term that it is in.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// The leader that it knows; 0 for none.
    #[prost(uint64, tag = "3")]
    pub leader: u64,
    /// The last log index that it holds.
    #[prost(uint64, tag = "4")]
    pub last: u64,
    /// The last log index that it applied.
    #[prost(uint64, tag = "5")]
    pub applied: u64,
}
