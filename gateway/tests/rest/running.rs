//! A gateway that serves, with its fake host behind it and a client before it.

use std::net::SocketAddr;
use std::sync::Arc;

use oprc_gateway::{Gateway, GatewayConfig};
use oprc_mesh::id::Digest;
use oprc_mesh::wire::Leads;
use oprc_mesh::{Mesh, MeshConfig};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::fake::{Fake, NODE, PARTITIONS, settings};

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    pub(crate) fake: Arc<Fake>,
    pub(crate) mesh: Mesh,
    pub(crate) stop: CancellationToken,
    pub(crate) done: JoinHandle<()>,
}

/// A gateway with class `Counter` deployed.
pub(crate) async fn start() -> Running {
    start_with(GatewayConfig::default()).await
}

pub(crate) async fn start_with(config: GatewayConfig) -> Running {
    let (mesh, fake) = cluster().await;
    fake.put_class("Counter", Digest::of(b"counter"), settings());
    mesh.announce_catalog(fake.view().into());
    for group in 1..=u64::from(PARTITIONS) {
        mesh.announce_leader(Leads { group, term: 3, node: NODE.0 });
    }
    serve(config, mesh, fake).await
}

/// A mesh with the fake host on it, and nothing announced.
pub(crate) async fn cluster() -> (Mesh, Arc<Fake>) {
    let mesh = Mesh::open(MeshConfig { node: Some(NODE), ..MeshConfig::default() }).await.unwrap();
    let fake = Arc::new(Fake::new(mesh.clone()));
    mesh.serve(fake.clone()).await.unwrap();
    (mesh, fake)
}

pub(crate) async fn serve(config: GatewayConfig, mesh: Mesh, fake: Arc<Fake>) -> Running {
    let config = GatewayConfig { listen: "127.0.0.1:0".parse().unwrap(), ..config };
    let gateway = Gateway::bind(config, mesh.clone()).await.unwrap();
    let address = gateway.local_addr();
    let stop = CancellationToken::new();
    let done = tokio::spawn(gateway.run(stop.clone().cancelled_owned()));
    let client = Client::builder().no_proxy().build().unwrap();
    Running { address, client, fake, mesh, stop, done }
}

impl Running {
    /// A request to a path below `/api/v1`.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}/api/v1{path}", self.address))
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub(crate) fn put(&self, path: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.request(Method::PUT, path).body(body)
    }

    pub(crate) fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.request(Method::POST, path).body(body)
    }

    /// Sends `bytes` on a connection of its own and reads until the server closes it.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// Sends and expects a status; the body as text.
pub(crate) async fn text(request: RequestBuilder, status: u16) -> String {
    let (given, body) = whole(request).await;
    assert_eq!(given.as_u16(), status, "{body}");
    body
}

/// Sends and expects a status; the body as JSON.
pub(crate) async fn json(request: RequestBuilder, status: u16) -> Value {
    let body = text(request, status).await;
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

async fn whole(request: RequestBuilder) -> (StatusCode, String) {
    let response = request.send().await.unwrap();
    (response.status(), response.text().await.unwrap())
}

/// Sends and expects a problem with all of its members; gives it back.
pub(crate) async fn problem(request: RequestBuilder, status: u16, code: &str) -> Value {
    check_problem(request.send().await.unwrap(), status, code).await
}

pub(crate) async fn check_problem(response: Response, status: u16, code: &str) -> Value {
    let given = response.status().as_u16();
    let content_type = response.headers()["content-type"].clone();
    let body = response.text().await.unwrap();
    assert_eq!(given, status, "{body}");
    assert_eq!(content_type, "application/problem+json", "{body}");
    let document: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(document["status"], status, "{body}");
    assert_eq!(document["code"], code, "{body}");
    for member in ["title", "detail", "operation", "subject", "hint"] {
        assert!(document[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {body}");
    }
    document
}

/// Waits until `condition` holds, for a minute at the most.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !condition() {
        assert!(started.elapsed().as_secs() < 60, "waited in vain until {what}");
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}
