//! gRPC keeps the bounds that REST keeps: calls under way, the time that a body may take, the drain. Its messages are
//! written by hand here; generated clients are in the workspace's `tests`.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Body, Frame};
use hyper::client::conn::http2;
use hyper::{HeaderMap, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use oprc_gateway::GatewayConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::running::{Running, start, start_with, until};

const INVOKE: &str = "/oprc.v1.InvocationService/Invoke";
const CHECK: &str = "/grpc.health.v1.Health/Check";

/// A message in its frame.
fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat().into()
}

/// A field of bytes.
fn field(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
}

/// An `InvokeRequest` that calls a method of `Counter/alice`.
fn invoke(method: &str) -> Bytes {
    let call = [field(1, b"Counter"), field(2, b"alice"), field(3, method.as_bytes())].concat();
    framed(&field(1, &call))
}

/// What came back: the status, of the headers or the trailers, and the frames.
struct Answer {
    status: String,
    headers: HeaderMap,
    body: Bytes,
}

/// Sends on a connection of its own.
async fn send<B>(server: &Running, path: &'static str, body: B) -> Answer
where
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + Unpin + 'static,
{
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("http://{}{path}", server.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let (parts, body) = response.into_parts();
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let status = parts.headers.get("grpc-status").or(trailers.get("grpc-status")).unwrap();
    let status = status.to_str().unwrap().to_owned();
    Answer { status, headers: parts.headers, body: collected.to_bytes() }
}

#[tokio::test]
async fn a_call_is_answered() {
    let server = start().await;
    let answer = send(&server, INVOKE, Full::new(invoke("echo"))).await;
    assert_eq!(answer.status, "0", "{:?}", answer.headers);
    assert!(answer.body.len() > 5, "a message came");
    assert_eq!(server.fake.invocations().len(), 1);
}

#[tokio::test]
async fn calls_past_the_limit_are_told_to_come_back() {
    let server = start_with(GatewayConfig { concurrency_max: 1, ..GatewayConfig::default() }).await;
    let hanging = tokio::spawn(server.post("/classes/Counter/objects/alice/invoke/hang", "").send());
    until("the call hangs", || !server.fake.invocations().is_empty()).await;
    let refused = send(&server, INVOKE, Full::new(invoke("echo"))).await;
    assert_eq!(refused.status, "8");
    assert!(refused.headers.contains_key("grpc-status-details-bin"));
    // health is never refused
    let health = send(&server, CHECK, Full::new(framed(b""))).await;
    assert_eq!((health.status.as_str(), &health.body[..]), ("0", &[0, 0, 0, 0, 2, 8, 1][..]));
    server.fake.gate.add_permits(1);
    hanging.await.unwrap().unwrap();
    assert_eq!(send(&server, INVOKE, Full::new(invoke("echo"))).await.status, "0");
}

#[tokio::test]
async fn a_message_that_does_not_come_is_not_waited_for() {
    let server = start_with(GatewayConfig { body_ms: 100, ..GatewayConfig::default() }).await;
    let beginning = Ok::<_, std::io::Error>(Frame::data(invoke("echo").slice(..3)));
    let body = Box::pin(StreamBody::new(stream::iter([beginning]).chain(stream::pending())));
    let late = timeout(Duration::from_mins(1), send(&server, INVOKE, body)).await.unwrap();
    assert_eq!(late.status, "4");
    assert!(server.fake.invocations().is_empty());
}

#[tokio::test]
async fn a_call_under_way_finishes_when_the_gateway_stops() {
    let server = start().await;
    let (fake, stop) = (server.fake.clone(), server.stop.clone());
    let stopping = async {
        until("the call hangs", || !fake.invocations().is_empty()).await;
        stop.cancel();
        fake.gate.add_permits(1);
    };
    let (answer, ()) = tokio::join!(send(&server, INVOKE, Full::new(invoke("hang"))), stopping);
    assert_eq!(answer.status, "0");
    timeout(Duration::from_mins(1), server.done).await.unwrap().unwrap();
}
