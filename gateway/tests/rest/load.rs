//! Bounds: calls under way, memory of bodies, deadlines, slow and idle clients.

use std::time::{Duration, Instant};

use oprc_gateway::GatewayConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::running::{Running, check_problem, problem, start, start_with, text, until};

const HANG: &str = "/classes/Counter/objects/alice/invoke/hang";
const ECHO: &str = "/classes/Counter/functions/echo";

async fn hanging(server: &Running, calls: usize) -> Vec<tokio::task::JoinHandle<reqwest::Response>> {
    let before = server.fake.invocations().len();
    let tasks = (0..calls)
        .map(|_| {
            let request = server.post(HANG, "");
            tokio::spawn(async move { request.send().await.unwrap() })
        })
        .collect();
    until("the calls hang", || server.fake.invocations().len() == before + calls).await;
    tasks
}

#[tokio::test]
async fn calls_past_the_limit_are_told_to_come_back() {
    let server = start_with(GatewayConfig { concurrency_max: 3, ..GatewayConfig::default() }).await;
    let hanging = hanging(&server, 3).await;
    let response = server.post(ECHO, "1").send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "1");
    let refused = check_problem(response, 429, "overloaded").await;
    assert_eq!(refused["outcome"], "not-run");
    // health is never refused
    let health = server.client.get(format!("http://{}/healthz", server.address)).send().await.unwrap();
    assert_eq!(health.status(), 200);
    server.fake.gate.add_permits(3);
    for call in hanging {
        assert_eq!(call.await.unwrap().status(), 200);
    }
    text(server.post(ECHO, "1"), 200).await;
}

#[tokio::test]
async fn a_client_that_leaves_makes_room() {
    let server = start_with(GatewayConfig { concurrency_max: 1, ..GatewayConfig::default() }).await;
    let call = hanging(&server, 1).await.remove(0);
    call.abort();
    let started = Instant::now();
    while server.post(ECHO, "1").send().await.unwrap().status() != 200 {
        assert!(started.elapsed().as_secs() < 60, "the call that was left still counts");
    }
}

#[tokio::test]
async fn bodies_past_their_memory_are_told_to_come_back() {
    let server = start_with(GatewayConfig { held_bytes_max: 1 << 20, ..GatewayConfig::default() }).await;
    text(server.post(ECHO, vec![b' '; 1 << 20]), 200).await;
    problem(server.post(ECHO, vec![b' '; (1 << 20) + 1]), 429, "overloaded").await;
    let frames = (0..40).map(|_| Ok::<_, std::io::Error>(bytes::Bytes::from(vec![b' '; 50_000])));
    let undeclared = reqwest::Body::wrap_stream(futures::stream::iter(frames));
    problem(server.post(ECHO, undeclared), 429, "overloaded").await;
    text(server.post(ECHO, vec![b' '; 1 << 20]), 200).await;
}

#[tokio::test]
async fn a_call_past_its_deadline_is_answered() {
    let server = start().await;
    let started = Instant::now();
    let late = problem(server.post(HANG, "").header("X-Request-Timeout-Ms", "1000"), 504, "deadline").await;
    assert!(started.elapsed() >= Duration::from_secs(1) && started.elapsed() < Duration::from_mins(1));
    assert_eq!(late["outcome"], "unknown");
    for bad in ["0", "120001", "soon"] {
        problem(server.post(HANG, "").header("X-Request-Timeout-Ms", bad), 400, "invalid").await;
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let server = start_with(GatewayConfig { body_ms: 100, ..GatewayConfig::default() }).await;
    for body in ["", "x"] {
        let head = format!(
            "POST /api/v1{ECHO} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nConnection: close\r\n\r\n"
        );
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all((head + body).as_bytes()).await.unwrap();
        let mut answer = vec![0; 64];
        stream.read_exact(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    }
    assert!(server.fake.invocations().is_empty());
}

#[tokio::test]
async fn connections_that_idle_or_dawdle_are_closed() {
    let server = start_with(GatewayConfig { idle_ms: 500, ..GatewayConfig::default() }).await;
    // nothing at all, half a preface of HTTP/2, half a header, a finished request
    for beginning in
        ["", "PRI * HT", "GET /healthz HTTP/1.1\r\nHo", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"]
    {
        let ended = tokio::time::timeout(Duration::from_mins(1), server.raw(beginning.as_bytes())).await;
        let answer = ended.expect("the connection is closed");
        assert_eq!(answer.contains("200 OK"), beginning.ends_with("\r\n\r\n"), "{beginning:?}: {answer}");
    }
}

#[tokio::test]
async fn a_slow_call_is_not_idle() {
    let server = start_with(GatewayConfig { idle_ms: 500, ..GatewayConfig::default() }).await;
    let call = hanging(&server, 1).await.remove(0);
    tokio::time::sleep(Duration::from_millis(1_600)).await; // several idle periods pass while it runs
    server.fake.gate.add_permits(1);
    assert_eq!(call.await.unwrap().status(), 200);
}

#[tokio::test]
async fn no_more_connections_than_allowed_are_served_and_the_rest_wait() {
    let server = start_with(GatewayConfig { connections_max: 1, ..GatewayConfig::default() }).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    first.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let waiting = server.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    tokio::pin!(waiting);
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut waiting).await.is_err());
    drop(first);
    assert!(waiting.await.starts_with("HTTP/1.1 200"));
}
