//! HTTP itself: what exists, what each resource takes, and that every refusal is a problem.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use oprc_mesh::limits::REQUEST_BYTES_MAX;
use reqwest::Method;
use tokio::net::TcpStream;

use crate::running::{check_problem, problem, start, text};

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let server = start().await;
    for path in ["", "/nothing", "/classes/Counter/objects/a/fields/b/c", "/classes/Counter/event"] {
        problem(server.get(path), 404, "not-found").await;
    }
    for path in ["/", "/metrics/", "/api/v2/classes"] {
        let response = server.client.get(format!("http://{}{path}", server.address)).send().await.unwrap();
        check_problem(response, 404, "not-found").await;
    }
}

#[tokio::test]
async fn every_method_that_is_allowed_has_a_handler_and_no_other_is_taken() {
    let server = start().await;
    let resources = [
        "/cluster",
        "/invoke",
        "/classes",
        "/classes/Counter",
        "/classes/Counter/versions",
        "/classes/Counter/functions/echo",
        "/classes/Counter/objects",
        "/classes/Counter/objects/alice",
        "/classes/Counter/objects/alice/invoke/echo",
        "/classes/Counter/objects/alice/fields",
        "/classes/Counter/objects/alice/fields/k",
        "/classes/Counter/objects/alice/events",
        "/classes/Counter/events",
    ];
    for path in resources {
        let refused = server.request(Method::OPTIONS, path).send().await.unwrap();
        let allow = refused.headers()["allow"].to_str().unwrap().to_owned();
        check_problem(refused, 405, "invalid").await;
        for method in ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "TRACE", "BREW"] {
            // an unknown query parameter, so that nothing but the gateway itself is asked
            let request = server.request(method.parse().unwrap(), &format!("{path}?nonsense=1"));
            let status = request.send().await.unwrap().status().as_u16();
            let expected = if allow.split(", ").any(|allowed| allowed == method) { 400 } else { 405 };
            assert_eq!(status, expected, "{method} {path}");
        }
    }
    assert!(server.fake.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_body_past_the_limit_is_refused_declared_or_not() {
    let server = start().await;
    let path = "/classes/Counter/objects/alice/invoke/echo";
    problem(server.post(path, vec![b' '; REQUEST_BYTES_MAX + 1]), 413, "payload-too-large").await;
    let frame = Bytes::from(vec![b' '; 1 << 20]);
    let frames = (0..33).map(move |_| Ok::<_, std::io::Error>(frame.clone()));
    let undeclared = reqwest::Body::wrap_stream(futures::stream::iter(frames));
    problem(server.post(path, undeclared), 413, "payload-too-large").await;
    assert!(server.fake.invocations().is_empty());
    let most = server.post(path, vec![b' '; REQUEST_BYTES_MAX]).send().await.unwrap();
    assert_eq!(most.bytes().await.unwrap().len(), REQUEST_BYTES_MAX);
}

#[tokio::test]
async fn a_body_in_many_pieces_arrives_whole() {
    let server = start().await;
    let pieces: Vec<Bytes> =
        (0..200u8).map(|n| Bytes::from(vec![b'a' + n % 26; usize::from(n) * 10])).collect();
    let whole = pieces.concat();
    let frames = pieces.into_iter().map(Ok::<_, std::io::Error>);
    let body = reqwest::Body::wrap_stream(futures::stream::iter(frames));
    let answer = text(server.post("/classes/Counter/functions/echo", body), 200).await;
    assert_eq!(answer.as_bytes(), whole);
}

#[tokio::test]
async fn a_connection_serves_many_requests_and_outlives_refusals() {
    let server = start().await;
    let one = |path: &str, body: &str| {
        format!("POST /api/v1{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    let last = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let pipelined = [
        one("/classes/Counter/functions/echo", "first"),
        one("/classes/1/functions/echo", "refused before its body was read"),
        one("/classes/Counter/functions/echo", "third"),
        last.to_owned(),
    ];
    let answers = server.raw(pipelined.concat().as_bytes()).await;
    let statuses: Vec<_> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "400", "200", "200"], "{answers}");
    assert!(answers.contains("first") && answers.contains("third"), "{answers}");
}

#[tokio::test]
async fn http2_is_spoken_on_the_same_port() {
    let server = start().await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let url = format!("http://{}/api/v1/classes/Counter/functions/echo", server.address);
    for _ in 0..3 {
        let request = hyper::Request::post(&url).body(Full::new(Bytes::from("over http/2"))).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!((response.version(), response.status().as_u16()), (hyper::Version::HTTP_2, 200));
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "over http/2");
    }
    let request = hyper::Request::head(format!("http://{}/healthz", server.address));
    let response = sender.send_request(request.body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(response.headers()["content-length"], "15");
    assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
    drop(sender);
    connection.await.unwrap().unwrap();
}
