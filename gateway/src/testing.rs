//! What the tests of this crate share.

#![allow(clippy::unwrap_used)]

use hyper::header::{HeaderMap, HeaderValue};

/// Headers as they come in, names that come twice as well.
pub(crate) fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}
