//! Asynchronous calls: accepted now, run later, looked at by their id.

use bytes::Bytes;

use super::{Invoke, Invoked};
use crate::outcome::Problem;

/// Accepts a call to be run later. `readonly`, `keyed` and `consistency` in it count for nothing: its outcome is kept as that
/// of a call with a client's key.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Submit {
    /// The call. Its id says, for a function, which partition keeps it.
    #[prost(message, required, tag = "1")]
    pub invoke: Invoke,
}

/// Asks where an asynchronous call stands.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReadInvocation {
    /// The class's name.
    #[prost(string, tag = "1")]
    pub class: String,
    /// The object's id; absent for a function.
    #[prost(string, optional, tag = "2")]
    pub object: Option<String>,
    /// The call's id.
    #[prost(string, tag = "3")]
    pub invocation: String,
    /// See [`Invocation::fingerprint`].
    #[prost(bytes = "bytes", tag = "4")]
    pub fingerprint: Bytes,
    /// Answer when the call is decided, or after so long; 0 at once.
    #[prost(uint64, tag = "5")]
    pub wait_ms: u64,
    /// The class's revision that the caller knows, 0 for none.
    #[prost(uint64, tag = "6")]
    pub revision: u64,
}

/// How far an asynchronous call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum InvocationState {
    /// It waits for its turn, or to be tried again.
    Pending = 0,
    /// It is having its turn.
    Running = 1,
    /// It has a result.
    Done = 2,
    /// It has failed for good.
    Failed = 3,
}

impl InvocationState {
    /// As clients see it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// Where an asynchronous call stands.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Invocation {
    /// How far it is.
    #[prost(enumeration = "InvocationState", tag = "1")]
    pub state: i32,
    /// The first bytes of what tells it from another call under the same id: [`FINGERPRINT_BYTES`] of them.
    #[prost(bytes = "bytes", tag = "2")]
    pub fingerprint: Bytes,
    /// Its result. Absent when it is not done; also when the result was too large to be kept, which `problem` says then.
    #[prost(message, optional, tag = "3")]
    pub invoked: Option<Invoked>,
    /// What it failed with.
    #[prost(message, optional, tag = "4")]
    pub problem: Option<Problem>,
    /// So many attempts have failed, and there will be no other unless somebody asks for it: it is a dead letter. 0 otherwise.
    #[prost(uint32, tag = "5")]
    pub attempts: u32,
    /// To [`Submit`]: it had been accepted before.
    #[prost(bool, tag = "6")]
    pub replayed: bool,
}

/// So much of a call's fingerprint is told.
pub const FINGERPRINT_BYTES: usize = 8;
