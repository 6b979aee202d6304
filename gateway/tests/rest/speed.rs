//! How much of a bare axum handler's speed is left behind the gateway. A measurement, not a proof: run it by name, with
//! `--ignored --nocapture`. The host is the fake one, so this is the gateway's own share.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::running::start;

const BODY: &str = r#"{"text": "hello, world"}"#;
const MEASURED: Duration = Duration::from_secs(3);

/// Requests per second over so many connections, each with one request under way.
async fn rate(address: SocketAddr, path: &str, connections: usize) -> f64 {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let started = Instant::now();
    let clients: Vec<_> = (0..connections)
        .map(|_| {
            let request = request.clone();
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let mut buffer = vec![0; 4_096];
                let mut requests = 0u32;
                while started.elapsed() < MEASURED {
                    stream.write_all(request.as_bytes()).await.unwrap();
                    let read = stream.read(&mut buffer).await.unwrap();
                    assert!(buffer.starts_with(b"HTTP/1.1 200") && buffer[..read].ends_with(BODY.as_bytes()));
                    requests += 1;
                }
                requests
            })
        })
        .collect();
    let mut requests = 0;
    for client in clients {
        requests += client.await.unwrap();
    }
    f64::from(requests) / started.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a proof"]
async fn against_a_bare_handler() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bare = listener.local_addr().unwrap();
    let router = Router::new().route("/echo", post(|body: Bytes| async move { body }));
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let gateway = start().await;
    gateway.fake.forgetful.store(true, Ordering::Relaxed);
    for connections in [1, 16, 64] {
        let bare = rate(bare, "/echo", connections).await;
        let ours = rate(gateway.address, "/api/v1/classes/Counter/functions/echo", connections).await;
        println!(
            "{connections:3} connections: bare {bare:7.0}/s, gateway {ours:7.0}/s, {:.0}%",
            100.0 * ours / bare
        );
    }
    server.abort();
}
