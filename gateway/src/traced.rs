//! What is told of a request: a span where it is traced, and a line in the log at level `debug`. Everything is known from
//! outside: what is asked for by its path, and what came of it by its answer.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request};
use oprc_mesh::outcome::Code;
use oprc_mesh::trace::{self, KeyValue, Span};

use crate::app::App;
use crate::dispatch;
use crate::grpc::is_grpc;
use crate::problem::Refusal;
use crate::reply::Reply;
use crate::router::{Resource, find};

const TRACEPARENT: HeaderName = HeaderName::from_static(trace::TRACEPARENT);
const TRACESTATE: HeaderName = HeaderName::from_static(trace::TRACESTATE);
/// How gRPC says what came of a call that came to nothing else.
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// A name in a gRPC path that is longer is none of ours.
const RPC_NAME_BYTES_MAX: usize = 64;

/// Answers one request.
pub(crate) async fn answer(app: &Arc<App>, request: Request<Incoming>) -> Reply {
    let asked = || Asked::of(&request);
    let (span, asked) = match begin(&request, asked) {
        Some((span, asked)) => (span, Some(asked)),
        None if tracing::enabled!(tracing::Level::DEBUG) => (Span::default(), Asked::of(&request)),
        // boxed, because it is large, and each of those that it is held within is moved
        None => return Box::pin(dispatch::answer(app, request)).await,
    };
    Box::pin(told(app, request, span, asked)).await
}

/// Answers one question on the mesh: the same for what comes without HTTP. `headers` are what it says about itself.
///
/// # Errors
/// What `work` fails with.
pub(crate) async fn question<T>(
    headers: &HeaderMap,
    operation: &'static str,
    work: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let Some(drawn) = incoming(headers).drawn() else { return work.await };
    let span = Span::server(drawn, || format!("oprc/api {operation}").into());
    span.set(|| [KeyValue::new("rpc.system", "zenoh"), KeyValue::new("rpc.method", operation)]);
    let outcome = span.within(work).await;
    if let Err(refusal) = &outcome {
        failed(&span, refusal.problem().kind());
    }
    span.end();
    outcome
}

/// What the client did wrong is no failure of the server's.
fn failed(span: &Span, code: Code) {
    if code.http_status() >= 500 {
        span.fail_as(code.as_str());
    } else {
        span.set(|| [KeyValue::new("error.type", code.as_str())]);
    }
}

/// What a request asks for, in words of which there are few.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    method: Method,
    /// Of REST: the path, with names in place of what differs. Of gRPC: the service and its method.
    route: Cow<'static, str>,
    is_grpc: bool,
}

impl Asked {
    /// None for what nobody wants to hear of: probes, and what is not there.
    fn of<B>(request: &Request<B>) -> Option<Self> {
        let (method, path) = (request.method().clone(), request.uri().path());
        if is_grpc(request) {
            let route = rpc(path)?.to_owned().into();
            return Some(Self { method, route, is_grpc: true });
        }
        let route = find(path).ok().and_then(|resource| route(&resource))?.into();
        Some(Self { method, route, is_grpc: false })
    }

    fn name(&self) -> Cow<'static, str> {
        if self.is_grpc { self.route.clone() } else { format!("{} {}", self.method, self.route).into() }
    }

    fn describe(&self, span: &Span) {
        if let Some((service, method)) = self.route.split_once('/').filter(|_| self.is_grpc) {
            return span.set(|| {
                [
                    KeyValue::new("rpc.system", "grpc"),
                    KeyValue::new("rpc.service", service.to_owned()),
                    KeyValue::new("rpc.method", method.to_owned()),
                ]
            });
        }
        span.set(|| {
            [
                KeyValue::new("http.request.method", self.method.to_string()),
                KeyValue::new("http.route", self.route.clone()),
                // what stands in the path itself may be of no concern to those who look at traces
                KeyValue::new("url.path", self.route.clone()),
            ]
        });
    }
}

/// The span of a request that is traced, or the context of one that is traced elsewhere. Whether it is, is decided before
/// anything else is looked at.
fn begin<B>(request: &Request<B>, asked: impl FnOnce() -> Option<Asked>) -> Option<(Span, Asked)> {
    let incoming = incoming(request.headers()).drawn()?;
    let asked = asked()?;
    let span = Span::server(incoming, || asked.name());
    asked.describe(&span);
    (!span.is_none()).then_some((span, asked))
}

fn incoming(headers: &HeaderMap) -> trace::Incoming {
    let all = |name: HeaderName| headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
    trace::Incoming::parse(all(TRACEPARENT), all(TRACESTATE))
}

async fn told(app: &Arc<App>, request: Request<Incoming>, span: Span, asked: Option<Asked>) -> Reply {
    let begun = Instant::now();
    let mut reply = span.within(dispatch::answer(app, request)).await;
    let status = reply.status().as_u16();
    let code = reply.extensions().get::<Code>().copied();
    if asked.as_ref().is_some_and(|asked| asked.is_grpc) {
        let status = reply.headers().get(GRPC_STATUS).and_then(|value| value.to_str().ok()?.parse().ok());
        let status: i64 = status.unwrap_or(0);
        span.set(|| [KeyValue::new("rpc.grpc.status_code", status)]);
        if status != 0 {
            span.fail_as(code.map_or("grpc", Code::as_str));
        }
    } else {
        span.set(|| [KeyValue::new("http.response.status_code", i64::from(status))]);
        if let Some(code) = code {
            failed(&span, code);
        }
    }
    if span.is_own()
        && let Some(header) = span.traceparent().and_then(|header| HeaderValue::try_from(header).ok())
    {
        reply.headers_mut().insert(TRACEPARENT, header);
    }
    span.end();
    if let Some(Asked { method, route, .. }) = &asked {
        let code = code.map(Code::as_str);
        let (ms, trace_id) = (begun.elapsed().as_millis() as u64, span.trace_id());
        tracing::debug!(%method, %route, status, code, ms, trace_id, "a request was answered");
    }
    reply
}

/// The service and its method, of a gRPC path.
fn rpc(path: &str) -> Option<&str> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let is_name = |name: &str| {
        let named = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_';
        (1..=RPC_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(named)
    };
    // health and reflection are asked for all the time, by machines
    (service.starts_with("oprc.") && is_name(service) && is_name(method)).then(|| &path[1..])
}

/// A resource's path as the documents write it.
const fn route(resource: &Resource) -> Option<&'static str> {
    Some(match resource {
        Resource::Health | Resource::Ready | Resource::Metrics => return None,
        Resource::Document => "/openapi.json",
        Resource::Cluster => "/api/v1/cluster",
        Resource::Node(..) => "/api/v1/cluster/nodes/{node}/{wish}",
        Resource::Invoke => "/api/v1/invoke",
        Resource::Invocation(..) => "/api/v1/invocations/{invocation}",
        Resource::Classes => "/api/v1/classes",
        Resource::Class(..) => "/api/v1/classes/{class}",
        Resource::Versions(..) => "/api/v1/classes/{class}/versions",
        Resource::ClassDocument(..) => "/api/v1/classes/{class}/openapi.json",
        Resource::Rollback(..) => "/api/v1/classes/{class}/rollback",
        Resource::Promote(..) => "/api/v1/classes/{class}/promote",
        Resource::Http(..) => "/api/v1/classes/{class}/http/{path}",
        Resource::Logs(..) => "/api/v1/classes/{class}/logs",
        Resource::DeadLetters(..) => "/api/v1/classes/{class}/dead-letters",
        Resource::ChangeDeadLetters(..) => "/api/v1/classes/{class}/dead-letters/{wish}",
        Resource::Function(..) => "/api/v1/classes/{class}/functions/{function}",
        Resource::Objects(..) => "/api/v1/classes/{class}/objects",
        Resource::Object(..) => "/api/v1/classes/{class}/objects/{id}",
        Resource::Call(..) => "/api/v1/classes/{class}/objects/{id}/invoke/{method}",
        Resource::Fields(..) => "/api/v1/classes/{class}/objects/{id}/fields",
        Resource::Field(..) => "/api/v1/classes/{class}/objects/{id}/fields/{key}",
        Resource::ObjectEvents(..) => "/api/v1/classes/{class}/objects/{id}/events",
        Resource::ClassEvents(..) => "/api/v1/classes/{class}/events",
        Resource::Keys => "/api/v1/keys",
        Resource::Key(..) => "/api/v1/keys/{name}",
        Resource::RotateKey(..) => "/api/v1/keys/{name}/rotate",
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use hyper::Version;
    use hyper::header::CONTENT_TYPE;

    #[test]
    fn a_route_is_the_path_with_names_in_place_of_what_differs() {
        for path in [
            "/openapi.json",
            "/api/v1/cluster",
            "/api/v1/cluster/nodes/ab/drain",
            "/api/v1/invoke",
            "/api/v1/invocations/ATEyMzQ1Njc4QwBvAGs",
            "/api/v1/classes",
            "/api/v1/classes/A",
            "/api/v1/classes/A/versions",
            "/api/v1/classes/A/openapi.json",
            "/api/v1/classes/A/rollback",
            "/api/v1/classes/A/promote",
            "/api/v1/classes/A/logs",
            "/api/v1/classes/A/dead-letters",
            "/api/v1/classes/A/dead-letters/retry",
            "/api/v1/classes/A/functions/f",
            "/api/v1/classes/A/objects",
            "/api/v1/classes/A/objects/b",
            "/api/v1/classes/A/objects/b/invoke/m",
            "/api/v1/classes/A/objects/b/fields",
            "/api/v1/classes/A/objects/b/fields/k",
            "/api/v1/classes/A/objects/b/events",
            "/api/v1/classes/A/events",
            "/api/v1/keys",
            "/api/v1/keys/k",
            "/api/v1/keys/k/rotate",
        ] {
            let route = route(&find(path).unwrap()).unwrap();
            assert_eq!(path.split('/').count(), route.split('/').count(), "{path} {route}");
            for (given, named) in path.split('/').zip(route.split('/')) {
                assert!(given == named || named.starts_with('{'), "{path} {route}");
            }
        }
        for path in ["/healthz", "/readyz"] {
            assert_eq!(route(&find(path).unwrap()), None);
        }
    }

    #[test]
    fn a_call_by_grpc_is_named_by_its_method() {
        let request = |path: &str| {
            let request = Request::post(path).version(Version::HTTP_2);
            request.header(CONTENT_TYPE, "application/grpc").body(()).unwrap()
        };
        let asked = Asked::of(&request("/oprc.v1.InvocationService/Invoke")).unwrap();
        assert_eq!((&*asked.name(), asked.is_grpc), ("oprc.v1.InvocationService/Invoke", true));
        let long = format!("/oprc.v1.X/{}", "y".repeat(65));
        for path in ["/grpc.health.v1.Health/Check", "/oprc.v1.X", "/oprc.v1.X/a-b", &long, "/oprc.v1.X/"] {
            assert_eq!(Asked::of(&request(path)), None, "{path}");
        }
    }
}
