//! Calls of methods and functions.

use bytes::Bytes;

use super::Consistency;

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
    /// How new what a method that only reads sees must be; a method that writes cannot be [`Consistency::Stale`].
    #[prost(enumeration = "Consistency", tag = "11")]
    pub consistency: i32,
    /// The class's revision that the caller knows, 0 for none: a host that does not know it yet catches up first.
    #[prost(uint64, tag = "12")]
    pub revision: u64,
    /// The caller chose `invocation` and may use it again for the same call: its outcome is kept for long, and also when the
    /// call wrote nothing or failed.
    #[prost(bool, tag = "13")]
    pub keyed: bool,
    /// Who waits for this call, from the outermost on; empty for one that came from outside.
    #[prost(message, repeated, tag = "16")]
    pub chain: Vec<Waiting>,
}

/// A turn, or the run of a function, that called another one and waits for it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Waiting {
    /// The class's name.
    #[prost(string, tag = "1")]
    pub class: String,
    /// The object's id; absent for a function.
    #[prost(string, optional, tag = "2")]
    pub object: Option<String>,
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
    /// See [`super::Object::stale_ms`].
    #[prost(uint64, optional, tag = "4")]
    pub stale_ms: Option<u64>,
    /// The call had taken effect before: this is what it came to then.
    #[prost(bool, tag = "5")]
    pub replayed: bool,
    /// The version of the class whose code ran.
    #[prost(uint64, optional, tag = "6")]
    pub class_version: Option<u64>,
}
