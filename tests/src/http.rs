//! A client that does nothing behind a test's back: no retries of what was sent, no redirects, no path rewriting.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::Reply;

/// No answer came. Whether the request took effect is unknown.
#[derive(Debug)]
pub struct Lost(pub String);

/// A client of one server, with a pool of connections. A clone shares the pool.
#[derive(Clone)]
pub struct Http(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    idle: Mutex<Vec<http1::SendRequest<Full<Bytes>>>>,
    /// One HTTP/2 connection for all requests, instead of the pool.
    shared: Option<http2::SendRequest<Full<Bytes>>>,
    /// What every request shows, unless it shows something itself.
    authorization: Option<String>,
}

/// Whatever takes requests: a server, a cluster, a gateway's address.
pub trait Ingress {
    /// A client of it.
    fn http(&self) -> Http;
}

impl Ingress for Http {
    fn http(&self) -> Http {
        self.clone()
    }
}

/// Longer than any deadline that a request may carry.
const ANSWER_PATIENCE: Duration = Duration::from_secs(150);

impl Http {
    /// A client of the server on `port` of this machine, over HTTP/1.1.
    pub fn to(port: u16) -> Self {
        Self::at(([127, 0, 0, 1], port).into())
    }

    /// A client of the server at `address`, over HTTP/1.1.
    pub fn at(address: SocketAddr) -> Self {
        Self(Arc::new(Inner { address, idle: Mutex::default(), shared: None, authorization: None }))
    }

    /// A client that sends everything over one new HTTP/2 connection.
    ///
    /// # Panics
    /// When it cannot connect.
    pub async fn multiplexed(&self) -> Self {
        let stream = TcpStream::connect(self.0.address).await.expect("the server listens");
        stream.set_nodelay(true).expect("it can be set");
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("the server speaks HTTP/2");
        tokio::spawn(connection);
        Self(Arc::new(Inner {
            address: self.0.address,
            idle: Mutex::default(),
            shared: Some(sender),
            authorization: None,
        }))
    }

    /// A client of the same server whose requests show this token.
    #[must_use]
    pub fn with_key(&self, token: &str) -> Self {
        let (address, authorization) = (self.0.address, Some(format!("Bearer {token}")));
        Self(Arc::new(Inner { address, idle: Mutex::default(), shared: None, authorization }))
    }

    /// What its requests show.
    pub fn authorization(&self) -> Option<&str> {
        self.0.authorization.as_deref()
    }

    /// Where it connects to.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// A request with any method; `path` goes out as it is.
    ///
    /// # Panics
    /// When `method` is none.
    pub fn call(&self, method: &str, path: impl Into<String>) -> Call {
        let method = Method::from_bytes(method.as_bytes()).expect("a method is a token");
        Call { http: self.clone(), method, path: path.into(), headers: Vec::new(), body: Bytes::new() }
    }

    /// GET.
    pub fn get(&self, path: impl Into<String>) -> Call {
        self.call("GET", path)
    }

    /// PUT.
    pub fn put(&self, path: impl Into<String>) -> Call {
        self.call("PUT", path)
    }

    /// POST.
    pub fn post(&self, path: impl Into<String>) -> Call {
        self.call("POST", path)
    }

    /// PATCH.
    pub fn patch(&self, path: impl Into<String>) -> Call {
        self.call("PATCH", path)
    }

    /// DELETE.
    pub fn delete(&self, path: impl Into<String>) -> Call {
        self.call("DELETE", path)
    }

    async fn exchange(&self, request: Request<Full<Bytes>>, what: &str) -> Result<Reply, Lost> {
        if let Some(shared) = &self.0.shared {
            let response = shared.clone().send_request(request).await.map_err(|error| lost(&error))?;
            return collect(response, what).await;
        }
        let idle = self.0.idle.lock().expect("no holder panics").pop();
        let (request, mut sender) = match idle {
            Some(mut sender) => match sender.try_send_request(request).await {
                Ok(response) => return self.finish(response, sender, what).await,
                // the server closed the idle connection before anything went out: certainly not sent
                Err(mut error) => match error.take_message() {
                    Some(request) => (request, self.connect().await?),
                    None => return Err(lost(error.error())),
                },
            },
            None => (request, self.connect().await?),
        };
        let response = sender.send_request(request).await.map_err(|error| lost(&error))?;
        self.finish(response, sender, what).await
    }

    async fn finish(
        &self,
        response: hyper::Response<hyper::body::Incoming>,
        sender: http1::SendRequest<Full<Bytes>>,
        what: &str,
    ) -> Result<Reply, Lost> {
        let reply = collect(response, what).await?;
        if !sender.is_closed() {
            self.0.idle.lock().expect("no holder panics").push(sender);
        }
        Ok(reply)
    }

    async fn connect(&self) -> Result<http1::SendRequest<Full<Bytes>>, Lost> {
        let stream = TcpStream::connect(self.0.address).await.map_err(|error| Lost(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| Lost(error.to_string()))?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| lost(&error))?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

async fn collect(response: hyper::Response<hyper::body::Incoming>, what: &str) -> Result<Reply, Lost> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| lost(&error))?.to_bytes();
    Ok(Reply { what: what.to_owned(), status: parts.status.as_u16(), headers: parts.headers, body })
}

fn lost(error: &hyper::Error) -> Lost {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Lost(format!("{error}{cause}"))
}

/// A request in the making.
#[derive(Clone)]
#[must_use]
pub struct Call {
    http: Http,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Call {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// Sets a body of some type.
    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header(CONTENT_TYPE.as_str(), content_type)
    }

    /// Sets a JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// Sets a JSON body from text, which may be no JSON at all.
    pub fn json_text(self, body: &str) -> Self {
        self.body("application/json", body.to_owned())
    }

    /// Sets a body of plain bytes.
    pub fn octets(self, body: impl Into<Bytes>) -> Self {
        self.body("application/octet-stream", body)
    }

    /// Sends it, and gives what came back, whatever it is.
    ///
    /// # Errors
    /// [`Lost`] when the connection broke or could not be made.
    ///
    /// # Panics
    /// When no answer came in longer than any request may take.
    pub async fn try_send(self) -> Result<Reply, Lost> {
        let what = format!("{} {}", self.method, self.path);
        let uri = match self.http.0.shared {
            // HTTP/2 has scheme and authority in the request line's place
            Some(_) => format!("http://{}{}", self.http.0.address, self.path),
            None => self.path.clone(),
        };
        let uri: Uri = uri.parse().unwrap_or_else(|error| panic!("{what}: {error}"));
        let mut request = Request::builder().method(self.method).uri(uri);
        if self.http.0.shared.is_none() {
            request = request.header(HOST, self.http.0.address.to_string());
        }
        let shows = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        if let Some(authorization) = self.http.authorization().filter(|_| !shows) {
            request = request.header("authorization", authorization);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(self.body)).unwrap_or_else(|error| panic!("{what}: {error}"));
        let answer = tokio::time::timeout(ANSWER_PATIENCE, self.http.exchange(request, &what)).await;
        answer.unwrap_or_else(|_| panic!("{what}: no answer in {ANSWER_PATIENCE:?}"))
    }

    /// Sends it, and gives what came back, whatever it is.
    ///
    /// # Panics
    /// When nothing did.
    #[must_use]
    pub async fn send(self) -> Reply {
        let what = format!("{} {}", self.method, self.path);
        self.try_send().await.unwrap_or_else(|Lost(why)| panic!("{what}: no answer: {why}"))
    }
}
