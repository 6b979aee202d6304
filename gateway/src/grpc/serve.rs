//! From a request to its service.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, Version};
use oprc_mesh::limits::REQUEST_BYTES_MAX;
use oprc_mesh::outcome::{Code, Effect};
use tokio::time::{Instant, timeout};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;

use super::events::Events;
use super::health::Probes;
use super::invocations::Invocations;
use super::objects::Objects;
use super::pb::event_service_server::{self, EventServiceServer};
use super::pb::invocation_service_server::{self, InvocationServiceServer};
use super::pb::object_service_server::{self, ObjectServiceServer};
use super::{parse, reflection, status};
use crate::admission::Purpose;
use crate::app::App;
use crate::body::{Inbound, read_whole};
use crate::metrics::{Ended, grpc_operation};
use crate::problem::Refusal;
use crate::reply::{Reply, rpc};

/// The largest request, with what its message adds to what it carries.
const MESSAGE_BYTES_MAX: usize = REQUEST_BYTES_MAX + 64 * 1024;

/// Whether a request is gRPC's. Other protocols that begin alike, such as gRPC-Web, are not spoken here.
pub(crate) fn is_grpc<B>(request: &Request<B>) -> bool {
    let media_type = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = media_type.and_then(|media_type| media_type.strip_prefix(b"application/grpc"));
    request.version() == Version::HTTP_2
        && request.method() == Method::POST
        && rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Answers one request.
pub(crate) async fn answer(app: &Arc<App>, request: Request<Incoming>) -> Reply {
    let (parts, body) = request.into_parts();
    let body = Inbound::new(body, &parts.headers, app);
    let (path, begun) = (parts.uri.path().to_owned(), Instant::now());
    let service = path.strip_prefix('/').and_then(|path| path.split_once('/')).map_or("", |(name, _)| name);
    let served = AssertUnwindSafe(serve(app, service, parts, body)).catch_unwind().await;
    let response = served.unwrap_or_else(|_| {
        let refusal = Refusal::new(Code::Internal, "the gateway failed on this request");
        Err(status::of(refusal.effect(Effect::Unknown).on("call", &path)))
    });
    let endless = service.starts_with("grpc.");
    let stop = endless.then(|| app.stopping.clone());
    let response = response.unwrap_or_else(Status::into_http);
    // at the head there is a status only where nothing else follows
    let status =
        response.headers().get("grpc-status").map_or(Some(0), |status| status.to_str().ok()?.parse().ok());
    let ended = Ended::Grpc(status.unwrap_or(usize::MAX));
    app.metrics.requests.record(grpc_operation(&path), ended, begun.elapsed());
    rpc(response, stop)
}

async fn serve(app: &Arc<App>, service: &str, parts: Parts, body: Inbound) -> Result<Response<Body>, Status> {
    match service {
        invocation_service_server::SERVICE_NAME
        | object_service_server::SERVICE_NAME
        | event_service_server::SERVICE_NAME => {
            let path = parts.uri.path().to_owned();
            let outcome = own(app, service, parts, body).await;
            outcome.map_err(|refusal| status::of(refusal.on("call", path)))
        }
        // never refused for load: it tells whether there is any. Nobody has to say who asks, so nobody is waited for long.
        "grpc.health.v1.Health" => {
            let mut probes = Probes::server(app.clone());
            let answer = probes.call(Request::from_parts(parts, body));
            let patience = Duration::from_millis(app.config.body_ms);
            let late = |_| Status::deadline_exceeded("the request came too slowly");
            Ok(given(timeout(patience, answer).await.map_err(late)?))
        }
        _ if service.starts_with("grpc.reflection.") => {
            reflection::answer(app, service, Request::from_parts(parts, Body::new(body))).await
        }
        _ => Err(Status::unimplemented(format!("there is no service {service:?} here"))),
    }
}

/// Calls one of our own services. The request is read whole first, within the bounds that a request has.
async fn own(app: &Arc<App>, service: &str, parts: Parts, body: Inbound) -> Result<Response<Body>, Refusal> {
    let deadline = parse::deadline(&parts.headers)?;
    let identity = app.guard.admit(&parts.headers, &app.view()).await?;
    // asking where a call stands may wait
    let waits = parts.uri.path().ends_with("/GetInvocation") || service == event_service_server::SERVICE_NAME;
    let purpose = if waits { Purpose::Watch } else { Purpose::Call };
    app.admission.room(purpose)?;
    let _visit = app.admission.door(purpose, identity.caller(), identity.rates())?;
    let patience = Instant::now() + Duration::from_millis(app.config.body_ms);
    let bytes_max = identity.body_bytes_max(MESSAGE_BYTES_MAX);
    let whole = read_whole(body, bytes_max, deadline.at.min(patience), &app.admission).await?;
    let mut request = Request::from_parts(parts, Full::new(whole.bytes.clone()));
    request.extensions_mut().insert(deadline);
    // once it is whole: that may have taken long
    let identity = app.guard.still(&identity, &app.view())?;
    request.extensions_mut().insert(identity);
    let app = app.clone();
    Ok(given(match service {
        object_service_server::SERVICE_NAME => {
            let server = ObjectServiceServer::new(Objects(app));
            server.max_decoding_message_size(MESSAGE_BYTES_MAX).call(request).await
        }
        event_service_server::SERVICE_NAME => EventServiceServer::new(Events(app)).call(request).await,
        _ => {
            let server = InvocationServiceServer::new(Invocations(app));
            server.max_decoding_message_size(MESSAGE_BYTES_MAX).call(request).await
        }
    }))
}

pub(super) fn given<T>(response: Result<T, Infallible>) -> T {
    match response {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_grpc_is_called_over_http_2_is_taken_for_it() {
        let request = |media_type: &str, version, method: &Method| {
            let request = Request::builder().method(method).version(version).header(CONTENT_TYPE, media_type);
            is_grpc(&request.body(()).unwrap())
        };
        for media_type in ["application/grpc", "application/grpc+proto", "application/grpc;x=y"] {
            assert!(request(media_type, Version::HTTP_2, &Method::POST), "{media_type}");
            assert!(!request(media_type, Version::HTTP_11, &Method::POST), "{media_type}");
            assert!(!request(media_type, Version::HTTP_2, &Method::GET), "{media_type}");
        }
        for media_type in ["application/grpc-web", "application/grpcx", "application/json", ""] {
            assert!(!request(media_type, Version::HTTP_2, &Method::POST), "{media_type}");
        }
    }
}
