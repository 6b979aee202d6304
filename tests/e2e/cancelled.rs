//! Who goes away takes the turn along, as long as it has not committed: it ends where it is, writes nothing, and its object
//! is free at once. The turns here would sleep for a minute.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use oprc_tests::grpc::{Grpc, call as grpc_call};
use oprc_tests::{Class, Object, Server, both, guests};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

both!(over_http_1, over_http_2, over_http_2_with_its_connection, over_grpc);

const NAP_MS: u64 = 55_000;

async fn object(server: &Server) -> Object {
    Class::deploy(server, "Left", guests::prober(), "[class.limits]\nwall_ms = 60000").await.object("o")
}

/// Waits until the turn runs.
async fn runs(server: &Server, object: &Object) {
    server.logged(&[&format!("napping for {NAP_MS} ms"), &object.class.name]).await;
}

/// The turn has ended long before it would have by itself, and left nothing.
async fn is_gone(object: &Object) {
    // turns run one at a time: this one could not run before that one ended, and gives up sooner than it would have
    let next = object.method("run").json(&json!([[{ "scan": ["", "", 10] }, { "set": ["end", "1"] }]]));
    let seen = next.header("x-request-timeout-ms", 30_000).send().await.expect(200);
    assert_eq!((seen.json(), seen.version()), (json!(["", "ok"]), 1), "nothing was written before");
}

async fn over_http_1(server: Server) {
    let object = object(&server).await;
    let body = format!("{{\"ms\":{NAP_MS}}}");
    let head = format!(
        "POST {}/invoke/nap HTTP/1.1\r\nhost: x\r\nx-request-timeout-ms: 60000\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        object.path(),
        body.len()
    );
    let mut stream = TcpStream::connect(server.http().address()).await.unwrap();
    stream.write_all((head + &body).as_bytes()).await.unwrap();
    runs(&server, &object).await;
    drop(stream);
    is_gone(&object).await;
}

async fn http2(server: &Server) -> (http2::SendRequest<Full<Bytes>>, tokio::task::JoinHandle<()>) {
    over(TcpStream::connect(server.http().address()).await.unwrap()).await
}

async fn over(stream: TcpStream) -> (http2::SendRequest<Full<Bytes>>, tokio::task::JoinHandle<()>) {
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("it speaks HTTP/2");
    (sender, tokio::spawn(async move { drop(connection.await) }))
}

fn nap(server: &Server, object: &Object) -> Request<Full<Bytes>> {
    let uri = format!("http://{}{}/invoke/nap", server.http().address(), object.path());
    let request = Request::post(uri).header("x-request-timeout-ms", 60_000);
    let body = Bytes::from(format!("{{\"ms\":{NAP_MS}}}"));
    request.header("content-type", "application/json").body(Full::new(body)).unwrap()
}

/// One stream is reset; its connection goes on.
async fn over_http_2(server: Server) {
    let object = object(&server).await;
    let (mut sender, connection) = http2(&server).await;
    let call = tokio::spawn(sender.send_request(nap(&server, &object)));
    runs(&server, &object).await;
    call.abort();
    is_gone(&object).await;
    let again = Request::get(format!("http://{}/healthz", server.http().address()));
    let again = sender.send_request(again.body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(again.status(), 200);
    connection.abort();
}

async fn over_http_2_with_its_connection(server: Server) {
    let object = object(&server).await;
    // the client's own tasks keep the connection open while a call waits: it is cut below them
    let stream = std::net::TcpStream::connect(server.http().address()).unwrap();
    let cut = stream.try_clone().unwrap();
    stream.set_nonblocking(true).unwrap();
    let (mut sender, connection) = over(TcpStream::from_std(stream).unwrap()).await;
    let call = tokio::spawn(sender.send_request(nap(&server, &object)));
    runs(&server, &object).await;
    cut.shutdown(std::net::Shutdown::Both).unwrap();
    is_gone(&object).await;
    call.abort();
    connection.abort();
}

async fn over_grpc(server: Server) {
    let object = object(&server).await;
    let grpc = Grpc::to(&server).await;
    let mut request = tonic::Request::new(oprc_tests::grpc::pb::InvokeRequest {
        call: Some(grpc_call(&object.class, Some("o"), "nap", &json!({ "ms": NAP_MS }))),
        consistency: 0,
    });
    request.set_timeout(Duration::from_mins(1));
    let mut client = grpc.invocations.clone();
    let call = tokio::spawn(async move { client.invoke(request).await });
    runs(&server, &object).await;
    call.abort();
    is_gone(&object).await;
}
