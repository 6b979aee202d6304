//! Asynchronous calls: `Prefer: respond-async` (RFC 7240) on a call, and `GET /invocations/{id}`.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use hyper::http::request::Parts;
use oprc_mesh::access::Action;
use oprc_mesh::limits::{DEADLINE_MS_DEFAULT, INVOCATION_WAIT_MS_MAX};
use oprc_mesh::outcome::{Code, Effect};
use oprc_mesh::retry::Repeat;
use oprc_mesh::wire::{Answer, Consistency, Form, Invocation, Invoked, Op, ReadInvocation, Submit};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json as document};
use tokio::time::Instant;

use crate::access::Identity;
use crate::admission::Deadline;
use crate::app::App;
use crate::call::Call;
use crate::call_id::CallId;
use crate::invocation_id::InvocationId;
use crate::problem::{Refusal, problem_document};
use crate::query::Query;
use crate::reply::{Reply, json};
use crate::route::Target;
use crate::wish::{Callee, Wish};

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const RESPOND_ASYNC: &str = "respond-async";
/// An answer to a client that set its own deadline is on its way so long before it.
const MARGIN_MS: u64 = 100;

/// Whether the client would rather be answered before the call has run. Other preferences count for nothing.
pub(crate) fn wanted(headers: &HeaderMap) -> bool {
    headers.get_all(PREFER).iter().any(|value| {
        let preferences = value.to_str().unwrap_or_default().split(',');
        let name =
            |preference: &str| preference.split([';', '=']).next().unwrap_or_default().trim().to_owned();
        preferences.map(name).any(|name| name.eq_ignore_ascii_case(RESPOND_ASYNC))
    })
}

/// Has a call taken in that is run later, and gives the name under which it is found.
pub(crate) async fn submit(
    app: &App,
    deadline: Instant,
    wish: &Wish<'_>,
) -> Result<(InvocationId, Invocation), Refusal> {
    let (Callee { class, object, .. }, id) = (wish.callee, &wish.id);
    let target = Target::Invocation(class, object, &id.invocation);
    let operation = |revision| Op::Submit(Submit { invoke: wish.invoke(None, Consistency::Lease, revision) });
    // its id tells: it is taken in once
    let invocation = match app.ask(target, deadline, Repeat::Once, operation).await {
        Ok(Answer::Submitted(invocation)) => invocation,
        Ok(_) => return Err(Refusal::misanswered()),
        Err(refusal) => return Err(refusal.invocation(&id.invocation)),
    };
    let name = InvocationId::new(class, object, &id.invocation, &invocation.fingerprint)
        .ok_or_else(Refusal::misanswered)?;
    Ok((name, invocation))
}

/// Has a call accepted: 202, and where to look for it.
pub(crate) async fn accept(call: &Call<'_>, wish: &Wish<'_>) -> Result<Reply, Refusal> {
    let (name, invocation) = submit(call.app, call.deadline.at, wish).await?;
    let name = name.to_string();
    let mut reply = json(StatusCode::ACCEPTED, &Document::of(&name, &invocation))?;
    let location = HeaderValue::try_from(format!("/api/v1/invocations/{name}"))
        .map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
    reply.headers_mut().insert(LOCATION, location);
    reply.headers_mut().insert(PREFERENCE_APPLIED, HeaderValue::from_static(RESPOND_ASYNC));
    wish.id.named(reply, invocation.replayed)
}

/// `GET /invocations/{id}`.
pub(crate) async fn read(
    app: &Arc<App>,
    parts: &Parts,
    identity: &Identity,
    id: &InvocationId,
) -> Result<Reply, Refusal> {
    let deadline = Deadline::of(&parts.headers)?;
    let wait = wait_of(&Query::parse(parts.uri.query(), &["wait"])?)?;
    respond(id, &look(app, identity, deadline, id, wait).await?)
}

/// Where a call stands, once it is decided or after `wait`. One that waits takes a seat like a reader of events, so that it
/// keeps no call out.
pub(crate) async fn look(
    app: &Arc<App>,
    identity: &Identity,
    deadline: Deadline,
    id: &InvocationId,
    wait: Duration,
) -> Result<Invocation, Refusal> {
    if wait.is_zero() {
        let _place = app.place(Target::Function(&id.class))?;
        return ask(app, id, deadline.at, Instant::now()).await;
    }
    let _seat = app.hubs.seat().ok_or_else(|| full(app.hubs.readers_max()))?;
    let last = deadline.or_longer(wait.as_millis() as u64 + DEADLINE_MS_DEFAULT);
    let until = (Instant::now() + wait).min(last - Duration::from_millis(MARGIN_MS));
    tokio::select! {
        invocation = ask(app, id, last, until) => invocation,
        refusal = app.guard.denied(identity, Action::Invoke, &id.class, app.mesh.directory()) => Err(refusal),
        // who stops says how it stands now
        () = app.stopping.cancelled() => ask(app, id, last, Instant::now()).await,
    }
}

async fn ask(app: &App, id: &InvocationId, deadline: Instant, until: Instant) -> Result<Invocation, Refusal> {
    let target = Target::Invocation(&id.class, id.object.as_ref(), &id.invocation);
    let operation = |revision| {
        let left = until.saturating_duration_since(Instant::now());
        Op::ReadInvocation(ReadInvocation {
            class: id.class.as_str().to_owned(),
            object: id.object.as_ref().map(|object| object.as_str().to_owned()),
            invocation: id.invocation.clone(),
            fingerprint: id.fingerprint.clone(),
            wait_ms: left.as_millis() as u64,
            revision,
        })
    };
    match app.ask_aside(target, deadline, Repeat::Harmless, operation).await? {
        Answer::Invocation(invocation) => Ok(invocation),
        _ => Err(Refusal::misanswered()),
    }
}

fn respond(id: &InvocationId, invocation: &Invocation) -> Result<Reply, Refusal> {
    let reply = json(StatusCode::OK, &Document::of(&id.to_string(), invocation))?;
    CallId { invocation: id.invocation.clone(), keyed: true }.named(reply, false)
}

/// How long the client wants to wait: a whole number with `ms`, `s` or `m`.
fn wait_of(query: &Query<'_>) -> Result<Duration, Refusal> {
    let Some(text) = query.one("wait")? else { return Ok(Duration::ZERO) };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        _ => None,
    };
    let ms = number.parse::<u64>().ok().zip(unit_ms).and_then(|(number, unit)| number.checked_mul(unit));
    ms.filter(|ms| *ms <= INVOCATION_WAIT_MS_MAX).map(Duration::from_millis).ok_or_else(|| {
        let text: String = text.chars().take(64).collect();
        Refusal::invalid(format!("query parameter wait = {text:?} is not a time that is allowed")).hint(format!(
            "send a whole number with ms, s or m, such as 30s; at most {INVOCATION_WAIT_MS_MAX} ms, and ask again"
        ))
    })
}

fn full(readers_max: usize) -> Refusal {
    let detail = format!("{readers_max} others wait, as many as this gateway takes");
    Refusal::new(Code::Overloaded, detail).effect(Effect::NotRun)
}

/// A call as clients see it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Invocation")]
pub(crate) struct Document<'a> {
    id: &'a str,
    #[schemars(extend("enum" = ["pending", "running", "done", "failed"]))]
    state: &'static str,
    /// Where the call left its object.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    version: Option<u64>,
    /// Absent for a method without one, and for one that was too large to be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Value")]
    result: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "crate::problem::Document<'static>")]
    problem: Option<Box<RawValue>>,
    /// It was given up after so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32")]
    attempts: Option<u32>,
}

/// JSON as it is; other bytes in the form that field values have.
#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Json(Box<RawValue>),
    Bytes(Value),
}

impl<'a> Document<'a> {
    fn of(id: &'a str, invocation: &Invocation) -> Self {
        let invoked = invocation.invoked.as_ref();
        Self {
            id,
            state: invocation.state().as_str(),
            version: invoked.and_then(|invoked| invoked.version),
            result: invoked.and_then(Outcome::of),
            problem: invocation.problem.as_ref().and_then(problem_document),
            attempts: Some(invocation.attempts).filter(|attempts| *attempts > 0),
        }
    }
}

impl Outcome {
    fn of(invoked: &Invoked) -> Option<Self> {
        let payload = invoked.payload.as_ref()?;
        let text = std::str::from_utf8(payload).ok().filter(|_| invoked.form() == Form::Json);
        let raw = text.and_then(|text| RawValue::from_string(text.to_owned()).ok());
        let bytes = || Self::Bytes(document!({ "$base64": STANDARD.encode(payload) }));
        Some(raw.map_or_else(bytes, Self::Json))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::headers;

    #[test]
    fn a_preference_is_found_among_others() {
        for value in [
            "respond-async",
            "Respond-Async",
            "wait=10, respond-async",
            "respond-async; x=y",
            "a;b=c,respond-async",
        ] {
            assert!(wanted(&headers(&[("prefer", value)])), "{value}");
        }
        assert!(wanted(&headers(&[("prefer", "return=minimal"), ("prefer", "respond-async")])));
        for value in ["", "respond", "respond-async-2", "return=respond-async", "wait=10"] {
            assert!(!wanted(&headers(&[("prefer", value)])), "{value}");
        }
        assert!(!wanted(&HeaderMap::new()));
    }

    #[test]
    fn a_wait_holds_at_its_limits_and_not_past_them() {
        let wait = |text: &str| {
            let query = format!("wait={text}");
            wait_of(&Query::parse(Some(&query), &["wait"]).unwrap()).map(|wait| wait.as_millis())
        };
        for (text, ms) in [("30s", 30_000), ("500ms", 500), ("1m", 60_000), ("60000ms", 60_000), ("0s", 0)] {
            assert_eq!(wait(text).unwrap(), ms, "{text}");
        }
        for bad in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "61s",
            "60001ms",
            "2m",
            "1h",
            "99999999999999999999s",
            "9999999999999999m",
        ] {
            assert!(wait(bad).is_err(), "{bad}");
        }
        assert_eq!(wait_of(&Query::parse(None, &["wait"]).unwrap()).unwrap(), Duration::ZERO);
    }

    #[test]
    fn a_result_shows_as_json_or_as_bytes() {
        let shown = |payload: &'static [u8], form: Form| {
            let invoked = Invoked { payload: Some(payload.into()), form: form as i32, ..Invoked::default() };
            serde_json::to_string(&Outcome::of(&invoked)).unwrap()
        };
        assert_eq!(shown(b"{\"a\": 1.50}", Form::Json), "{\"a\": 1.50}");
        assert_eq!(shown(b"5", Form::Raw), "{\"$base64\":\"NQ==\"}");
        assert!(Outcome::of(&Invoked::default()).is_none());
    }
}
