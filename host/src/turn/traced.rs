//! What is told of turns, where they are traced: a span for each turn, for the run of its guest, and for its commit. What is
//! not traced goes straight on to the work itself.

use std::borrow::Cow;

use oprc_mesh::outcome::Problem;
use oprc_mesh::trace::{KeyValue, Kind, Span, TRACEPARENT, TRACESTATE};
use oprc_mesh::wire::{Header, HttpResponse, Invoke, Invoked, WriteObject, Written};
use oprc_odgm::{Head, Inbound, Message, Outcome, Outgoing};
use tokio::time::Instant;

use super::access::TurnAccess;
use super::commit::{Committed, Stage, Work};
use super::deliver::Came;
use super::mailbox::Place;
use super::nested;
use super::once::CallId;
use super::run::Turns;
use crate::classes::LoadedClass;
use crate::wasm::{Call, HttpRequest, Output};

impl Turns {
    /// Serves one call.
    ///
    /// # Errors
    /// As [`Self::serve_call`].
    pub(crate) async fn invoke(&self, invoke: Invoke, deadline: Instant) -> Result<Invoked, Problem> {
        let span = Span::current().child(Kind::Internal, || named(&invoke.class, &invoke.method));
        if span.is_none() {
            return self.serve_call(invoke, deadline).await;
        }
        let (class, object, method) = (&invoke.class, invoke.object.as_ref(), &invoke.method);
        describe(&span, class, object, method, &invoke.invocation);
        span.run(Box::pin(self.serve_call(invoke, deadline))).await
    }

    /// Changes an object's fields, or deletes it.
    ///
    /// # Errors
    /// As [`Self::write_now`].
    pub(crate) async fn write(&self, write: WriteObject, deadline: Instant) -> Result<Written, Problem> {
        let span = Span::current().child(Kind::Internal, || format!("write {}", write.class).into());
        if span.is_none() {
            return self.write_now(write, deadline).await;
        }
        describe(&span, &write.class, Some(&write.object), "", &write.invocation);
        span.run(Box::pin(self.write_now(write, deadline))).await
    }

    /// Runs a message that `group` has taken. It belongs to the trace of whoever sent it; what comes long after that begins
    /// one of its own, which points there.
    ///
    /// # Errors
    /// As [`Self::deliver_now`].
    pub(crate) async fn deliver(&self, group: u64, inbound: &Inbound) -> Result<Came, Problem> {
        let Message { class, object, method, trace, later, .. } = &inbound.message;
        let sender = Span::kept(trace);
        let name = || named(class, method);
        let span =
            if *later { sender.follower(Kind::Consumer, name) } else { sender.child(Kind::Consumer, name) };
        if span.is_none() {
            return self.deliver_now(group, inbound).await;
        }
        let asked = inbound.message.asked.as_ref();
        let invocation = asked.map_or(&inbound.message.id, |asked| &asked.invocation);
        describe(&span, class, Some(object).filter(|object| !object.is_empty()), method, invocation);
        span.set(|| [KeyValue::new("oprc.attempt", i64::from(inbound.attempts) + 1), partition(group)]);
        span.run(Box::pin(self.deliver_now(group, inbound))).await
    }

    /// Runs a turn's guest.
    pub(super) async fn guest(
        &self,
        class: &LoadedClass,
        mut call: Call,
        access: TurnAccess,
    ) -> (Result<Output, Problem>, TurnAccess) {
        let span = self.begin(&mut call);
        // boxed, because it is large, and each of those that it is held within is moved
        let run = Box::pin(class.module.call(call, access));
        let (outcome, access) = if span.is_none() { run.await } else { span.within(run).await };
        if let Err(problem) = &outcome {
            span.fail(problem);
        }
        span.end();
        (outcome, access)
    }

    /// Runs a class's HTTP handler.
    pub(super) async fn handler(
        &self,
        class: &LoadedClass,
        mut call: Call,
        access: TurnAccess,
        request: HttpRequest,
    ) -> Result<HttpResponse, Problem> {
        let span = self.begin(&mut call);
        let (outcome, access) = span.within(Box::pin(class.module.serve(call, access, request))).await;
        let outcome = outcome.map_err(|problem| nested::failed_for_good(access.waits(), problem));
        if let Err(problem) = &outcome {
            span.fail(problem);
        }
        span.end();
        outcome
    }

    /// Has what the guest of a call says heard, and shows it the span of its run.
    fn begin(&self, call: &mut Call) -> Span {
        call.said.logs = Some(self.logs.clone());
        let span = Span::current().child(Kind::Internal, || "guest".into());
        if !span.is_none() {
            show(&mut call.headers, &span);
            call.said.span = span.clone();
        }
        span
    }

    /// Commits what a turn wants.
    ///
    /// # Errors
    /// As [`Self::commit_now`].
    pub(super) async fn commit(
        &self,
        place: &mut Place,
        stage: &Stage<'_>,
        head: Option<Head>,
        mut work: Work,
        kept: Option<(&CallId<'_>, Outcome)>,
    ) -> Result<Committed, Problem> {
        let span = Span::current().child(Kind::Internal, || "commit".into());
        if span.is_none() {
            return Box::pin(self.commit_now(place, stage, head, work, kept)).await;
        }
        mark(&mut work.post.sends);
        let home = stage.home;
        let fields = i64::try_from(work.writes.len()).unwrap_or(i64::MAX);
        span.set(|| [partition(home.partition.group()), KeyValue::new("oprc.fields", fields)]);
        let outcome = span.within(Box::pin(self.commit_now(place, stage, head, work, kept))).await;
        match &outcome {
            Ok(Committed::Done(tag)) => span.set(|| {
                // its own entry, or one soon after it
                let applied = home.partition.status().applied.cast_signed();
                let version = tag.map_or(0, |tag| tag.version).cast_signed();
                [KeyValue::new("oprc.applied", applied), KeyValue::new("oprc.version", version)]
            }),
            Ok(Committed::Before(_)) => span.set(|| [KeyValue::new("oprc.replayed", true)]),
            Ok(Committed::Again(_)) => span.fail_as("rejected"),
            Err(problem) => span.fail(problem),
        }
        span.end();
        outcome
    }
}

fn named(class: &str, method: &str) -> Cow<'static, str> {
    format!("turn {class}/{method}").into()
}

/// Says what a turn is about.
fn describe(span: &Span, class: &str, object: Option<&String>, method: &str, invocation: &str) {
    span.set(|| [KeyValue::new("oprc.class", class.to_owned())]);
    if let Some(object) = object {
        span.set(|| [KeyValue::new("oprc.object", object.clone())]);
    }
    for (key, value) in [("oprc.method", method), ("oprc.invocation", invocation)] {
        if !value.is_empty() {
            span.set(|| [KeyValue::new(key, value.to_owned())]);
        }
    }
}

/// As an attribute: its partition's group.
pub(super) fn partition(group: u64) -> KeyValue {
    KeyValue::new("oprc.partition", group.cast_signed())
}

/// Messages keep what their sender is traced as.
fn mark(sends: &mut [Outgoing]) {
    let sender = Span::current().traceparent().unwrap_or_default();
    for sent in sends {
        sent.message.trace.clone_from(&sender);
        sent.message.later = sent.due_ms > 0;
    }
}

/// The guest sees the span of its own run, so that what it calls elsewhere stands below that.
fn show(headers: &mut Vec<Header>, span: &Span) {
    headers.retain(|header| header.name != TRACEPARENT && header.name != TRACESTATE);
    let shown = [(TRACEPARENT, span.traceparent()), (TRACESTATE, span.tracestate())];
    let shown = shown.into_iter().filter_map(|(name, value)| Some((name, value?)));
    headers.extend(shown.map(|(name, value)| Header { name: name.to_owned(), value }));
}
