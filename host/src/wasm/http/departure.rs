//! Requests on their way out of a turn: which may leave, with what the host adds, and when.
//!
//! A turn may be run again, after a crash or because its commit was refused, and sends its requests again then. The key
//! that the host gives each of them is the same in every run, so that whoever understands `Idempotency-Key` does what is
//! asked once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::{PathAndQuery, Scheme as UriScheme};
use hyper::{Method, Request, Uri};
use oprc_mesh::egress::{Destination, Scheme};
use oprc_mesh::limits::{
    HTTP_BODY_BYTES_MAX, HTTP_HEADERS_BYTES_MAX, HTTP_PATH_BYTES_MAX, HTTP_REQUESTS_PER_TURN_MAX,
};
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::trace::TRACEPARENT;
use oprc_odgm::crash_point;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::outgoing::{Outgoing, Sent, Times, Trip};
use crate::wasm::access::{Exit, ObjectAccess};
use crate::wasm::call::Call;

/// By which a receiver knows a request that it had before.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Path and query, at the most: what a class may be asked for, it may ask another.
const PATH_BYTES_MAX: usize = HTTP_PATH_BYTES_MAX;

/// A turn's requests.
pub(super) struct Departures {
    outgoing: Outgoing,
    call: Arc<Call>,
    /// The turn's object; empty for a function.
    object: String,
    exit: Exit,
    until: Instant,
    places: Arc<Semaphore>,
    misuse: Option<Problem>,
    /// What all keys of the turn are made of, hashed when the first one is wanted.
    hashed: Option<Sha256>,
}

/// What [`WasiHttpHooks::send_request`] gives.
type Sending = Box<dyn Future<Output = Result<Sent, Error>> + Send>;

impl Departures {
    pub(super) fn new(
        outgoing: Outgoing,
        call: Arc<Call>,
        access: &dyn ObjectAccess,
        until: Instant,
    ) -> Self {
        let object = access.object().map(|(_, id)| id.to_string()).unwrap_or_default();
        let places = Arc::new(Semaphore::new(HTTP_REQUESTS_PER_TURN_MAX));
        Self { outgoing, call, object, exit: access.exit(), until, places, misuse: None, hashed: None }
    }

    pub(super) fn take_misuse(&mut self) -> Option<Problem> {
        self.misuse.take()
    }

    /// Makes a request ready to leave.
    fn depart(
        &mut self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<(Request<WasiBody>, Trip), Error> {
        let to = destination(request.uri())?;
        if !self.call.egress.admits(&to) {
            let (class, host) = (&self.call.class, &to.host);
            let invocation = &self.call.invocation;
            tracing::warn!(%class, %host, port = to.port, invocation, "a request to an origin that the manifest does not allow");
            return Err(Error::HttpRequestDenied);
        }
        self.check_method(request.method())?;
        check_size(&request)?;
        let place = self.places.clone().try_acquire_owned().map_err(|_| Error::ConnectionLimitReached)?;
        let number = self.exit.made.fetch_add(1, Ordering::Relaxed);
        self.add_headers(&mut request, number);
        *request.uri_mut() = below_host(request.uri())?;
        let times = Times::of(options, self.until);
        Ok((request, Trip { to, egress: self.call.egress.clone(), times, place }))
    }

    fn check_method(&mut self, method: &Method) -> Result<(), Error> {
        // neither makes sense from here: the one asks for a tunnel, the other gives back what proxies added
        if matches!(*method, Method::CONNECT | Method::TRACE) {
            return Err(Error::HttpRequestMethodInvalid);
        }
        if self.exit.reads_only && !method.is_safe() {
            let detail = format!("a read-only method sent a {method} request, which may change something");
            let hint =
                "take the method out of `readonly` in the manifest, or send GET, HEAD or OPTIONS alone";
            self.misuse = Some(Problem::new(Code::Invalid, detail).hint(hint));
            return Err(Error::HttpRequestMethodInvalid);
        }
        Ok(())
    }

    /// The one place at which the host adds headers to what a guest sends.
    fn add_headers(&mut self, request: &mut Request<WasiBody>, number: u64) {
        let is_safe = request.method().is_safe();
        let headers = request.headers_mut();
        if !is_safe && !headers.contains_key(IDEMPOTENCY_KEY) {
            headers.insert(IDEMPOTENCY_KEY, self.key(number));
        }
        let traced = self.call.said.span.traceparent().and_then(|value| HeaderValue::try_from(value).ok());
        if let Some(value) = traced.filter(|_| !headers.contains_key(TRACEPARENT)) {
            headers.insert(TRACEPARENT, value);
        }
    }

    /// The key of the turn's n-th request: the same in each of its runs, and of no other request. Who calls functions may
    /// name different calls alike: so what they are called with, and by whom, is part of it.
    fn key(&mut self, number: u64) -> HeaderValue {
        let hashed = self.hashed.get_or_insert_with(|| hash_of(&self.call, &self.object));
        let head = hashed
            .clone()
            .chain_update(number.to_le_bytes())
            .finalize()
            .first_chunk::<16>()
            .copied()
            .unwrap_or_default(); // it has 32
        let text = format!("oprc-{:032x}", u128::from_be_bytes(head));
        // never taken: digits and letters make a header
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("oprc"))
    }
}

impl WasiHttpHooks for Departures {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Sending {
        let (request, trip) = match self.depart(request, options) {
            Ok(departing) => departing,
            Err(error) => return Box::new(std::future::ready(Err(error))),
        };
        let (gate, outgoing) = ((self.exit.gate)(self.until), self.outgoing.clone());
        Box::new(async move {
            // If it is not passed, what the turn saw does not stand: whatever it makes of this error is not committed,
            // and it is run again.
            gate.await.map_err(|problem| Error::InternalError(Some(problem.detail)))?;
            let answer = outgoing.send(request, trip).await;
            crash_point("after-request");
            answer
        })
    }
}

/// Of what tells a call from all others.
fn hash_of(call: &Call, object: &str) -> Sha256 {
    let mut hash = Sha256::new();
    let names = [call.class.as_str(), object, call.method.as_str(), &call.invocation, &call.caller];
    for part in names.map(str::as_bytes).into_iter().chain([&*call.payload]) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash
}

fn destination(uri: &Uri) -> Result<Destination, Error> {
    let scheme = match uri.scheme() {
        Some(scheme) if *scheme == UriScheme::HTTP => Scheme::Http,
        Some(scheme) if *scheme == UriScheme::HTTPS => Scheme::Https,
        _ => return Err(Error::HttpRequestUriInvalid),
    };
    let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
    Destination::of(scheme, authority.as_str()).map_err(|_| Error::HttpRequestUriInvalid)
}

/// What stands in the request's first line: the host is connected to, and stands in `Host`.
fn below_host(uri: &Uri) -> Result<Uri, Error> {
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    if path.len() > PATH_BYTES_MAX {
        return Err(Error::HttpRequestUriTooLong);
    }
    Uri::try_from(path).map_err(|_| Error::HttpRequestUriInvalid)
}

fn check_size(request: &Request<WasiBody>) -> Result<(), Error> {
    let headers = request.headers();
    if headers_bytes(headers) > HTTP_HEADERS_BYTES_MAX {
        return Err(Error::HttpRequestHeaderSectionSize(u32::try_from(HTTP_HEADERS_BYTES_MAX).ok()));
    }
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > HTTP_BODY_BYTES_MAX) {
        return Err(Error::HttpRequestBodySize(Some(HTTP_BODY_BYTES_MAX)));
    }
    Ok(())
}

/// Their names and values.
pub(super) fn headers_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Empty};
    use oprc_mesh::egress::Egress;

    use super::*;
    use crate::wasm::bench::{Fields, call};

    fn departures(origins: &[&str], readonly: bool) -> Departures {
        let origins: Vec<_> = origins.iter().map(|&origin| origin.to_owned()).collect();
        let egress = Arc::new(Egress::parse(&origins, &[]).unwrap());
        let call = Arc::new(Call { egress, ..call("C", "m").unwrap() });
        let access = Fields { readonly, ..Fields::default() };
        Departures::new(Outgoing::new(), call, &access, Instant::now() + std::time::Duration::from_secs(9))
    }

    fn request(method: &str, uri: &str) -> Request<WasiBody> {
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        Request::builder().method(method).uri(uri).body(body).unwrap()
    }

    const ORIGIN: &[&str] = &["https://api.example.com"];

    #[test]
    fn only_what_is_allowed_departs() {
        let mut departures = departures(ORIGIN, false);
        let mut refused = |method: &str, uri: &str| departures.depart(request(method, uri), None).err();
        assert!(refused("GET", "https://api.example.com/a?b").is_none());
        for uri in ["http://api.example.com/", "https://api.example.com:8443/", "https://example.com/"] {
            assert!(matches!(refused("GET", uri), Some(Error::HttpRequestDenied)), "{uri}");
        }
        for uri in ["https://u@api.example.com/", "https://api.example.com./", "https://2130706433/"] {
            assert!(matches!(refused("GET", uri), Some(Error::HttpRequestUriInvalid)), "{uri}");
        }
        for method in ["TRACE", "CONNECT"] {
            let error = refused(method, "https://api.example.com/");
            assert!(matches!(error, Some(Error::HttpRequestMethodInvalid)), "{method}");
        }
    }

    #[test]
    fn what_reads_only_asks_and_anything_else_ends_its_turn() {
        let mut departures = departures(ORIGIN, true);
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert!(departures.depart(request(method, "https://api.example.com/"), None).is_ok());
        }
        assert!(departures.take_misuse().is_none());
        assert!(departures.depart(request("POST", "https://api.example.com/"), None).is_err());
        assert_eq!(departures.take_misuse().map(|problem| problem.kind()), Some(Code::Invalid));
    }

    #[test]
    fn a_request_is_bounded() {
        let mut departures = departures(ORIGIN, false);
        let path = |bytes: usize| format!("https://api.example.com/{}", "x".repeat(bytes - 1));
        assert!(departures.depart(request("GET", &path(PATH_BYTES_MAX)), None).is_ok());
        let long = departures.depart(request("GET", &path(PATH_BYTES_MAX + 1)), None);
        assert!(matches!(long, Err(Error::HttpRequestUriTooLong)));
        let with = |bytes: usize| {
            let mut request = request("GET", "https://api.example.com/");
            let value = HeaderValue::try_from("x".repeat(bytes - "x-a".len())).unwrap();
            request.headers_mut().insert("x-a", value);
            request
        };
        assert!(departures.depart(with(HTTP_HEADERS_BYTES_MAX), None).is_ok());
        let large = departures.depart(with(HTTP_HEADERS_BYTES_MAX + 1), None);
        assert!(matches!(large, Err(Error::HttpRequestHeaderSectionSize(_))));
        let announces = |bytes: u64| {
            let mut request = request("POST", "https://api.example.com/");
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes));
            request
        };
        assert!(departures.depart(announces(HTTP_BODY_BYTES_MAX), None).is_ok());
        let large = departures.depart(announces(HTTP_BODY_BYTES_MAX + 1), None);
        assert!(matches!(large, Err(Error::HttpRequestBodySize(_))));
    }

    #[test]
    fn so_many_requests_go_at_once_and_no_more() {
        let mut departures = departures(ORIGIN, false);
        let mut depart = || departures.depart(request("GET", "https://api.example.com/"), None);
        let mut under_way: Vec<_> = (0..HTTP_REQUESTS_PER_TURN_MAX).map(|_| depart().unwrap()).collect();
        assert!(matches!(depart(), Err(Error::ConnectionLimitReached)));
        under_way.pop();
        assert!(depart().is_ok());
    }

    #[test]
    fn a_request_has_the_same_key_in_each_run_and_no_other_has_it() {
        let keys = || {
            let mut departures = departures(ORIGIN, false);
            ["POST", "GET", "POST"].map(|method| {
                let (request, _) =
                    departures.depart(request(method, "https://api.example.com/"), None).unwrap();
                request.headers().get(IDEMPOTENCY_KEY).cloned()
            })
        };
        let [first, read, second] = keys();
        assert!(read.is_none() && first.is_some() && first != second);
        assert_eq!(keys(), [first, read, second]);
        let mut own = request("POST", "https://api.example.com/");
        own.headers_mut().insert(IDEMPOTENCY_KEY, HeaderValue::from_static("mine"));
        let (own, _) = departures(ORIGIN, false).depart(own, None).unwrap();
        assert_eq!(own.headers()[IDEMPOTENCY_KEY], "mine");
    }

    #[test]
    fn the_first_line_names_no_host() {
        for (uri, line) in [
            ("https://a.example", "/"),
            ("https://a.example?q=1", "/?q=1"),
            ("https://a.example/x//y?q=%20#f", "/x//y?q=%20"),
        ] {
            assert_eq!(below_host(&uri.parse().unwrap()).unwrap().to_string(), line);
        }
    }
}
