//! Draining: what is under way finishes, what idles is closed, what takes too long is cut.

use std::time::{Duration, Instant};

use oprc_gateway::GatewayConfig;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::running::{Running, start, start_with, until};

const HANG: &str = "/classes/Counter/objects/alice/invoke/hang";

async fn hanging(server: &Running) -> tokio::task::JoinHandle<reqwest::Result<reqwest::Response>> {
    let call = tokio::spawn(server.post(HANG, "payload").send());
    until("the call hangs", || !server.fake.invocations().is_empty()).await;
    call
}

#[tokio::test]
async fn requests_under_way_finish_and_nothing_new_comes_in() {
    let server = start().await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    let call = hanging(&server).await;
    server.stop.cancel();
    // the idle connection is closed at once, and the port is given up
    let mut nothing = Vec::new();
    timeout(Duration::from_mins(1), idle.read_to_end(&mut nothing)).await.unwrap().unwrap();
    assert!(nothing.is_empty());
    let refused = async { while TcpStream::connect(server.address).await.is_ok() {} };
    timeout(Duration::from_mins(1), refused).await.expect("nobody listens any more");
    assert!(!server.done.is_finished());
    server.fake.gate.add_permits(1);
    let response = call.await.unwrap().unwrap();
    assert_eq!((response.status().as_u16(), response.text().await.unwrap().as_str()), (200, "payload"));
    timeout(Duration::from_mins(1), server.done).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_takes_too_long_is_cut() {
    let server = start_with(GatewayConfig { drain_ms: 100, ..GatewayConfig::default() }).await;
    let call = hanging(&server).await;
    let started = Instant::now();
    server.stop.cancel();
    timeout(Duration::from_mins(1), server.done).await.unwrap().unwrap();
    assert!(started.elapsed() >= Duration::from_millis(100));
    assert!(call.await.unwrap().is_err());
}

#[tokio::test]
async fn an_idle_gateway_stops_at_once() {
    let server = start().await;
    server.stop.cancel();
    timeout(Duration::from_mins(1), server.done).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let server = start().await;
    let config = GatewayConfig { listen: server.address, ..GatewayConfig::default() };
    let error = oprc_gateway::Gateway::bind(config, server.mesh.clone()).await.err().unwrap().to_string();
    assert!(error.contains(&server.address.to_string()), "{error}");
}
