//! Requests that a class serves by its own HTTP handler.

use bytes::Bytes;

use super::Header;

/// A request for a class's HTTP handler.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HandleHttp {
    /// The class's name.
    #[prost(string, tag = "1")]
    pub class: String,
    /// Names the call, for logs.
    #[prost(string, tag = "2")]
    pub invocation: String,
    /// Who calls, as the gateway knows it; empty for nobody in particular.
    #[prost(string, tag = "3")]
    pub caller: String,
    /// The request's method.
    #[prost(string, tag = "4")]
    pub method: String,
    /// It came over TLS.
    #[prost(bool, tag = "5")]
    pub secure: bool,
    /// Whom the client meant: host, and port if it named one.
    #[prost(string, tag = "6")]
    pub authority: String,
    /// What stands below the class's place: a path that begins with a slash, and the query.
    #[prost(string, tag = "7")]
    pub path: String,
    /// The request's headers, without those that are between client and gateway alone.
    #[prost(message, repeated, tag = "8")]
    pub headers: Vec<HttpHeader>,
    /// Its body.
    #[prost(bytes = "bytes", tag = "9")]
    pub body: Bytes,
    /// Those headers that any function sees, in `context`.
    #[prost(message, repeated, tag = "10")]
    pub seen: Vec<Header>,
    /// The class's revision that the caller knows, 0 for none: a host that does not know it yet catches up first.
    #[prost(uint64, tag = "11")]
    pub revision: u64,
}

/// A header of any value.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct HttpHeader {
    /// In lower case.
    #[prost(string, tag = "1")]
    pub name: String,
    /// As it stands.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// What the handler answered.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HttpResponse {
    /// 200 to 599.
    #[prost(uint32, tag = "1")]
    pub status: u32,
    /// Without those that are between gateway and client alone.
    #[prost(message, repeated, tag = "2")]
    pub headers: Vec<HttpHeader>,
    /// The whole body.
    #[prost(bytes = "bytes", tag = "3")]
    pub body: Bytes,
}
