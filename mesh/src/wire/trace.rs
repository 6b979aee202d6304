//! The trace that a request belongs to. One that is not recorded is not named.

/// See the module.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Trace {
    /// The first half of the trace's id.
    #[prost(fixed64, tag = "1")]
    pub high: u64,
    /// Its second half.
    #[prost(fixed64, tag = "2")]
    pub low: u64,
    /// The span below which the request stands.
    #[prost(fixed64, tag = "3")]
    pub span: u64,
    /// What tracing systems say to themselves, as in the header `tracestate`.
    #[prost(string, tag = "4")]
    pub state: String,
}
