//! What a client says about its question: a JSON object in the attachment, and the payload's encoding. It becomes the
//! headers that a request of REST would say it in, so that one reader reads both and refuses the same.

use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use oprc_mesh::wire::Consistency;
use serde::Deserialize;

use crate::admission::TIMEOUT_HEADER;
use crate::problem::Refusal;
use crate::query::{CONSISTENCY, Query};

/// The attachment. Unknown members are refused, so that a typo is never taken for a default.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Attachment {
    /// The token of a key.
    key: Option<String>,
    idempotency_key: Option<String>,
    timeout_ms: Option<u64>,
    traceparent: Option<String>,
    consistency: Option<String>,
    /// The media type that a result should have.
    accept: Option<String>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) headers: HeaderMap,
    pub(super) consistency: Consistency,
}

impl Said {
    /// Reads it.
    ///
    /// # Errors
    /// `invalid`.
    pub(super) fn read(attachment: &[u8], encoding: &str) -> Result<Self, Refusal> {
        let attachment = Attachment::read(attachment)?;
        let mut headers = HeaderMap::new();
        let key = attachment.key.map(|key| format!("Bearer {key}"));
        let timeout = attachment.timeout_ms.map(|ms| ms.to_string());
        for (member, name, value) in [
            ("key", AUTHORIZATION, key),
            ("idempotency-key", HeaderName::from_static("idempotency-key"), attachment.idempotency_key),
            ("timeout-ms", HeaderName::from_static(TIMEOUT_HEADER), timeout),
            ("traceparent", HeaderName::from_static("traceparent"), attachment.traceparent),
            ("accept", ACCEPT, attachment.accept),
        ] {
            let Some(value) = value else { continue };
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
                Refusal::invalid(format!("member {member} of the attachment holds control characters"))
            })?;
            headers.insert(name, value);
        }
        if let Some(media_type) = media_type(encoding) {
            // what is no header value is no media type either
            let value = HeaderValue::from_str(media_type).unwrap_or(HeaderValue::from_static("?"));
            headers.insert(CONTENT_TYPE, value);
        }
        let consistency = attachment.consistency.map(|text| format!("{CONSISTENCY}={text}"));
        let consistency = Query::parse(consistency.as_deref(), &[CONSISTENCY])?.consistency()?;
        Ok(Self { headers, consistency })
    }
}

impl Attachment {
    fn read(text: &[u8]) -> Result<Self, Refusal> {
        match text.trim_ascii_start() {
            [] => Ok(Self::default()),
            // of a list the members would be taken in their order
            [b'{', ..] => serde_json::from_slice(text).map_err(|error| unreadable(&error)),
            _ => Err(misunderstood("it is no JSON object")),
        }
    }
}

fn unreadable(error: &serde_json::Error) -> Refusal {
    // what has the wrong type would be repeated, and it may be a token
    let why = match error.classify() {
        serde_json::error::Category::Data if !error.to_string().starts_with("invalid") => error.to_string(),
        _ => format!("line {}, column {}", error.line(), error.column()),
    };
    misunderstood(&why)
}

fn misunderstood(why: &str) -> Refusal {
    Refusal::invalid(format!("the attachment is not understood: {why}")).hint(
        "send a JSON object with any of key, idempotency-key, timeout-ms (a number), traceparent, consistency and accept, or none",
    )
}

/// An encoding of Zenoh as a media type: what clients send unless told otherwise counts as nothing said.
fn media_type(encoding: &str) -> Option<&str> {
    match encoding {
        "" | "zenoh/bytes" | "zenoh/string" => None,
        "text/json" | "text/json5" => Some("application/json"),
        given => Some(given),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::media::body_form;
    use oprc_mesh::outcome::Code;
    use oprc_mesh::wire::Form;

    #[test]
    fn what_is_said_becomes_headers() {
        let text = br#"{"key":"oprc_1","idempotency-key":"k","timeout-ms":5,"traceparent":"t","consistency":"stale","accept":"a/b"}"#;
        let said = Said::read(text, "application/octet-stream").unwrap();
        for (name, value) in [
            ("authorization", "Bearer oprc_1"),
            ("idempotency-key", "k"),
            (TIMEOUT_HEADER, "5"),
            ("traceparent", "t"),
            ("accept", "a/b"),
            ("content-type", "application/octet-stream"),
        ] {
            assert_eq!(said.headers[name], value);
        }
        assert_eq!(said.consistency, Consistency::Stale);
        let nothing = Said::read(b"", "").unwrap();
        assert!(nothing.headers.is_empty() && nothing.consistency == Consistency::Lease);
        assert!(Said::read(b"{}", "zenoh/string").unwrap().headers.is_empty());
    }

    #[test]
    fn what_is_not_understood_is_refused_and_no_token_repeated() {
        for bad in [
            "[]",
            "[\"oprc_1\"]",
            "x",
            "\u{0}",
            "{\"keys\":\"k\"}",
            "{\"key\":1}",
            "{\"timeout-ms\":\"oprc_secret\"}",
            "{\"timeout-ms\":-1}",
            "{\"key\":\"a\",\"key\":\"b\"}",
            "{\"key\":\"a\\nb\"}",
            "{\"consistency\":\"strict\"}",
            "{\"consistency\":\"stale&consistency=lease\"}",
        ] {
            let refusal = Said::read(bad.as_bytes(), "").unwrap_err();
            assert_eq!(refusal.problem().kind(), Code::Invalid, "{bad}");
            assert!(!refusal.problem().detail.contains("oprc_secret"), "{}", refusal.problem().detail);
        }
        let typo = Said::read(b"{\"keys\":\"k\"}", "").unwrap_err();
        assert!(typo.problem().detail.contains("keys"), "{}", typo.problem().detail);
    }

    #[test]
    fn payloads_are_json_unless_said_otherwise() {
        let form = |encoding| body_form(&Said::read(b"", encoding).unwrap().headers);
        for json in
            ["", "zenoh/bytes", "zenoh/string", "application/json", "text/json", "application/json;utf-8"]
        {
            assert!(matches!(form(json), Ok(Form::Json)), "{json}");
        }
        assert!(matches!(form("application/octet-stream"), Ok(Form::Raw)));
        for bad in ["image/png", "zenoh/serialized", "unknown(7)", "a\nb"] {
            assert!(form(bad).is_err(), "{bad}");
        }
    }
}
