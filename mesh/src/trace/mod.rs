//! Traces: which piece of work belongs to which call, across processes (W3C trace context, OpenTelemetry spans).
//!
//! A gateway decides whether a call is traced ([`Incoming::drawn`]); everybody after it follows. The span that is current goes
//! along by itself: within a task it is a task's own variable ([`Span::within`], [`carried`]), and on the mesh a field of the
//! request, so that both ways of a call carry it alike. What is not traced carries nothing, and costs a look at a variable.
//!
//! This crate makes spans, and knows nothing of where they go: whoever runs the process gives a tracer ([`install`]). A
//! process without one makes no spans of its own and hands on the context that it was given.

mod context;
mod span;

pub use opentelemetry::KeyValue;
pub use opentelemetry::trace::SpanKind as Kind;

pub use context::Incoming;
pub use span::{Drawn, Span, carried, install};

/// The header that names the trace and the span, in the form of the W3C.
pub const TRACEPARENT: &str = "traceparent";
/// The header with what tracing systems say to themselves.
pub const TRACESTATE: &str = "tracestate";

/// What a request that leaves the work under way should carry as its `traceparent`; none when it is not traced.
pub fn traceparent() -> Option<String> {
    Span::current().traceparent()
}
