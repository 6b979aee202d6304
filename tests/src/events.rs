//! Streams of events as a client reads them, block by block.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::{Http, PATIENCE};

/// One block of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Its name; empty for an event of the grid.
    pub name: String,
    /// The place after it; empty when it does not move it.
    pub id: String,
    /// Its document; null when there is none.
    pub data: Value,
}

/// A stream under way. Dropping it closes its connection.
pub struct Events {
    what: String,
    body: Incoming,
    text: String,
    blocks: VecDeque<Block>,
    /// The last id.
    last: String,
    connection: JoinHandle<()>,
}

impl Drop for Events {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Events {
    /// Begins to watch `path` (below `/api/v1`), after the event `last` if one is given. Returns once nothing can be missed.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn watch(http: &Http, path: &str, last: Option<&str>) -> Self {
        let tried = timeout(PATIENCE, Self::try_watch(http, path, last)).await;
        tried.expect("a stream begins in time").unwrap_or_else(|why| panic!("GET {path}: {why}"))
    }

    /// The same.
    ///
    /// # Errors
    /// Why there is no stream.
    pub async fn try_watch(http: &Http, path: &str, last: Option<&str>) -> Result<Self, String> {
        let mut events = Self::open(http, path, last).await?;
        let opening = events.any().await.ok_or("the stream ended at once")?;
        if opening.id.is_empty() || !opening.data.is_null() {
            return Err(format!("a stream begins with its place, not with {opening:?}"));
        }
        Ok(events)
    }

    /// Begins to follow what a class's guests print.
    ///
    /// # Errors
    /// Why there is no stream.
    pub async fn follow(http: &Http, path: &str) -> Result<Self, String> {
        let begun = timeout(PATIENCE, Self::open(http, path, None)).await;
        begun.map_err(|_| "no answer in time".to_owned())?
    }

    /// The document of the next block, which must be a line.
    ///
    /// # Panics
    /// When it does not come, or is something else.
    pub async fn line(&mut self) -> Value {
        self.named("").await
    }

    async fn open(http: &Http, path: &str, last: Option<&str>) -> Result<Self, String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        let stream = TcpStream::connect(http.address()).await.map_err(|error| text(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
        let connection = tokio::spawn(async move { drop(connection.await) });
        let mut request = Request::get(format!("/api/v1{path}")).header(HOST, http.address().to_string());
        request = request.header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        if let Some(authorization) = http.authorization() {
            request = request.header("authorization", authorization);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| text(&error))?;
        let response = sender.send_request(request).await.map_err(|error| text(&error))?;
        let (status, kind) = (response.status(), response.headers().get("content-type").cloned());
        let body = response.into_body();
        if status != StatusCode::OK {
            let body = body.collect().await.map_err(|error| text(&error))?.to_bytes();
            return Err(format!("{status} {}", String::from_utf8_lossy(&body)));
        }
        assert_eq!(kind.expect("a stream has a type"), "text/event-stream");
        let (text, blocks, last) = (String::new(), VecDeque::new(), String::new());
        Ok(Self { what: path.to_owned(), body, text, blocks, last, connection })
    }

    /// The place from which this stream would go on.
    pub fn last(&self) -> &str {
        &self.last
    }

    /// The next block that tells something; none at the end.
    pub async fn next(&mut self) -> Option<Block> {
        loop {
            let block = self.any().await?;
            if !block.data.is_null() {
                return Some(block);
            }
        }
    }

    /// The document of the next block, which must be an event.
    ///
    /// # Panics
    /// When it does not come, or is something else.
    pub async fn event(&mut self) -> Value {
        let next = timeout(PATIENCE, self.next()).await;
        let block = next.unwrap_or_else(|_| panic!("{}: no event came", self.what));
        let block = block.unwrap_or_else(|| panic!("{}: the stream ended", self.what));
        assert_eq!(block.name, "", "{}: an event: {block:?}", self.what);
        assert_eq!(block.data["id"], block.id.as_str(), "{block:?}");
        block.data
    }

    /// The next block, which must have this name.
    ///
    /// # Panics
    /// When it does not come, or is something else.
    pub async fn named(&mut self, name: &str) -> Value {
        let next = timeout(PATIENCE, self.next()).await;
        let block = next.unwrap_or_else(|_| panic!("{}: no {name} came", self.what));
        let block = block.unwrap_or_else(|| panic!("{}: the stream ended", self.what));
        assert_eq!(block.name, name, "{}: {block:?}", self.what);
        block.data
    }

    /// Checks that nothing is told for a while.
    ///
    /// # Panics
    /// When something is.
    pub async fn silent(&mut self, length: Duration) {
        if let Ok(block) = timeout(length, self.next()).await {
            panic!("{}: nothing should come, not {block:?}", self.what);
        }
    }

    async fn any(&mut self) -> Option<Block> {
        loop {
            if let Some(block) = self.blocks.pop_front() {
                if !block.id.is_empty() {
                    self.last.clone_from(&block.id);
                }
                return Some(block);
            }
            let frame = self.body.frame().await?.ok()?;
            let data = frame.into_data().ok()?;
            self.text.push_str(std::str::from_utf8(&data).expect("a piece holds whole blocks"));
            while let Some(end) = self.text.find("\n\n") {
                let rest = self.text.split_off(end + 2);
                let block = std::mem::replace(&mut self.text, rest);
                self.blocks.push_back(parse(&block));
            }
        }
    }
}

fn parse(text: &str) -> Block {
    let mut block = Block { name: String::new(), id: String::new(), data: Value::Null };
    for line in text.lines() {
        match line.split_once(": ") {
            Some(("event", name)) => name.clone_into(&mut block.name),
            Some(("id", id)) => id.clone_into(&mut block.id),
            Some(("data", data)) => {
                block.data = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"));
            }
            _ => {}
        }
    }
    block
}

/// An event in short: object, version, action, and `key:action` of each change.
pub fn brief(event: &Value) -> (String, u64, String, Vec<String>) {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let change = |change: &Value| format!("{}:{}", text(&change["key"]), text(&change["action"]));
    let changes = event["changes"].as_array().expect("changes").iter().map(change).collect();
    (text(&event["object"]), event["version"].as_u64().expect("a version"), text(&event["action"]), changes)
}
