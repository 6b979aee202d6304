//! Calls of methods and functions. Payload bytes pass through untouched both ways; what they mean is the host's affair.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use oprc_mesh::access::Action;
use oprc_mesh::id::{ClassName, MethodName, NAME_PATTERN, OBJECT_ID_PATTERN, ObjectId};
use oprc_mesh::limits::REQUEST_BYTES_MAX;
use oprc_mesh::wire::{Consistency, Form, Header, Invoked};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::access::Need;
use crate::admission::TIMEOUT_HEADER;
use crate::body::Inbound;
use crate::call::Call;
use crate::call_id::CallId;
use crate::invocations;
use crate::media::{accepted_form, body_form, expect_json};
use crate::metrics::Protocol;
use crate::problem::Refusal;
use crate::query::{CONSISTENCY, Query};
use crate::reply::{JSON, OCTETS, Reply, bytes, dated, empty};
use crate::wish::{Callee, Wish};

/// The object's version after the call.
const VERSION: HeaderName = HeaderName::from_static("oprc-version");
/// The version of the class whose code ran.
const CLASS_VERSION: HeaderName = HeaderName::from_static("oprc-class-version");

/// Headers that a guest may see, besides those that begin with `x-`.
const TRACE_HEADERS: [&str; 3] = ["traceparent", "tracestate", "baggage"];
/// Headers beginning with `x-` that it may not: credentials, what proxies say, and what is meant for the gateway.
const WITHHELD: [&str; 5] = ["x-api-key", "x-auth", "x-forwarded-", "x-real-ip", TIMEOUT_HEADER];
/// Headers handed on, at the most ...
const HEADERS_MAX: usize = 64;
/// ... and their names and values together; more is refused with 431.
const HEADERS_BYTES_MAX: usize = 8 * 1024;

/// `POST .../invoke/{method}` and `POST .../functions/{function}`.
pub(crate) async fn invoke(call: &Call<'_>, callee: Callee<'_>, body: Inbound) -> Result<Reply, Refusal> {
    let known = if callee.object.is_some() { &[CONSISTENCY][..] } else { &[] };
    let consistency = Query::parse(call.query(), known)?.consistency()?;
    let form = body_form(call.headers())?;
    let body = call.read(body, REQUEST_BYTES_MAX).await?;
    run(call, callee, &body.bytes, form, consistency).await
}

/// `POST /invoke`: the same, addressed in the body.
pub(crate) async fn invoke_addressed(call: &Call<'_>, body: Inbound) -> Result<Reply, Refusal> {
    let consistency = Query::parse(call.query(), &[CONSISTENCY])?.consistency()?;
    expect_json(call.headers())?;
    let body = call.read(body, REQUEST_BYTES_MAX).await?;
    let addressed: Addressed<'_> = serde_json::from_slice(&body.bytes).map_err(|error| {
        Refusal::invalid(format!("the body does not address a call: {error}"))
            .hint("send {\"class\": ..., \"object\": ..., \"function\": ..., \"payload\": ...}; object and payload are optional")
    })?;
    let class = ClassName::parse(&addressed.class)?;
    let object = addressed.object.as_deref().map(ObjectId::parse).transpose()?;
    let method = MethodName::parse(&addressed.function)?;
    let payload = addressed.payload.map_or_else(Bytes::new, |raw| body.bytes.slice_ref(raw.get().as_bytes()));
    let callee = Callee { class: &class, object: object.as_ref(), method: &method };
    callee.takes(consistency)?;
    call.still_may(Need::In(Action::Invoke, &class)).map_err(|refusal| refusal.on("invoke", callee))?;
    run(call, callee, &payload, Form::Json, consistency).await.map_err(|refusal| refusal.on("invoke", callee))
}

/// A call that says in its body whom it is for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AddressedCall")]
pub(crate) struct Addressed<'a> {
    #[schemars(extend("pattern" = NAME_PATTERN))]
    class: String,
    /// None for a function.
    #[schemars(extend("pattern" = OBJECT_ID_PATTERN))]
    object: Option<String>,
    /// The method or function.
    #[schemars(extend("pattern" = NAME_PATTERN))]
    function: String,
    /// The body of the call; absent for none.
    #[serde(default, borrow, deserialize_with = "present")]
    #[schemars(with = "serde_json::Value")]
    payload: Option<&'a RawValue>,
}

/// A payload that is there is one, `null` too.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

async fn run(
    call: &Call<'_>,
    callee: Callee<'_>,
    payload: &Bytes,
    form: Form,
    consistency: Consistency,
) -> Result<Reply, Refusal> {
    let wish = Wish {
        callee,
        payload: payload.clone(),
        form,
        accept: accepted_form(call.headers()),
        id: CallId::of(call.headers())?,
        caller: call.identity.caller().to_owned(),
        headers: forwarded(call.headers())?,
        protocol: Protocol::Rest,
    };
    if invocations::wanted(call.headers()) {
        if consistency != Consistency::Lease {
            return Err(Refusal::invalid("consistency cannot be chosen for a call that is run later"));
        }
        return Box::pin(invocations::accept(call, &wish)).await;
    }
    respond(wish.run(call.app, call.deadline.at, consistency).await?, &wish.id)
}

/// 200 with the bare result, or 204 for a method without one.
fn respond(invoked: Invoked, id: &CallId) -> Result<Reply, Refusal> {
    let content_type = if invoked.form() == Form::Raw { OCTETS } else { JSON };
    let mut reply = match invoked.payload {
        Some(payload) => bytes(StatusCode::OK, content_type, payload),
        None => empty(StatusCode::NO_CONTENT),
    };
    if let Some(version) = invoked.version {
        reply.headers_mut().insert(VERSION, HeaderValue::from(version));
    }
    if let Some(version) = invoked.class_version {
        reply.headers_mut().insert(CLASS_VERSION, HeaderValue::from(version));
    }
    id.named(dated(reply, invoked.stale_ms), invoked.replayed)
}

/// The request's headers that the guest may see.
pub(crate) fn forwarded(headers: &HeaderMap) -> Result<Vec<Header>, Refusal> {
    let mut handed_on = Vec::new();
    let mut total = 0;
    for (name, value) in headers {
        let name = name.as_str();
        let allowed = TRACE_HEADERS.contains(&name)
            || (name.starts_with("x-") && !WITHHELD.iter().any(|withheld| name.starts_with(withheld)));
        if !allowed {
            continue;
        }
        let value = std::str::from_utf8(value.as_bytes())
            .map_err(|_| Refusal::invalid(format!("header {name} is not UTF-8")))?;
        total += name.len() + value.len();
        if handed_on.len() == HEADERS_MAX || total > HEADERS_BYTES_MAX {
            return Err(Refusal::invalid(
                "the headers that are handed on to the function are too many or too large",
            )
            .hint(format!("send at most {HEADERS_MAX} x-* headers of {HEADERS_BYTES_MAX} bytes together"))
            .status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        }
        handed_on.push(Header { name: name.to_owned(), value: value.to_owned() });
    }
    Ok(handed_on)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::headers;

    #[test]
    fn a_guest_sees_its_callers_headers_and_no_credentials() {
        let given = headers(&[
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            ("x-tenant", "blå"),
            ("x-tenant", "two"),
            ("authorization", "Bearer s"),
            ("cookie", "s"),
            ("x-api-key", "s"),
            ("x-auth-token", "s"),
            ("x-forwarded-for", "10.0.0.1"),
            (TIMEOUT_HEADER, "5"),
        ]);
        let seen = forwarded(&given).unwrap();
        let seen: Vec<_> = seen.iter().map(|header| (header.name.as_str(), header.value.as_str())).collect();
        assert_eq!(
            seen,
            [
                ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
                ("x-tenant", "blå"),
                ("x-tenant", "two")
            ]
        );
    }

    #[test]
    fn headers_are_bounded() {
        let value = "v".repeat(HEADERS_BYTES_MAX - "x-a".len());
        assert!(forwarded(&headers(&[("x-a", &value)])).is_ok());
        let refusal = forwarded(&headers(&[("x-a", &value), ("x-b", "")])).unwrap_err();
        assert_eq!(refusal.respond().status().as_u16(), 431);
        assert!(forwarded(&headers(&[("x-a", ""); HEADERS_MAX])).is_ok());
        assert!(forwarded(&headers(&[("x-a", ""); HEADERS_MAX + 1])).is_err());
    }

    #[test]
    fn a_null_payload_is_a_payload() {
        let parse = |body: &'static str| serde_json::from_str::<Addressed<'_>>(body).unwrap();
        assert_eq!(parse(r#"{"class":"A","function":"f","payload": null}"#).payload.unwrap().get(), "null");
        assert!(parse(r#"{"class":"A","function":"f"}"#).payload.is_none());
    }
}
