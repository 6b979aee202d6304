//! Messages and metadata into the types that handlers work with.

use std::time::Duration;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use oprc_mesh::limits::{DEADLINE_MS_MAX, PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX};
use oprc_mesh::wire::{Consistency, Form};
use tokio::time::Instant;
use tonic::{Extensions, Request};

use super::pb;
use crate::access::Identity;
use crate::admission::Deadline;
use crate::call_id::CallId;
use crate::problem::Refusal;
use crate::query::Page;

const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// What a request is besides its message.
pub(super) struct Asked<T> {
    pub(super) message: T,
    pub(super) headers: HeaderMap,
    pub(super) deadline: Deadline,
    pub(super) identity: Identity,
}

impl<T> Asked<T> {
    pub(super) fn of(request: Request<T>) -> Self {
        let (metadata, extensions, message) = request.into_parts();
        let deadline = own_deadline(&extensions);
        // nobody is let in to whom nothing was given
        let identity = extensions.get::<Identity>().cloned().unwrap_or_default();
        Self { message, headers: metadata.into_headers(), deadline, identity }
    }
}

/// The deadline, as it was read when the call came in.
fn own_deadline(extensions: &Extensions) -> Deadline {
    let usual = || Deadline::usual(Instant::now());
    extensions.get::<Deadline>().copied().unwrap_or_else(usual)
}

/// How long the client waits (gRPC over HTTP/2: up to eight digits and a unit). Longer than a call may take is as long as
/// one may: what gRPC clients send is what they have left, and often no choice of anybody's.
///
/// # Errors
/// `invalid` for what is no such time.
pub(super) fn deadline(headers: &HeaderMap) -> Result<Deadline, Refusal> {
    let now = Instant::now();
    let Some(value) = headers.get(TIMEOUT) else { return Ok(Deadline::usual(now)) };
    let left = value.to_str().ok().and_then(timeout).ok_or_else(|| {
        Refusal::invalid("grpc-timeout is not a time").hint("send up to 8 digits and one of H, M, S, m, u, n")
    })?;
    Ok(Deadline { at: now + left.min(Duration::from_millis(DEADLINE_MS_MAX)), chosen: true })
}

fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = is_number.then(|| digits.parse().ok()).flatten()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// How new what is read must be.
pub(super) fn consistency(number: i32) -> Result<Consistency, Refusal> {
    match pb::Consistency::try_from(number) {
        Ok(pb::Consistency::Unspecified | pb::Consistency::Lease) => Ok(Consistency::Lease),
        Ok(pb::Consistency::Linearizable) => Ok(Consistency::Linearizable),
        Ok(pb::Consistency::Stale) => Ok(Consistency::Stale),
        Err(_) => Err(Refusal::invalid(format!("{number} is no consistency"))),
    }
}

/// The form that a result should have.
pub(super) fn accepted(number: i32) -> Result<Form, Refusal> {
    match pb::ResultForm::try_from(number) {
        Ok(pb::ResultForm::Unspecified | pb::ResultForm::Json) => Ok(Form::Json),
        Ok(pb::ResultForm::Raw) => Ok(Form::Raw),
        Err(_) => Err(Refusal::invalid(format!("{number} is no form of a result"))),
    }
}

/// The arguments of a call.
pub(super) fn payload(payload: Option<pb::call::Payload>) -> (Bytes, Form) {
    match payload {
        None => (Bytes::new(), Form::Json),
        Some(pb::call::Payload::Json(text)) => (text.into(), Form::Json),
        Some(pb::call::Payload::Raw(bytes)) => (bytes, Form::Raw),
    }
}

/// What names a call: the field, or the metadata of the same name, or a new id.
pub(super) fn call_id(field: &str, headers: &HeaderMap) -> Result<CallId, Refusal> {
    let given = CallId::of(headers)?;
    if field.is_empty() || (given.keyed && given.invocation == field) {
        return Ok(given);
    }
    if given.keyed {
        return Err(Refusal::invalid("the message has another idempotency key than the metadata"));
    }
    CallId::chosen(field)
}

/// A precondition as the headers that it is written like, for whoever reads those.
pub(super) fn conditions(precondition: Option<&pb::Precondition>) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::new();
    let Some(pb::Precondition { if_match, if_none_match }) = precondition else { return Ok(headers) };
    for (name, text) in [(IF_MATCH, if_match), (IF_NONE_MATCH, if_none_match)] {
        if !text.is_empty() {
            let value = HeaderValue::try_from(text)
                .map_err(|_| Refusal::invalid(format!("{name} of the precondition is no list of etags")))?;
            headers.insert(name, value);
        }
    }
    Ok(headers)
}

/// The first page of a listing that goes on over all pages.
pub(super) fn page(prefix: String, after: String, size: u32, new: i32) -> Result<Page, Refusal> {
    let limit = if size == 0 { PAGE_ITEMS_DEFAULT } else { size as usize };
    if limit > PAGE_ITEMS_MAX {
        return Err(Refusal::invalid(format!(
            "page_size = {size} is not allowed; it may be 1 to {PAGE_ITEMS_MAX}"
        )));
    }
    Ok(Page { prefix, limit, after, consistency: consistency(new)? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::headers;

    #[test]
    fn a_timeout_is_eight_digits_and_a_unit() {
        for (text, ms) in [("1H", 3_600_000), ("2M", 120_000), ("3S", 3_000), ("99999999m", 99_999_999)] {
            assert_eq!(timeout(text), Some(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(timeout("5u"), Some(Duration::from_micros(5)));
        assert_eq!(timeout("0n"), Some(Duration::ZERO));
        for bad in ["", "S", "5", "5s", "-1S", "+1S", "1.5S", "100000000S", "5 S", "5ä"] {
            assert_eq!(timeout(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_deadline_is_as_long_as_a_call_may_take_at_the_most() {
        let left = |text: &str| {
            let deadline = deadline(&headers(&[("grpc-timeout", text)])).unwrap();
            (deadline.at.saturating_duration_since(Instant::now()), deadline.chosen)
        };
        let longest = Duration::from_millis(DEADLINE_MS_MAX);
        assert!(left("99999999H").0 <= longest && left("99999999H").1);
        assert!(left("99999999H").0 + Duration::from_secs(5) > longest);
        assert!(!deadline(&HeaderMap::new()).unwrap().chosen);
        assert!(deadline(&headers(&[("grpc-timeout", "soon")])).is_err());
    }

    #[test]
    fn a_key_may_come_twice_but_not_as_two() {
        let none = HeaderMap::new();
        let given = headers(&[("idempotency-key", "k")]);
        assert!(!call_id("", &none).unwrap().keyed);
        assert_eq!(call_id("f", &none).unwrap().invocation, "f");
        assert_eq!(call_id("", &given).unwrap().invocation, "k");
        assert_eq!(call_id("k", &given).unwrap().invocation, "k");
        assert!(call_id("f", &given).is_err());
        assert!(call_id("a b", &none).is_err());
    }

    #[test]
    fn unknown_numbers_are_refused_and_absent_ones_are_the_usual() {
        assert_eq!(consistency(0).unwrap(), Consistency::Lease);
        assert_eq!(consistency(3).unwrap(), Consistency::Stale);
        assert!(consistency(9).is_err() && accepted(9).is_err());
        assert_eq!(page(String::new(), String::new(), 0, 0).unwrap().limit, PAGE_ITEMS_DEFAULT);
        assert!(page(String::new(), String::new(), PAGE_ITEMS_MAX as u32 + 1, 0).is_err());
    }
}
