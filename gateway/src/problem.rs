//! Failures as HTTP: every one leaves as `application/problem+json` (RFC 9457) through [`Refusal::respond`], with the
//! status of its code from the one table in `oprc_mesh::outcome`. A few failures exist only in HTTP (a method or media
//! type that a resource does not take); they have a status of their own and the nearest code.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use oprc_mesh::id::IdError;
use oprc_mesh::outcome::{Code, Effect, Problem};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::reply::{Reply, Unwritable, bytes};

/// Milliseconds after which an overloaded client is told to come back when nothing better is known.
const RETRY_AFTER_MS: u64 = 1_000;

/// Names the call in the response, also in a failed one; the same as the request's `Idempotency-Key` if it had one.
pub(crate) const INVOCATION_ID: HeaderName = HeaderName::from_static("oprc-invocation-id");

/// The call had come to this before, and was not run again.
pub(crate) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// A request that is refused or failed. Boxed, so that results that carry it stay small.
#[derive(Debug)]
pub(crate) struct Refusal(Box<Inner>);

#[derive(Debug)]
struct Inner {
    problem: Problem,
    /// Takes the place of the code's own status.
    status: Option<StatusCode>,
    allow: Option<String>,
    invocation: Option<HeaderValue>,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(Box::new(Inner { problem, status: None, allow: None, invocation: None }))
    }
}

impl From<IdError> for Refusal {
    fn from(error: IdError) -> Self {
        Problem::from(error).hint("correct the name in the path or body").into()
    }
}

impl From<Unwritable> for Refusal {
    fn from(error: Unwritable) -> Self {
        Self::new(Code::Internal, error.to_string()).effect(Effect::Unknown)
    }
}

impl Refusal {
    /// A refusal of a request that never reached a host.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Problem::new(code, detail).into()
    }

    /// The request is not well-formed.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Code::Invalid, detail)
    }

    /// The resource does not take the method; `allow` lists those that it takes (RFC 9110, 15.5.6).
    pub(crate) fn method_not_allowed(method: &hyper::Method, allow: String) -> Self {
        let mut refusal = Self::invalid(format!("this resource does not take {method}"))
            .hint(format!("use one of: {allow}"))
            .status(StatusCode::METHOD_NOT_ALLOWED);
        refusal.0.allow = Some(allow);
        refusal
    }

    /// The body's media type is not one that the resource takes.
    pub(crate) fn unsupported_media_type(given: &str, taken: &str) -> Self {
        Self::invalid(format!("a body of type {given:?} is not taken here"))
            .hint(format!("send one of: {taken}"))
            .status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
    }

    /// A host answered an operation with what belongs to another.
    pub(crate) fn misanswered() -> Self {
        Problem::new(Code::Internal, "a host answered with something else than was asked for")
            .with_effect(Effect::Unknown)
            .hint("check that gateway and hosts run compatible versions")
            .into()
    }

    /// Gives the refusal a status of its own.
    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.0.status = Some(status);
        self
    }

    /// Names the call that failed: what the hosts' logs are searched for.
    pub(crate) fn invocation(mut self, id: &str) -> Self {
        self.0.invocation = HeaderValue::try_from(id).ok();
        self
    }

    /// Says what would help.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.problem.hint = hint.into();
        self
    }

    /// Says whether it may have taken effect.
    pub(crate) fn effect(mut self, effect: Effect) -> Self {
        self.0.problem.effect = effect as i32;
        self
    }

    /// Says when to come back.
    pub(crate) fn retry_after_ms(mut self, ms: u64) -> Self {
        self.0.problem.retry_after_ms = ms;
        self
    }

    /// Names the operation and its subject, unless an inner part did.
    pub(crate) fn on(mut self, operation: &str, subject: impl std::fmt::Display) -> Self {
        self.0.problem = std::mem::take(&mut self.0.problem).on(operation, subject);
        self
    }

    /// What went wrong.
    pub(crate) fn problem(&self) -> &Problem {
        &self.0.problem
    }

    /// The name of the call that failed, where one did.
    pub(crate) fn invocation_id(&self) -> Option<&str> {
        self.0.invocation.as_ref().and_then(|id| id.to_str().ok())
    }

    fn status_code(&self) -> StatusCode {
        let usual = || StatusCode::from_u16(public(self.0.problem.kind()).http_status()).ok();
        self.0.status.or_else(usual).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The document.
    pub(crate) fn document(&self) -> Vec<u8> {
        let problem = self.problem();
        let document = Document::of(problem, public(problem.kind()), self.status_code());
        serde_json::to_vec(&document).unwrap_or_default()
    }

    /// The response.
    pub(crate) fn respond(self) -> Reply {
        let (status, body) = (self.status_code(), self.document());
        let Inner { problem, allow, invocation, .. } = *self.0;
        let code = public(problem.kind());
        let mut reply =
            bytes(status, HeaderValue::from_static("application/problem+json"), Bytes::from(body));
        if let Some(ms) = retry_after_ms(&problem) {
            reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000)));
        }
        if code == Code::Unauthenticated {
            reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(allow) = allow.and_then(|allow| HeaderValue::try_from(allow).ok()) {
            reply.headers_mut().insert(ALLOW, allow);
        }
        if let Some(invocation) = invocation {
            reply.headers_mut().insert(INVOCATION_ID, invocation);
        }
        if problem.replayed {
            reply.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
        }
        reply.extensions_mut().insert(code); // for those who tell of requests
        debug_assert!(reply.headers().contains_key(CONTENT_TYPE));
        reply
    }
}

/// A failure as a member of another document.
pub(crate) fn problem_document(problem: &Problem) -> Option<Box<RawValue>> {
    let code = public(problem.kind());
    let status = StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    serde_json::value::to_raw_value(&Document::of(problem, code, status)).ok()
}

/// When the client is told to come back, if it is.
pub(crate) fn retry_after_ms(problem: &Problem) -> Option<u64> {
    match problem.retry_after_ms {
        0 => (public(problem.kind()) == Code::Overloaded).then_some(RETRY_AFTER_MS),
        ms => Some(ms),
    }
}

/// What would help: what the problem says, or else what usually does.
pub(crate) fn hint(problem: &Problem) -> &str {
    if problem.hint.is_empty() { usual_hint(public(problem.kind())) } else { &problem.hint }
}

/// The code that leaves the house: what hosts say among themselves is told as what it means to a client.
pub(crate) fn public(code: Code) -> Code {
    match code {
        Code::NotLeader => Code::NoQuorum,
        Code::StaleClass => Code::Unavailable,
        code => code,
    }
}

/// RFC 9457 with our extension members.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct Document<'a> {
    /// The same for every problem of the code.
    title: &'a str,
    /// The HTTP status.
    #[schemars(range(min = 400, max = 599))]
    status: u16,
    /// What is wrong, for people.
    detail: &'a str,
    /// What is wrong, for programs: these never change.
    #[schemars(extend("enum" = codes()))]
    code: &'static str,
    /// What was tried ...
    operation: &'a str,
    /// ... and on what.
    subject: &'a str,
    /// What would help.
    hint: &'a str,
    /// Whether it may have taken effect; absent where the code alone says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "&str", extend("enum" = ["not-run", "unknown"]))]
    outcome: Option<&'static str>,
    /// The function's own error.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "serde_json::Value")]
    error: Option<OwnError<'a>>,
    /// Where the function trapped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "&str")]
    backtrace: Option<&'a str>,
}

/// Every code that leaves the house.
pub(crate) fn codes() -> Vec<&'static str> {
    Code::ALL.iter().filter(|code| public(**code) == **code).map(|code| code.as_str()).collect()
}

/// The function's own error: JSON as it is, anything else as a string.
#[derive(Serialize)]
#[serde(untagged)]
enum OwnError<'a> {
    Json(&'a RawValue),
    Text(&'a str),
}

impl<'a> Document<'a> {
    fn of(problem: &'a Problem, code: Code, status: StatusCode) -> Self {
        let title = match status {
            StatusCode::METHOD_NOT_ALLOWED => "the method is not allowed",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "the media type is not supported",
            StatusCode::URI_TOO_LONG => "the path is too long",
            _ => code.title(),
        };
        let outcome = match Effect::try_from(problem.effect) {
            Ok(Effect::NotRun) => Some("not-run"),
            Ok(Effect::Unknown) => Some("unknown"),
            Ok(Effect::Unsaid) | Err(_) => None,
        };
        let own = |text: &'a str| serde_json::from_str(text).map_or(OwnError::Text(text), OwnError::Json);
        Self {
            title,
            status: status.as_u16(),
            detail: &problem.detail,
            code: code.as_str(),
            operation: &problem.operation,
            subject: &problem.subject,
            hint: hint(problem),
            outcome,
            error: Some(problem.error.as_str()).filter(|error| !error.is_empty()).map(own),
            backtrace: Some(problem.backtrace.as_str()).filter(|backtrace| !backtrace.is_empty()),
        }
    }
}

/// What usually helps, for problems that do not say it themselves.
const fn usual_hint(code: Code) -> &'static str {
    match code {
        Code::Internal => "the server's log says more; report it with the log if it happens again",
        Code::Invalid => "correct the request; sending it again unchanged will fail again",
        Code::Unauthenticated => "send credentials",
        Code::Denied => "use credentials that allow it",
        Code::NotFound => "check the name; GET the listing above it to see what exists",
        Code::Conflict => "read the present state and decide anew",
        Code::ReentrantCall => "break the cycle of calls between objects, or send a message instead",
        Code::VersionMismatch => {
            "read the object again, apply the change to it, and send its new ETag in If-Match"
        }
        Code::PayloadTooLarge => "send less at once",
        Code::ObjectTooLarge => "list the fields instead: GET .../fields?limit=100",
        Code::FunctionError => "member error holds what the function answered",
        Code::IdempotencyMismatch => "use a new Idempotency-Key for another call",
        Code::InvalidComponent => "build a WebAssembly component that imports only what the platform offers",
        Code::Overloaded => "try again after the time in Retry-After, with fewer requests at once",
        Code::Trap => "member backtrace shows where the function failed; nothing was written",
        Code::CpuLimit => "make the function do less, or raise cpu_ms in the manifest; nothing was written",
        Code::MemoryLimit => "use less memory, or raise memory_mib in the manifest; nothing was written",
        Code::WriteLimit => "write less per call, or raise the limit in the manifest; nothing was written",
        Code::NoQuorum | Code::NotLeader => "wait for a majority of the partition's hosts, then try again",
        Code::Unavailable | Code::StaleClass => "try again; see GET /api/v1/cluster for the hosts' state",
        Code::Deadline => "allow more time with X-Request-Timeout-Ms, and read the state before trying again",
        Code::WallLimit => {
            "make the function wait less, or raise wall_ms in the manifest; nothing was written"
        }
        Code::CallTimeout => {
            "try again, under the same Idempotency-Key; see why what was called did not answer in time"
        }
        Code::CallDepth => "call less deep, send a message instead, or raise call_depth in the manifest",
        Code::NondeterministicRerun => {
            "let what a method calls depend on its arguments and its object's state alone, not on time or chance"
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http_body_util::BodyExt as _;

    async fn document(refusal: Refusal) -> (StatusCode, hyper::HeaderMap, serde_json::Value) {
        let (parts, body) = refusal.respond().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status, parts.headers, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn every_code_has_its_status_and_all_members() {
        for &code in Code::ALL {
            let refusal = Refusal::new(code, "why").on("invoke", "A/b.c");
            let (status, headers, document) = document(refusal).await;
            let shown = public(code);
            assert_eq!(status.as_u16(), shown.http_status(), "{code:?}");
            assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
            assert_eq!(document["status"], shown.http_status());
            assert_eq!(document["code"], shown.as_str());
            assert_eq!((&document["operation"], &document["subject"]), (&"invoke".into(), &"A/b.c".into()));
            for member in ["title", "detail", "hint"] {
                assert!(document[member].as_str().is_some_and(|text| !text.is_empty()), "{code:?} {member}");
            }
            assert_eq!(headers.contains_key(RETRY_AFTER), code == Code::Overloaded, "{code:?}");
        }
    }

    #[tokio::test]
    async fn statuses_are_those_of_the_contract() {
        let contract = [
            ("invalid", 400),
            ("unauthenticated", 401),
            ("denied", 403),
            ("not-found", 404),
            ("conflict", 409),
            ("reentrant-call", 409),
            ("version-mismatch", 412),
            ("payload-too-large", 413),
            ("object-too-large", 413),
            ("function-error", 422),
            ("idempotency-mismatch", 422),
            ("invalid-component", 422),
            ("overloaded", 429),
            ("trap", 500),
            ("cpu-limit", 500),
            ("memory-limit", 500),
            ("write-limit", 500),
            ("no-quorum", 503),
            ("unavailable", 503),
            ("deadline", 504),
            ("wall-limit", 504),
            ("call-timeout", 504),
            ("call-depth", 500),
            ("nondeterministic-rerun", 500),
        ];
        for (text, status) in contract {
            let code = Code::ALL.iter().find(|code| code.as_str() == text).unwrap();
            assert_eq!(document(Refusal::new(*code, "x")).await.0.as_u16(), status, "{text}");
        }
    }

    #[tokio::test]
    async fn the_functions_own_error_is_json_where_it_is_json() {
        for (given, shown) in [
            (r#"{"insufficient": 5}"#, serde_json::json!({"insufficient": 5})),
            ("null", serde_json::Value::Null),
            ("not json", serde_json::json!("not json")),
        ] {
            let problem = Problem { error: given.into(), ..Problem::new(Code::FunctionError, "refused") };
            assert_eq!(document(problem.into()).await.2["error"], shown);
        }
        assert!(document(Refusal::invalid("x")).await.2.get("error").is_none());
    }

    #[tokio::test]
    async fn outcome_backtrace_and_retry_after_are_told() {
        let problem = Problem {
            backtrace: "0: counter!increment".into(),
            ..Problem::new(Code::Unavailable, "lost").with_effect(Effect::Unknown).retry_after_ms(1_500)
        };
        let (_, headers, document) = document(problem.into()).await;
        assert_eq!(document["outcome"], "unknown");
        assert_eq!(document["backtrace"], "0: counter!increment");
        assert_eq!(headers[RETRY_AFTER], "2");
    }

    #[tokio::test]
    async fn a_method_that_is_not_taken_names_those_that_are() {
        let refusal = Refusal::method_not_allowed(&hyper::Method::TRACE, "GET, HEAD".into());
        let (status, headers, document) = document(refusal).await;
        assert_eq!((status.as_u16(), &headers[ALLOW]), (405, &HeaderValue::from_static("GET, HEAD")));
        assert_eq!(document["status"], 405);
    }
}
