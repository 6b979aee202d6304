//! What came back, and the checks that every test makes of it.

use bytes::Bytes;
use hyper::HeaderMap;
use oprc_mesh::outcome::Code;
use serde_json::Value;

/// A response with its whole body.
#[derive(Clone)]
pub struct Reply {
    pub(crate) what: String,
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(4096)]);
        write!(f, "{} -> {} {:?}\n{body}", self.what, self.status, self.headers)
    }
}

impl Reply {
    /// Checks the status.
    ///
    /// # Panics
    /// When it is another.
    #[track_caller]
    #[allow(clippy::return_self_not_must_use, reason = "the check alone is often all that is wanted")]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Checks that it succeeded, in whatever way.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    #[allow(clippy::return_self_not_must_use, reason = "the check alone is often all that is wanted")]
    pub fn ok(self) -> Self {
        assert!((200..300).contains(&self.status), "{self:?}");
        self
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none, or is not labelled so.
    #[track_caller]
    pub fn json(&self) -> Value {
        let kind = self.header("content-type").unwrap_or_default();
        assert!(
            kind.starts_with("application/json") || kind.starts_with("application/problem+json"),
            "{self:?}"
        );
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The body as JSON, whatever its label: a handler's result is bytes that leave as they are.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn bytes_as_json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Checks that it is the problem `code`, complete in every member that all problems have, and gives the document.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn problem(&self, code: Code) -> Value {
        self.problem_with(code, code.http_status())
    }

    /// The same for the few problems whose status is not their code's: 405 and 415.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn problem_with(&self, code: Code, status: u16) -> Value {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let document = self.json();
        let text = |member: &str| document[member].as_str().unwrap_or_default().to_owned();
        assert_eq!(text("code"), code.as_str(), "{self:?}");
        assert_eq!((self.status, &document["status"]), (status, &status.into()), "{self:?}");
        assert_eq!(text("title") == code.title(), status == code.http_status(), "{self:?}");
        for member in ["title", "detail", "operation", "subject", "hint"] {
            assert!(!text(member).is_empty(), "member `{member}` is there: {self:?}");
        }
        if matches!(code, Code::NoQuorum | Code::Unavailable) {
            assert!(["not-run", "unknown"].contains(&text("outcome").as_str()), "{self:?}");
        }
        document
    }

    /// A header, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The `ETag`, which must be there, of the form `"<incarnation>.<version>"`.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn etag(&self) -> String {
        let etag = self.header("etag").unwrap_or_else(|| panic!("an ETag: {self:?}")).to_owned();
        let _ = tag(&etag);
        etag
    }

    /// The object's version after a call, from `Oprc-Version`.
    ///
    /// # Panics
    /// When it is not there.
    #[track_caller]
    pub fn version(&self) -> u64 {
        let version = self.header("oprc-version").and_then(|text| text.parse().ok());
        version.unwrap_or_else(|| panic!("Oprc-Version is a number: {self:?}"))
    }
}

/// Incarnation and version of an `ETag`.
///
/// # Panics
/// When it has another form.
#[track_caller]
pub fn tag(etag: &str) -> (u64, u64) {
    let inner = etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let pair = inner.and_then(|inner| inner.split_once('.'));
    let parsed =
        pair.and_then(|(incarnation, version)| Some((incarnation.parse().ok()?, version.parse().ok()?)));
    parsed.unwrap_or_else(|| panic!("an ETag is \"<incarnation>.<version>\": {etag}"))
}
