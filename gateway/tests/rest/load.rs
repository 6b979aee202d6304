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
    let first = hanging(&server, 1).await.remove(0);
    let waiting = server.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    tokio::pin!(waiting);
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut waiting).await.is_err());
    first.abort();
    assert!(waiting.await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn the_connection_that_has_idled_for_the_longest_makes_room() {
    let server = start_with(GatewayConfig { connections_max: 2, ..GatewayConfig::default() }).await;
    let mut idle = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();
        idle.push(stream);
    }
    let third = server.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(third.starts_with("HTTP/1.1 200"));
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_mins(1), idle[0].read_to_end(&mut rest)).await;
    closed.expect("the older one was closed").unwrap();
    idle[1].write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    idle[1].read_to_end(&mut rest).await.unwrap();
    assert!(String::from_utf8_lossy(&rest).contains("HTTP/1.1 200"), "the younger one is served");
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let server = start_with(GatewayConfig { header_ms: 300, ..GatewayConfig::default() }).await;
    let whole = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    for beginning in ["", "GET /healthz HTTP/1.1\r\nHo"] {
        let ended = tokio::time::timeout(Duration::from_mins(1), server.raw(beginning.as_bytes())).await;
        assert!(!ended.expect("the connection is closed").contains("200 OK"), "{beginning:?}");
    }
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(whole.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    stream.write_all(b"GET /he").await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut Vec::new())).await;
    ended.expect("the connection is closed").ok();
    // what is whole may idle for longer, and a call may take longer
    let call = hanging(&server, 1).await.remove(0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.fake.gate.add_permits(1);
    assert_eq!(call.await.unwrap().status(), 200);
}

#[tokio::test]
async fn slow_bodies_take_no_places() {
    let server = start_with(GatewayConfig { concurrency_max: 2, ..GatewayConfig::default() }).await;
    let head = format!("POST /api/v1{ECHO} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx");
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    // as many bodies as may be waited for: one more is refused, and what has no body is served
    let started = Instant::now();
    loop {
        let status = server.post(ECHO, "1").send().await.unwrap().status().as_u16();
        if status == 429 {
            break;
        }
        assert!(status == 200 && started.elapsed().as_secs() < 60, "{status}");
    }
    text(server.get("/classes/Counter/objects"), 200).await;
    drop(slow);
    let started = Instant::now();
    while server.post(ECHO, "1").send().await.unwrap().status() != 200 {
        assert!(started.elapsed().as_secs() < 60, "the bodies that broke off still count");
    }
}
