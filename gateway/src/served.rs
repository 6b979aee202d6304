//! Requests that a class serves by its own HTTP handler: handed on whole, and answered with what it says. What is between a
//! client and this gateway alone stays here: framing, connections, and the platform's own credentials.

use bytes::Bytes;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::uri::Authority;
use hyper::{Method, StatusCode};
use oprc_mesh::id::ClassName;
use oprc_mesh::limits::{
    REQUEST_BYTES_MAX, SERVED_HEADERS_BYTES_MAX, SERVED_HEADERS_MAX, SERVED_PATH_BYTES_MAX,
};
use oprc_mesh::retry::Repeat;
use oprc_mesh::wire::{Answer, HandleHttp, HttpHeader, HttpResponse, Op};

use crate::admission::TIMEOUT_HEADER;
use crate::body::Inbound;
use crate::call::Call;
use crate::call_id::CallId;
use crate::invoke::forwarded;
use crate::problem::{INVOCATION_ID, Refusal};
use crate::reply::{OCTETS, Reply, bytes};
use crate::route::Target;

/// Headers of one connection, or of a proxy's, besides those that hyper has names for.
const OF_CONNECTIONS: [&str; 3] = ["keep-alive", "proxy-connection", "http2-settings"];
/// Stands for the host that a client of HTTP/1.0 does not name.
const NO_HOST: &str = "localhost";

/// Any method, `/classes/{class}/http` and all below it.
pub(crate) async fn serve(
    call: &Call<'_>,
    class: &ClassName,
    below: &str,
    body: Inbound,
) -> Result<Reply, Refusal> {
    let path = path(below, call.query())?;
    let headers = handed_on(call.headers(), call.identity.is_known())?;
    let (seen, authority) = (forwarded(call.headers())?, authority(call)?);
    let id = CallId::fresh();
    let whole = call.read(body, REQUEST_BYTES_MAX).await?;
    let request = HandleHttp {
        class: class.as_str().to_owned(),
        invocation: id.invocation.clone(),
        caller: call.identity.caller().to_owned(),
        method: call.parts.method.as_str().to_owned(),
        secure: call.app.config.tls.is_some(),
        authority,
        path,
        headers,
        body: whole.bytes.clone(),
        seen,
        revision: 0,
    };
    let operation = |revision| Op::HandleHttp(HandleHttp { revision, ..request.clone() });
    let asked = call.app.ask(Target::Function(class), call.deadline.at, Repeat::Never, operation).await;
    match asked.map_err(|refusal| refusal.invocation(&id.invocation))? {
        Answer::HttpHandled(response) => id.named(reply(response, &call.parts.method)?, false),
        _ => Err(Refusal::misanswered()),
    }
}

/// What the class sees of the request's path and query.
fn path(below: &str, query: Option<&str>) -> Result<String, Refusal> {
    let path = match query {
        Some(query) => format!("{below}?{query}"),
        None => below.to_owned(),
    };
    if path.len() > SERVED_PATH_BYTES_MAX {
        let detail = format!("path and query have {} bytes; {SERVED_PATH_BYTES_MAX} are allowed", path.len());
        return Err(Refusal::invalid(detail).status(StatusCode::URI_TOO_LONG));
    }
    Ok(path)
}

/// Whom the client meant.
fn authority(call: &Call<'_>) -> Result<String, Refusal> {
    if let Some(authority) = call.parts.uri.authority() {
        return Ok(authority.as_str().to_owned());
    }
    let Some(host) = call.headers().get(HOST) else { return Ok(NO_HOST.to_owned()) };
    let host = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
    host.map(|host| host.as_str().to_owned()).ok_or_else(|| Refusal::invalid("the header Host names no host"))
}

/// The headers that the handler sees. `known`: the client showed the platform who it is, which is not the class's affair.
fn handed_on(headers: &HeaderMap, known: bool) -> Result<Vec<HttpHeader>, Refusal> {
    let named = named_by_connection(headers);
    let own = |name: &HeaderName| {
        [HOST, EXPECT, CONTENT_LENGTH].contains(name)
            || name.as_str() == TIMEOUT_HEADER
            || (known && *name == AUTHORIZATION)
            || named.iter().any(|named| named.eq_ignore_ascii_case(name.as_str()))
    };
    let kept: Vec<_> = headers.iter().filter(|(name, _)| !own(name) && !of_connection(name)).collect();
    let bytes: usize = kept.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if kept.len() > SERVED_HEADERS_MAX || bytes > SERVED_HEADERS_BYTES_MAX {
        return Err(Refusal::invalid("the headers are too many or too large")
            .hint(format!(
                "send at most {SERVED_HEADERS_MAX} headers of {SERVED_HEADERS_BYTES_MAX} bytes together"
            ))
            .status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
    }
    let wire = |(name, value): (&HeaderName, &HeaderValue)| HttpHeader {
        name: name.as_str().to_owned(),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    Ok(kept.into_iter().map(wire).collect())
}

/// Whether a header is between two ends of one connection (RFC 9110, 7.6.1).
fn of_connection(name: &HeaderName) -> bool {
    let known =
        [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
    known.contains(name) || OF_CONNECTIONS.contains(&name.as_str())
}

/// And those that `Connection` says are so, too.
fn named_by_connection(headers: &HeaderMap) -> Vec<&str> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|name| !name.is_empty()).collect()
}

/// What the handler said. A HEAD's length is what the handler says that a GET has.
fn reply(response: HttpResponse, method: &Method) -> Result<Reply, Refusal> {
    let unsound = Refusal::misanswered;
    let status = u16::try_from(response.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let mut reply = bytes(status.ok_or_else(unsound)?, OCTETS, response.body);
    let headers = reply.headers_mut();
    headers.clear(); // the handler says of what type it is, or nobody does
    for HttpHeader { name, value } in response.headers {
        let name = HeaderName::try_from(name).map_err(|_| unsound())?;
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| unsound())?;
        let length = name == CONTENT_LENGTH && *method != Method::HEAD;
        if !of_connection(&name) && !length && name != INVOCATION_ID {
            headers.append(name, value);
        }
    }
    Ok(reply)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::headers;

    fn names(given: &[(&'static str, &str)], known: bool) -> Vec<String> {
        handed_on(&headers(given), known).unwrap().into_iter().map(|header| header.name).collect()
    }

    #[test]
    fn what_is_between_client_and_gateway_stays_here() {
        let given = [
            ("host", "a.example"),
            ("connection", "keep-alive, X-Hop"),
            ("keep-alive", "5"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "s"),
            ("content-length", "3"),
            ("expect", "100-continue"),
            (TIMEOUT_HEADER, "5"),
            ("authorization", "Bearer s"),
            ("cookie", "a=b"),
            ("x-hub-signature", "c"),
        ];
        assert_eq!(names(&given, true), ["cookie", "x-hub-signature"]);
        // nobody is asked who they are: what a client shows is for the class
        assert_eq!(names(&given, false), ["authorization", "cookie", "x-hub-signature"]);
    }

    #[test]
    fn headers_and_path_are_bounded() {
        let value = "v".repeat(SERVED_HEADERS_BYTES_MAX - "a".len());
        assert!(handed_on(&headers(&[("a", &value)]), false).is_ok());
        let refusal = handed_on(&headers(&[("a", &value), ("b", "")]), false).unwrap_err();
        assert_eq!(refusal.respond().status().as_u16(), 431);
        assert!(handed_on(&headers(&[("a", ""); SERVED_HEADERS_MAX]), false).is_ok());
        assert!(handed_on(&headers(&[("a", ""); SERVED_HEADERS_MAX + 1]), false).is_err());
        let long = "x".repeat(SERVED_PATH_BYTES_MAX - 2);
        assert_eq!(path(&format!("/{long}"), Some("")).unwrap().len(), SERVED_PATH_BYTES_MAX);
        assert_eq!(path(&format!("/{long}x"), Some("")).unwrap_err().respond().status().as_u16(), 414);
    }

    #[test]
    fn an_answer_is_the_handlers_own() {
        let header = |name: &str, value: &'static str| HttpHeader {
            name: name.into(),
            value: Bytes::from_static(value.as_bytes()),
        };
        let answer = || HttpResponse {
            status: 299,
            headers: vec![
                header("set-cookie", "a"),
                header("set-cookie", "b"),
                header("content-length", "7"),
                header("connection", "close"),
                header("oprc-invocation-id", "mine"),
            ],
            body: Bytes::from_static(b"abc"),
        };
        let told = reply(answer(), &Method::GET).unwrap();
        assert_eq!(told.status().as_u16(), 299);
        let names: Vec<_> = told.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!((names, told.headers().len()), (vec!["set-cookie"], 2));
        let head = reply(answer(), &Method::HEAD).unwrap();
        assert_eq!(head.headers()[CONTENT_LENGTH], "7");
        assert!(reply(HttpResponse { status: 1000, ..answer() }, &Method::GET).is_err());
    }
}
