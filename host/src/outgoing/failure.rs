//! Why an exchange failed, in the words of `wasi:http`.

use std::error::Error as _;
use std::io::{self, ErrorKind};

use oprc_mesh::limits::{HTTP_BODY_BYTES_MAX, HTTP_RESPONSE_HEAD_BYTES_MAX};
use wasmtime_wasi_http::Error;

use super::body::Broken;

/// What hyper says of an exchange, or of the body of its response.
pub(super) fn of_exchange(error: &hyper::Error) -> Error {
    let source = error.source();
    match source.and_then(|source| source.downcast_ref::<Broken>()) {
        Some(Broken::TooLarge) => return Error::HttpRequestBodySize(Some(HTTP_BODY_BYTES_MAX)),
        Some(Broken::ByGuest(_)) => return Error::HttpProtocolError,
        None => {}
    }
    if error.is_parse_too_large() {
        return Error::HttpResponseHeaderSectionSize(u32::try_from(HTTP_RESPONSE_HEAD_BYTES_MAX).ok());
    }
    if error.is_incomplete_message() {
        return Error::HttpResponseIncomplete;
    }
    match source.and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind) {
        Some(ErrorKind::UnexpectedEof) => Error::HttpResponseIncomplete,
        Some(_) => Error::ConnectionTerminated,
        None if error.is_closed() || error.is_canceled() => Error::ConnectionTerminated,
        None => Error::HttpProtocolError,
    }
}
