//! What names a call. The client's own key lets it try again whatever happened; without one the gateway makes an id, and
//! tries again by itself within the call's deadline.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use oprc_mesh::clock::now_ms;
use oprc_mesh::outcome::Code;
use uuid::Builder;

use crate::problem::{IDEMPOTENCY_REPLAYED, INVOCATION_ID, Refusal};
use crate::reply::Reply;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const CHARS_MAX: usize = 256;

/// See the module.
#[derive(Debug)]
pub(crate) struct CallId {
    pub(crate) invocation: String,
    /// It is the client's.
    pub(crate) keyed: bool,
}

impl CallId {
    /// The client's `Idempotency-Key`, or a new id.
    ///
    /// # Errors
    /// `invalid` for a key that is too long, empty, has other than visible ASCII characters, or comes twice.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(key) = keys.next() else { return Ok(Self::fresh()) };
        let key = key.to_str().map(unquoted).unwrap_or_default();
        Self::chosen(if keys.next().is_none() { key } else { "" })
    }

    /// A new id.
    pub(crate) fn fresh() -> Self {
        Self { invocation: new_id(), keyed: false }
    }

    /// An id of the client's own choice.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub(crate) fn chosen(key: &str) -> Result<Self, Refusal> {
        if is_key(key) {
            return Ok(Self { invocation: key.to_owned(), keyed: true });
        }
        Err(Refusal::invalid("Idempotency-Key is not one that is allowed")
            .hint(format!("send it once, as 1 to {CHARS_MAX} visible ASCII characters")))
    }

    /// The response with the call's name, and whether it had taken effect before.
    pub(crate) fn named(&self, mut reply: Reply, replayed: bool) -> Result<Reply, Refusal> {
        let id = HeaderValue::try_from(&self.invocation)
            .map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
        reply.headers_mut().insert(INVOCATION_ID, id);
        if replayed {
            reply.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
        }
        Ok(reply)
    }
}

/// Whether a call may have such a key.
pub(crate) fn is_key(key: &str) -> bool {
    (1..=CHARS_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The same key as a string of RFC 9651, as the header's draft standard writes it, and as it is.
fn unquoted(key: &str) -> &str {
    let inner = key.strip_prefix('"').and_then(|key| key.strip_suffix('"'));
    inner.filter(|inner| !inner.contains(['"', '\\'])).unwrap_or(key)
}

/// A UUID version 7, so that ids sort by the millisecond. Its random part comes from the thread's own generator: asking
/// the system for it at every call costs more than routing does.
fn new_id() -> String {
    Builder::from_unix_timestamp_millis(now_ms(), &rand::random()).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::headers;

    fn of(headers: &HeaderMap) -> Result<CallId, Refusal> {
        CallId::of(headers)
    }

    #[test]
    fn a_key_is_the_invocations_id() {
        let key = |text: &str| of(&headers(&[("idempotency-key", text)])).unwrap();
        assert_eq!((key("a-1/b\"~").invocation.as_str(), key("a-1/b\"~").keyed), ("a-1/b\"~", true));
        // as RFC 9651 quotes it; a quote within makes it another string
        assert_eq!(key("\"k\"").invocation, "k");
        assert_eq!(key("\"k\\\"\"").invocation, "\"k\\\"\"");
        assert!(of(&headers(&[("idempotency-key", &"k".repeat(256))])).is_ok());
        for bad in ["", "a b", "ä", &"k".repeat(257)] {
            assert!(of(&headers(&[("idempotency-key", bad)])).is_err(), "{bad}");
        }
        assert!(of(&headers(&[("idempotency-key", "a"), ("idempotency-key", "a")])).is_err());
    }

    #[test]
    fn without_a_key_ids_are_new_and_sort_by_time() {
        let (first, second) =
            (of(&HeaderMap::new()).unwrap().invocation, of(&HeaderMap::new()).unwrap().invocation);
        assert_ne!(first, second);
        assert!(first[..13] <= second[..13], "the milliseconds come first: {first} {second}");
        assert_eq!(uuid::Uuid::parse_str(&first).unwrap().get_version_num(), 7);
    }
}
