//! Answers as they leave: the bare result with its encoding, and a JSON object about it in the attachment.

use bytes::Bytes;
use oprc_mesh::Told;
use oprc_mesh::trace;
use oprc_mesh::wire::{Form, Invoked, Tag};
use serde::Serialize;

use crate::call_id::CallId;
use crate::etag;
use crate::problem::Refusal;
use crate::reply::Unwritable;

pub(super) const JSON: &str = "application/json";
pub(super) const OCTETS: &str = "application/octet-stream";

/// What is said about an answer; members that say nothing are left out.
#[derive(Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct About<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    invocation_id: Option<&'a str>,
    /// The object's, after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    /// The class's, that the call was run by.
    #[serde(skip_serializing_if = "Option::is_none")]
    class_version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<&'a str>,
    /// The call had come to this before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
    /// How old it may be, where that was allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_ms: Option<u64>,
    /// The span of the question, where it is traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
}

/// What a call came to. A method without a result gives an empty payload without an encoding.
pub(super) fn invoked(invoked: Invoked, id: &CallId) -> Result<Told, Refusal> {
    let about = About {
        invocation_id: Some(&id.invocation),
        version: invoked.version,
        class_version: invoked.class_version,
        replayed: invoked.replayed,
        stale_ms: invoked.stale_ms,
        traceparent: trace::traceparent(),
        ..About::default()
    };
    let form = if invoked.form() == Form::Raw { OCTETS } else { JSON };
    let encoding = invoked.payload.as_ref().map(|_| form);
    told(invoked.payload.unwrap_or_default(), encoding, &about)
}

/// What was read.
pub(super) fn read(
    payload: Bytes,
    encoding: &'static str,
    tag: Tag,
    stale_ms: Option<u64>,
) -> Result<Told, Refusal> {
    let etag = etag::render(tag)?;
    let about = About {
        version: Some(tag.version),
        etag: etag.to_str().ok(),
        stale_ms,
        traceparent: trace::traceparent(),
        ..About::default()
    };
    told(payload, Some(encoding), &about)
}

fn told(payload: Bytes, encoding: Option<&'static str>, about: &About<'_>) -> Result<Told, Refusal> {
    let attachment = serde_json::to_vec(about).map_err(Unwritable::from)?;
    Ok(Told::Answer { payload, encoding, attachment })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parts(told: Told) -> (Bytes, Option<&'static str>, String) {
        match told {
            Told::Answer { payload, encoding, attachment } => {
                (payload, encoding, String::from_utf8(attachment).unwrap())
            }
            Told::Refusal(document) => panic!("{document:?}"),
        }
    }

    #[test]
    fn a_result_says_what_it_is() {
        let id = CallId { invocation: "i".into(), keyed: true };
        let result = |payload: Option<&'static [u8]>, form: Form| {
            let payload = payload.map(Bytes::from_static);
            let of = Invoked {
                payload,
                form: form as i32,
                version: Some(3),
                class_version: Some(2),
                replayed: true,
                ..Invoked::default()
            };
            parts(invoked(of, &id).unwrap())
        };
        let about = r#"{"invocation-id":"i","version":3,"class-version":2,"replayed":true}"#;
        assert_eq!(result(Some(b"5"), Form::Json), (Bytes::from("5"), Some(JSON), about.into()));
        assert_eq!(result(Some(b""), Form::Raw).1, Some(OCTETS));
        assert_eq!(result(None, Form::Json).1, None);
    }

    #[test]
    fn a_read_says_where_it_stands() {
        let read = read(Bytes::from("{}"), JSON, Tag { incarnation: 5, version: 3 }, Some(7)).unwrap();
        assert_eq!(parts(read).2, r#"{"version":3,"etag":"\"5.3\"","stale-ms":7}"#);
    }
}
