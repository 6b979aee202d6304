//! The messages of the mesh: what one node asks another and what it answers. Protobuf, so that a field may be added
//! and an unknown one is skipped; tags never change. The envelope carries [`VERSION`]; a node refuses an envelope that
//! is newer than it knows.

mod calls;
mod classes;
mod events;
mod grid;
mod http;
mod invocations;
mod logs;
mod messages;
mod nodes;
mod objects;
mod trace;

pub use calls::{Form, Header, Invoke, Invoked, Waiting};
pub use classes::{
    ChunkRead, ChunkStored, ClassAddress, Deploy, DeployCanary, Deployed, FetchComponent, PutChunk,
    ReadChunk, RemoveClass, Revision, RollBack, Versions,
};
pub use events::{Emitted, Event, EventPage, FieldAction, FieldChange, ObjectAction, ReadEvents};
pub use grid::{
    Deliver, Delivered, Enlist, Greeting, GridAnswer, GridAsk, GridQuestion, GridReply, Leave, Propose,
    Proposed,
};
pub use http::{HandleHttp, HttpHeader, HttpResponse};
pub use invocations::{FINGERPRINT_BYTES, Invocation, InvocationState, ReadInvocation, Submit};
pub use logs::{LogLine, LogPage, LogStream, ReadLogs};
pub use messages::{
    ChangeDeadLetters, DeadLetter, DeadLetterPage, DeadLettersChanged, LetterId, ListDeadLetters,
};
pub use nodes::{CatalogRead, Leads, NodeStatus, ReplicaStatus, SetHost};
pub use objects::{
    Field, FieldPage, FieldRead, FieldWrite, ListFields, ListObjects, Object, ObjectAddress, ObjectEntry,
    ObjectPage, Precondition, ReadField, Tag, WriteMode, WriteObject, Written,
};
pub use trace::Trace;

use crate::access::ChangeKey;
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
    /// Nobody waits any more for the answer to the request with this correlation: what of it has not taken effect need not.
    /// There is no `op` then.
    #[prost(bool, tag = "5")]
    pub withdrawn: bool,
    /// The trace that it belongs to; absent when that is not recorded.
    #[prost(message, optional, tag = "6")]
    pub trace: Option<Trace>,
    /// What is asked.
    #[prost(
        oneof = "Op",
        tags = "10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 30, 31, 34, 35, 44, 50, 51, 70, 71, 72, 74, 79"
    )]
    pub op: Option<Op>,
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
    #[prost(
        oneof = "Answer",
        tags = "10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 30, 31, 34, 35, 44, 50, 51, 74, 79"
    )]
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
    /// What hosts' grids ask each other.
    #[prost(message, tag = "22")]
    Grid(GridAsk),
    /// Change what the cluster expects of a host.
    #[prost(message, tag = "23")]
    SetHost(SetHost),
    /// Change the keys of those who may use the cluster.
    #[prost(message, tag = "24")]
    ChangeKey(ChangeKey),
    /// One piece of a component that the host holds.
    #[prost(message, tag = "30")]
    ReadChunk(ReadChunk),
    /// Hold a component durably.
    #[prost(message, tag = "31")]
    FetchComponent(FetchComponent),
    /// Events of one partition's objects of a class.
    #[prost(message, tag = "44")]
    ReadEvents(ReadEvents),
    /// One page of one partition's dead letters of a class.
    #[prost(message, tag = "34")]
    ListDeadLetters(ListDeadLetters),
    /// Try dead letters again, or forget them.
    #[prost(message, tag = "35")]
    ChangeDeadLetters(ChangeDeadLetters),
    /// Accept a call to be run later.
    #[prost(message, tag = "50")]
    Submit(Submit),
    /// Where an accepted call stands.
    #[prost(message, tag = "51")]
    ReadInvocation(ReadInvocation),
    /// Deploy an earlier version of a class again; answered like [`Op::Deploy`].
    #[prost(message, tag = "70")]
    RollBack(RollBack),
    /// Deploy a component as a class's canary; answered like [`Op::Deploy`]. A host that knows no canaries must not take it
    /// for a deployment, so it is no part of one.
    #[prost(message, tag = "71")]
    DeployCanary(DeployCanary),
    /// Make a class's canary the class; answered like [`Op::Deploy`].
    #[prost(message, tag = "72")]
    Promote(ClassAddress),
    /// Have a class's own HTTP handler answer a request.
    #[prost(message, tag = "79")]
    HandleHttp(HandleHttp),
    /// What a class's guests printed on this host.
    #[prost(message, tag = "74")]
    ReadLogs(ReadLogs),
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
    /// To [`Op::Grid`].
    #[prost(message, tag = "22")]
    Grid(GridAnswer),
    /// To [`Op::SetHost`].
    #[prost(message, tag = "23")]
    HostSet(Revision),
    /// To [`Op::ChangeKey`].
    #[prost(message, tag = "24")]
    KeyChanged(Revision),
    /// To [`Op::ReadChunk`].
    #[prost(message, tag = "30")]
    Piece(ChunkRead),
    /// To [`Op::FetchComponent`]: it is durable there.
    #[prost(message, tag = "31")]
    Fetched(Empty),
    /// To [`Op::ReadEvents`].
    #[prost(message, tag = "44")]
    Events(EventPage),
    /// To [`Op::ListDeadLetters`].
    #[prost(message, tag = "34")]
    DeadLetters(DeadLetterPage),
    /// To [`Op::ChangeDeadLetters`].
    #[prost(message, tag = "35")]
    DeadLettersChanged(DeadLettersChanged),
    /// To [`Op::Submit`]: it is durable.
    #[prost(message, tag = "50")]
    Submitted(Invocation),
    /// To [`Op::ReadInvocation`].
    #[prost(message, tag = "51")]
    Invocation(Invocation),
    /// To [`Op::HandleHttp`].
    #[prost(message, tag = "79")]
    HttpHandled(HttpResponse),
    /// To [`Op::ReadLogs`].
    #[prost(message, tag = "74")]
    Logs(LogPage),
}

/// How new what a read sees must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Consistency {
    /// All that was acknowledged before the read began; the leader's lease says that nobody else acknowledged anything.
    Lease = 0,
    /// The same without a word of clocks: the leader asks a quorum.
    Linearizable = 1,
    /// Some earlier state, as any replica has it.
    Stale = 2,
}

/// No arguments.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Empty {}
