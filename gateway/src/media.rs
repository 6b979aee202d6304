//! Media types: what form a call's body has and what form its result should have.

use hyper::HeaderMap;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use oprc_mesh::wire::Form;

use crate::problem::Refusal;

/// The media type of the body, in lower case and without parameters; empty when none is given.
pub(crate) fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap_or("?"));
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The form of a call's body. What `curl -d` says unless told otherwise (a form) counts as JSON, like no type at all.
///
/// # Errors
/// 415 for any other type.
pub(crate) fn body_form(headers: &HeaderMap) -> Result<Form, Refusal> {
    // the usual spellings, without an allocation
    match headers.get(CONTENT_TYPE).map(hyper::header::HeaderValue::as_bytes) {
        None | Some(b"application/json" | b"application/x-www-form-urlencoded") => return Ok(Form::Json),
        Some(b"application/octet-stream") => return Ok(Form::Raw),
        Some(_) => {}
    }
    let given = content_type(headers);
    match given.as_str() {
        "application/octet-stream" => Ok(Form::Raw),
        _ if is_json(&given) => Ok(Form::Json),
        _ => Err(Refusal::unsupported_media_type(&given, "application/json, application/octet-stream")),
    }
}

/// Checks that the body may be JSON.
///
/// # Errors
/// 415 for another type.
pub(crate) fn expect_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let given = content_type(headers);
    // a merge patch would delete where we store null, so it must not pass for our PATCH
    if is_json(&given) && given != "application/merge-patch+json" && given != "application/json-patch+json" {
        return Ok(());
    }
    Err(Refusal::unsupported_media_type(&given, "application/json"))
}

fn is_json(media_type: &str) -> bool {
    matches!(media_type, "" | "application/json" | "application/x-www-form-urlencoded")
        || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

/// The form that the client would rather have a result in (RFC 9110, 12.5.1): raw when it prefers
/// `application/octet-stream`, or names it and not JSON; otherwise JSON.
pub(crate) fn accepted_form(headers: &HeaderMap) -> Form {
    let mut json = Wish::default();
    let mut raw = Wish::default();
    for value in headers.get_all(ACCEPT) {
        for range in value.to_str().unwrap_or_default().split(',') {
            let mut parts = range.split(';');
            let media_range = parts.next().unwrap_or_default().trim();
            let quality = parts.find_map(quality).unwrap_or(1_000);
            json.consider(media_range, "application/json", quality);
            raw.consider(media_range, "application/octet-stream", quality);
        }
    }
    let rather_raw = raw.quality > json.quality || (raw.quality == json.quality && raw.rank > json.rank);
    if rather_raw && raw.quality > 0 { Form::Raw } else { Form::Json }
}

/// What the most specific range that covers a type says of it.
#[derive(Default)]
struct Wish {
    rank: u8,
    quality: u16,
}

impl Wish {
    fn consider(&mut self, range: &str, media_type: &str, quality: u16) {
        let rank = match range {
            _ if range.eq_ignore_ascii_case(media_type) => 3,
            _ if range.eq_ignore_ascii_case("application/*") => 2,
            "*/*" => 1,
            _ => return,
        };
        if rank >= self.rank {
            *self = Self { rank, quality };
        }
    }
}

/// The parameter `q=0.5` in thousandths.
fn quality(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let (whole, fraction) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    let thousandths = format!("{whole}{fraction:0<3.3}").parse::<u16>().ok()?;
    Some(thousandths.min(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    fn headers(name: &HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(value))])
    }

    #[test]
    fn json_is_what_json_is_called() {
        assert!(matches!(body_form(&HeaderMap::new()), Ok(Form::Json)));
        for value in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/x-www-form-urlencoded",
            "application/cloudevents+json",
            " application/json ",
        ] {
            assert!(matches!(body_form(&headers(&CONTENT_TYPE, value)), Ok(Form::Json)), "{value}");
        }
        for value in ["application/octet-stream", "application/octet-stream; x=y"] {
            assert!(matches!(body_form(&headers(&CONTENT_TYPE, value)), Ok(Form::Raw)), "{value}");
        }
        for value in ["text/plain", "application/jsonx", "json", "image/png"] {
            let refusal = body_form(&headers(&CONTENT_TYPE, value)).err();
            assert_eq!(refusal.map(|refusal| refusal.respond().status().as_u16()), Some(415), "{value}");
        }
    }

    #[test]
    fn a_merge_patch_is_not_our_patch() {
        assert!(expect_json(&HeaderMap::new()).is_ok());
        assert!(expect_json(&headers(&CONTENT_TYPE, "application/json")).is_ok());
        assert!(expect_json(&headers(&CONTENT_TYPE, "application/merge-patch+json")).is_err());
        assert!(expect_json(&headers(&CONTENT_TYPE, "application/octet-stream")).is_err());
    }

    #[test]
    fn raw_only_for_those_who_want_it_more() {
        for (accept, form) in [
            ("*/*", Form::Json),
            ("application/json", Form::Json),
            ("application/octet-stream", Form::Raw),
            ("application/octet-stream, */*", Form::Raw),
            ("application/json, application/octet-stream", Form::Json),
            ("application/octet-stream;q=0.5, application/json;q=0.4", Form::Raw),
            ("application/octet-stream;q=0.5, */*;q=0.9", Form::Json),
            ("application/octet-stream; q=0, text/html", Form::Json),
            ("application/*;q=0.1, application/octet-stream;q=0.2", Form::Raw),
            ("text/html", Form::Json),
            ("nonsense;;;q=", Form::Json),
            ("", Form::Json),
        ] {
            assert_eq!(accepted_form(&headers(&ACCEPT, accept)), form, "{accept}");
        }
        assert_eq!(accepted_form(&HeaderMap::new()), Form::Json);
    }
}
