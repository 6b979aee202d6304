//! A span of work, or the context of one elsewhere, or nothing: what is not traced goes the same way as what is.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use futures::future::BoxFuture;
use opentelemetry::global::{BoxedSpan, BoxedTracer};
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use parking_lot::Mutex;
use tokio::task::futures::TaskLocalFuture;

use super::context::{self, Incoming};
use crate::outcome::Problem;
use crate::wire;

/// This process's tracer; without, no span is ever made here.
static TRACER: OnceLock<Tracing> = OnceLock::new();

tokio::task_local! {
    static CURRENT: Span;
}

struct Tracing {
    tracer: BoxedTracer,
    /// Of the calls that begin here, so many are traced, from 0 to 1.
    sample: f64,
}

/// From now on spans are made here; of the traces that begin here, the part `sample`. Counts once.
pub fn install(tracer: BoxedTracer, sample: f64) {
    let _ = TRACER.set(Tracing { tracer, sample }); // a second one changes nothing
}

/// See the module. A clone is the same span; it ends by [`Span::end`], or with its last clone.
#[derive(Clone, Default)]
pub struct Span(Option<Arc<Node>>);

struct Node {
    context: SpanContext,
    /// None for one of another process.
    own: Option<Mutex<BoxedSpan>>,
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Span").field(&self.traceparent()).finish()
    }
}

impl Span {
    /// What is under way in this task; nothing where nothing is traced.
    pub fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    fn remote(context: SpanContext) -> Self {
        Self(Some(Arc::new(Node { context, own: None })))
    }

    /// What a record kept of a trace, as the header `traceparent`.
    pub fn kept(traceparent: &str) -> Self {
        match Incoming::kept(traceparent) {
            Incoming::Of(context) => Self::remote(context),
            Incoming::Nothing | Incoming::Unsampled => Self::default(),
        }
    }

    /// The span of a request from outside: below the one that it came from, or the first of a new trace.
    pub fn server(drawn: Drawn, name: impl FnOnce() -> Cow<'static, str>) -> Self {
        if let Some(parent) = drawn.0 {
            return parent.child(SpanKind::Server, name);
        }
        let begin = |tracing: &Tracing| {
            tracing.span(SpanBuilder::from_name(name()).with_kind(SpanKind::Server), None)
        };
        TRACER.get().map(begin).unwrap_or_default()
    }

    /// A span below this one; nothing below nothing. Where no spans are made, this one's context is handed on.
    #[must_use]
    pub fn child(&self, kind: SpanKind, name: impl FnOnce() -> Cow<'static, str>) -> Self {
        let Some(node) = &self.0 else { return Self::default() };
        let Some(tracing) = TRACER.get() else { return Self(Some(node.clone())) };
        tracing.span(SpanBuilder::from_name(name()).with_kind(kind), Some(&node.context))
    }

    /// A span that begins a trace of its own and points at this one: for what happens long after it. Nothing after nothing.
    #[must_use]
    pub fn follower(&self, kind: SpanKind, name: impl FnOnce() -> Cow<'static, str>) -> Self {
        let (Some(node), Some(tracing)) = (&self.0, TRACER.get()) else { return Self::default() };
        let links = vec![Link::with_context(node.context.clone())];
        tracing.span(SpanBuilder::from_name(name()).with_kind(kind).with_links(links), None)
    }

    /// Whether there is nothing to trace.
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Whether it is a span of this process: one that will be told of.
    pub fn is_own(&self) -> bool {
        self.own().is_some()
    }

    fn own(&self) -> Option<&Mutex<BoxedSpan>> {
        self.0.as_ref()?.own.as_ref()
    }

    fn context(&self) -> Option<&SpanContext> {
        self.0.as_ref().map(|node| &node.context)
    }

    /// As the header `traceparent`.
    pub fn traceparent(&self) -> Option<String> {
        self.context().map(context::traceparent)
    }

    /// As the header `tracestate`; none when there is nothing in it.
    pub fn tracestate(&self) -> Option<String> {
        self.context().map(|context| context.trace_state().header()).filter(|state| !state.is_empty())
    }

    /// The trace's id, as 32 hexadecimal digits.
    pub fn trace_id(&self) -> Option<String> {
        self.context().map(|context| format!("{:032x}", context.trace_id()))
    }

    /// The span's id, as 16 hexadecimal digits.
    pub fn span_id(&self) -> Option<String> {
        self.context().map(|context| format!("{:016x}", context.span_id()))
    }

    pub(crate) fn to_wire(&self) -> Option<wire::Trace> {
        self.context().map(context::to_wire)
    }

    pub(crate) fn of_wire(trace: Option<&wire::Trace>) -> Self {
        trace.and_then(context::of_wire).map(Self::remote).unwrap_or_default()
    }

    /// Says something of it. What is said is only made when somebody will hear it.
    pub fn set<const N: usize>(&self, attributes: impl FnOnce() -> [KeyValue; N]) {
        if let Some(own) = self.own() {
            own.lock().set_attributes(attributes());
        }
    }

    /// Notes that something happened in it.
    pub fn event<const N: usize>(&self, name: &'static str, attributes: impl FnOnce() -> [KeyValue; N]) {
        if let Some(own) = self.own() {
            own.lock().add_event(name, attributes().into());
        }
    }

    /// It failed so.
    pub fn fail(&self, problem: &Problem) {
        self.fail_as(problem.kind().as_str());
    }

    /// It failed with this code.
    pub fn fail_as(&self, code: &'static str) {
        if let Some(own) = self.own() {
            let mut own = own.lock();
            own.set_attribute(KeyValue::new("error.type", code));
            own.set_status(Status::error(code));
        }
    }

    /// It is over, whoever still holds it.
    pub fn end(&self) {
        if let Some(own) = self.own() {
            own.lock().end();
        }
    }

    /// While `work` runs, this is what is current.
    pub fn within<F: Future>(&self, work: F) -> TaskLocalFuture<Self, F> {
        CURRENT.scope(self.clone(), work)
    }

    /// Runs `work` as what this is the span of: ends with it, and fails as it does.
    ///
    /// # Errors
    /// What `work` fails with.
    pub async fn run<T>(self, work: BoxFuture<'_, Result<T, Problem>>) -> Result<T, Problem> {
        let outcome = self.within(work).await;
        if let Err(problem) = &outcome {
            self.fail(problem);
        }
        self.end();
        outcome
    }
}

/// A request from outside that is traced: as part of a trace, or as the first of a new one.
pub struct Drawn(Option<Span>);

impl Incoming {
    /// Decides whether a request is traced: as the trace that it belongs to is; without one, if it is among those that are
    /// drawn.
    pub fn drawn(self) -> Option<Drawn> {
        match self {
            Self::Unsampled => None,
            Self::Of(context) => Some(Drawn(Some(Span::remote(context)))),
            Self::Nothing => {
                let tracing = TRACER.get()?;
                (rand::random::<f64>() < tracing.sample).then_some(Drawn(None))
            }
        }
    }
}

impl Tracing {
    fn span(&self, builder: SpanBuilder, parent: Option<&SpanContext>) -> Span {
        let above = match parent {
            Some(parent) => Context::new().with_remote_span_context(parent.clone()),
            None => Context::new(),
        };
        let span = self.tracer.build_with_context(builder, &above);
        let context = span.span_context().clone();
        if context.is_sampled() {
            return Span(Some(Arc::new(Node { context, own: Some(Mutex::new(span)) })));
        }
        // the tracer is shut down
        parent.cloned().map(Span::remote).unwrap_or_default()
    }
}

/// Takes what is current here along into a task of its own.
pub fn carried<F: Future>(work: F) -> TaskLocalFuture<Span, F> {
    Span::current().within(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given() -> Span {
        let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        Span::kept(header)
    }

    // no test of this crate installs a tracer: this is how a process without one behaves

    #[tokio::test]
    async fn without_a_tracer_nothing_begins_and_what_came_is_handed_on() {
        let never = || -> Cow<'static, str> { panic!("no span is made, so nobody needs its name") };
        assert!(Incoming::Nothing.drawn().is_none() && Incoming::Unsampled.drawn().is_none());
        let drawn = Drawn(Some(given()));
        let span = Span::server(drawn, never).child(SpanKind::Internal, never);
        assert_eq!((span.traceparent(), span.is_own()), (given().traceparent(), false));
        assert!(span.follower(SpanKind::Internal, never).is_none());
        span.set::<1>(|| panic!("nobody hears it"));
        span.event::<1>("x", || panic!("nobody hears it"));
    }

    #[test]
    fn a_span_is_named_in_text_and_on_the_mesh() {
        let span = given();
        assert_eq!(span.trace_id().as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!((span.span_id().as_deref(), span.tracestate()), (Some("00f067aa0ba902b7"), None));
        assert_eq!(Span::of_wire(span.to_wire().as_ref()).traceparent(), span.traceparent());
        assert!(Span::of_wire(None).is_none() && Span::default().to_wire().is_none());
        assert!(Span::kept("").is_none() && Span::kept("00-x").is_none());
    }

    #[tokio::test]
    async fn what_is_current_goes_along_where_it_is_taken() {
        assert!(Span::current().is_none());
        let span = given();
        let seen = span.within(async {
            let beside = tokio::spawn(carried(async { super::super::traceparent() }));
            let alone = tokio::spawn(async { super::super::traceparent() });
            (super::super::traceparent(), beside.await.unwrap(), alone.await.unwrap())
        });
        assert_eq!(seen.await, (span.traceparent(), span.traceparent(), None));
        assert!(Span::current().is_none());
        let nothing = Span::default().within(async { Span::current().is_none() });
        assert!(span.within(nothing).await, "what is not traced is within nothing");
    }
}
