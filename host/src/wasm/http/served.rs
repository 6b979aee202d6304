//! Requests that a class serves by its `wasi:http/incoming-handler`: whole when the handler begins, and answered whole
//! once it has ended.

use std::pin::pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::future::{Either, select};
use http_body_util::{BodyExt as _, Full};
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TE, TRAILER};
use hyper::{Request, Response, Uri};
use oprc_mesh::limits::{SERVED_HEADERS_BYTES_MAX, SERVED_HEADERS_MAX};
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::wire::{HandleHttp, HttpHeader, HttpResponse};
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, Resource, ResourceTable};
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::types::{HostIncomingRequest, HostResponseOutparam};
use wasmtime_wasi_http::{DEFAULT_FORBIDDEN_HEADERS, WasiBody, WasiHttpView as _};

use super::departure::headers_bytes;
use crate::wasm::access::ObjectAccess;
use crate::wasm::call::Call;
use crate::wasm::failure;
use crate::wasm::meter;
use crate::wasm::module::{Module, subject, unbox};
use crate::wasm::running::{Running, check, payload_bytes_max, too_large};
use crate::wasm::state::State;

/// A request for a handler.
#[derive(Debug)]
pub(crate) struct HttpRequest {
    request: Request<Full<Bytes>>,
    scheme: Scheme,
    bytes: usize,
}

/// What the handler is given.
type Handle = (Resource<HostIncomingRequest>, Resource<HostResponseOutparam>);

/// How the handler answers.
type Answer = Result<Response<WasiBody>, ErrorCode>;

impl HttpRequest {
    /// Reads it from what came over the mesh.
    ///
    /// # Errors
    /// `invalid`.
    pub(crate) fn of(wire: HandleHttp) -> Result<Self, Problem> {
        let wrong = |what: &str| Problem::new(Code::Invalid, format!("the request's {what} is not sound"));
        let (scheme, scheme_text) =
            if wire.secure { (Scheme::Https, "https") } else { (Scheme::Http, "http") };
        let uri = Uri::builder().scheme(scheme_text).authority(wire.authority).path_and_query(wire.path);
        let uri = uri.build().map_err(|_| wrong("host or path"))?;
        let bytes = wire.body.len();
        let request = Request::builder().method(wire.method.as_str()).uri(uri).body(Full::new(wire.body));
        let mut request = request.map_err(|_| wrong("method"))?;
        for HttpHeader { name, value } in wire.headers {
            let name = HeaderName::try_from(name).map_err(|_| wrong("header"))?;
            let value = HeaderValue::from_maybe_shared(value).map_err(|_| wrong("header"))?;
            request.headers_mut().append(name, value);
        }
        Ok(Self { request, scheme, bytes })
    }
}

impl Module {
    /// Has the component's handler answer a request, in a fresh instance.
    ///
    /// # Errors
    /// `not-found` when it has none; `trap` when it fails or gives no answer, and whatever a call may fail with.
    pub(crate) async fn serve<A: ObjectAccess>(
        &self,
        call: Call,
        access: A,
        served: HttpRequest,
    ) -> (Result<HttpResponse, Problem>, A) {
        let subject = subject(&call, &access);
        let planned = check(&call, served.bytes).and_then(|()| self.http.as_ref().ok_or_else(|| none(&call)));
        let (result, access) = match planned {
            Ok(handle) => {
                let (result, access) = self.answer(handle, Arc::new(call), Box::new(access), served).await;
                (result, unbox(access))
            }
            Err(problem) => (Err(problem.with_effect(Effect::NotRun)), access),
        };
        (result.map_err(|problem| problem.on("serve", subject())), access)
    }

    async fn answer(
        &self,
        handle: &ComponentExportIndex,
        call: Arc<Call>,
        access: Box<dyn ObjectAccess>,
        served: HttpRequest,
    ) -> (Result<HttpResponse, Problem>, Box<dyn ObjectAccess>) {
        let mut run = match Running::begin(&self.place, &self.engine, &call, access) {
            Ok(run) => run,
            Err(access) => return (Err(failure::no_slot()), access),
        };
        let bytes_max = payload_bytes_max(&call);
        let work = self.handle(&mut run.store, handle, served, bytes_max);
        let done = meter::run(pin!(work), &run.meter, run.until).await;
        run.end(done)
    }

    async fn handle(
        &self,
        store: &mut Store<State>,
        handle: &ComponentExportIndex,
        served: HttpRequest,
        bytes_max: usize,
    ) -> wasmtime::Result<HttpResponse> {
        let (sender, receiver) = oneshot::channel();
        let instance = self.pre.instantiate_async(&mut *store).await?;
        let func = instance.get_typed_func::<Handle, ()>(&mut *store, handle)?;
        let request = store.data_mut().http().new_incoming_request(served.scheme, full(served.request))?;
        let answer = store.data_mut().http().new_response_outparam(sender)?;
        // the handler writes its answer while it runs, and waits when nobody takes it
        let taken = Box::pin(taken(receiver, bytes_max));
        let called = Box::pin(func.call_async(&mut *store, (request, answer)));
        let taken = match select(taken, called).await {
            Either::Left((answer, called)) => {
                let answer = answer?;
                called.await?;
                return Ok(answer);
            }
            Either::Right((done, taken)) => {
                done?;
                taken
            }
        };
        // What the handler has not finished is finished now: nobody will write to it any more.
        store.data_mut().table = ResourceTable::new();
        Ok(taken.await?)
    }
}

fn full(
    request: Request<Full<Bytes>>,
) -> Request<impl hyper::body::Body<Data = Bytes, Error = wasmtime_wasi_http::Error> + Send + 'static> {
    request.map(|body| body.map_err(|never| match never {}))
}

/// Takes the whole answer.
async fn taken(receiver: oneshot::Receiver<Answer>, bytes_max: usize) -> Result<HttpResponse, Problem> {
    let response = match receiver.await {
        Ok(Ok(response)) => response,
        Ok(Err(code)) => return Err(failed(&format!("the HTTP handler gave up: {code:?}"))),
        Err(_) => return Err(failed("the HTTP handler returned without an answer")),
    };
    let (parts, mut body) = response.into_parts();
    if !(200..600).contains(&parts.status.as_u16()) {
        return Err(failed(&format!("the HTTP handler answered with status {}", parts.status.as_u16())));
    }
    let headers = passed_on(&parts.headers)?;
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let broken = |error| failed(&format!("the HTTP handler did not finish its answer: {error}"));
        if let Ok(data) = frame.map_err(broken)?.into_data() {
            if bytes.len() + data.len() > bytes_max {
                return Err(too_large("the answer of the HTTP handler is too large", bytes_max));
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(HttpResponse { status: parts.status.as_u16().into(), headers, body: bytes.freeze() })
}

/// The answer's headers, without those that are between gateway and client alone.
fn passed_on(headers: &HeaderMap) -> Result<Vec<HttpHeader>, Problem> {
    if headers.len() > SERVED_HEADERS_MAX || headers_bytes(headers) > SERVED_HEADERS_BYTES_MAX {
        let detail = format!(
            "the answer of the HTTP handler has too many or too large headers; {SERVED_HEADERS_MAX} of \
             {SERVED_HEADERS_BYTES_MAX} bytes together are allowed"
        );
        return Err(
            Problem::new(Code::PayloadTooLarge, detail).hint("give fewer headers, or the body instead")
        );
    }
    let kept = headers.iter().filter(|(name, _)| {
        !DEFAULT_FORBIDDEN_HEADERS.contains(name) && ![CONTENT_LENGTH, TE, TRAILER].contains(name)
    });
    let wire = |(name, value): (&HeaderName, &HeaderValue)| HttpHeader {
        name: name.as_str().to_owned(),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    Ok(kept.map(wire).collect())
}

fn failed(detail: &str) -> Problem {
    Problem::new(Code::Trap, detail)
        .hint("have the handler set its response-outparam with a response, and finish the response's body")
}

fn none(call: &Call) -> Problem {
    Problem::new(Code::NotFound, format!("class {} serves no HTTP of its own", call.class))
        .hint("export wasi:http/incoming-handler@0.2.0 from its component; methods are called by POST")
}
