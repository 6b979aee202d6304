//! Responses. Every body is at hand when its response begins, so `Content-Length` is always there.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// What a handler gives.
pub(crate) type Reply = Response<Full<Bytes>>;

/// JSON's media type.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The media type of bytes that are only bytes.
pub(crate) const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// A body of some type.
pub(crate) fn bytes(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    reply
}

/// What was to be said does not go into a response.
#[derive(Debug, thiserror::Error)]
#[error("the answer could not be written: {0}")]
pub(crate) struct Unwritable(#[from] serde_json::Error);

/// A JSON body made of `value`.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Result<Reply, Unwritable> {
    Ok(bytes(status, JSON, Bytes::from(serde_json::to_vec(value)?)))
}

/// No body.
pub(crate) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::new()));
    *reply.status_mut() = status;
    reply
}

/// For how many milliseconds what a `consistency=stale` read gave may have been out of date.
const STALE_MS: HeaderName = HeaderName::from_static("oprc-stale-ms");

/// Says how stale what is answered may be, if that was asked for and is known.
pub(crate) fn dated(mut reply: Reply, stale_ms: Option<u64>) -> Reply {
    if let Some(ms) = stale_ms {
        reply.headers_mut().insert(STALE_MS, HeaderValue::from(ms));
    }
    reply
}

/// What a HEAD request gets for what a GET would have: the same head, no body (RFC 9110, 9.3.2).
pub(crate) fn without_body(reply: Reply) -> Reply {
    let (mut parts, body) = reply.into_parts();
    let bodiless = matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if let Some(length) = hyper::body::Body::size_hint(&body).exact().filter(|_| !bodiless) {
        parts.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    Response::from_parts(parts, Full::new(Bytes::new()))
}
