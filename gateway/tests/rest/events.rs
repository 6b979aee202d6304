//! Streams of events: one question upstream for all readers, bounds, and connections that are in use without a request.

use std::time::{Duration, Instant};

use bytes::Bytes;
use oprc_gateway::GatewayConfig;
use oprc_mesh::events::Cursor;
use oprc_mesh::id::slot;
use oprc_mesh::wire::Op;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::fake::PARTITIONS;
use crate::running::{Running, problem, start, start_with, until};

const PATIENCE: Duration = Duration::from_mins(1);

/// An object of the first partition.
fn object() -> String {
    let class = "Counter".parse().unwrap();
    let first = |id: &String| u32::from(slot(&class, &id.parse().unwrap())) < 4_096 / PARTITIONS;
    (0..1_000).map(|n| format!("o{n}")).find(first).unwrap()
}

fn path(object: &str) -> String {
    format!("/classes/Counter/objects/{object}/events")
}

/// A stream on a connection of its own, as text.
struct Raw(TcpStream, String);

impl Raw {
    async fn open(server: &Running, path: &str) -> Self {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = format!("GET /api/v1{path} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut raw = Self(stream, String::new());
        raw.has(": watching").await;
        raw
    }

    /// Reads until the text holds `what`; false when the connection is closed before.
    async fn reaches(&mut self, what: &str) -> bool {
        let mut piece = vec![0; 64 * 1024];
        while !self.1.contains(what) {
            let read = timeout(PATIENCE, self.0.read(&mut piece)).await.expect("something comes");
            match read {
                Ok(read) if read > 0 => self.1.push_str(&String::from_utf8_lossy(&piece[..read])),
                _ => return false,
            }
        }
        true
    }

    async fn has(&mut self, what: &str) {
        assert!(self.reaches(what).await, "{what} in {}", self.1);
    }
}

fn asked(server: &Running) -> usize {
    let seen = server.fake.seen.lock().unwrap();
    seen.iter().filter(|op| matches!(op, Op::ReadEvents(read) if read.after.is_some())).count()
}

#[tokio::test]
async fn readers_share_one_question_for_each_partition() {
    let server = start().await;
    let object = object();
    let mut readers = Vec::new();
    for _ in 0..20 {
        readers.push(Raw::open(&server, &path(&object)).await);
    }
    until("the partition is asked", || asked(&server) > 0).await;
    assert_eq!(asked(&server), 1, "of one partition, for all of them");
    let mut all = Raw::open(&server, "/classes/Counter/events").await;
    until("all partitions are asked", || asked(&server) == PARTITIONS as usize).await;
    server.fake.tell(&object, Bytes::from_static(b"1"));
    for reader in readers.iter_mut().chain([&mut all]) {
        reader.has(r#""version":1,"#).await;
    }
    until("the partition is asked again", || asked(&server) == PARTITIONS as usize + 1).await;
}

#[tokio::test]
async fn when_the_last_reader_is_gone_nobody_asks() {
    let server = start().await;
    let object = object();
    let reader = Raw::open(&server, &path(&object)).await;
    until("the partition is asked", || asked(&server) == 1).await;
    drop(reader);
    // the hub goes with its reader, and the next one begins a new one
    let begun = Instant::now();
    while asked(&server) < 2 {
        assert!(begun.elapsed() < PATIENCE);
        drop(Raw::open(&server, &path(&object)).await);
    }
}

#[tokio::test]
async fn as_many_readers_as_allowed_and_not_one_more() {
    let server = start_with(GatewayConfig { readers_max: 2, ..GatewayConfig::default() }).await;
    let object = object();
    let first = Raw::open(&server, &path(&object)).await;
    let _second = Raw::open(&server, &path(&object)).await;
    problem(server.get(&path(&object)), 429, "overloaded").await;
    drop(first);
    let begun = Instant::now();
    while server.get(&path(&object)).send().await.unwrap().status() != 200 {
        assert!(begun.elapsed() < PATIENCE, "a reader that left makes room");
    }
}

#[tokio::test]
async fn a_stream_on_which_nothing_happens_is_not_idle() {
    let server = start_with(GatewayConfig { idle_ms: 300, ..GatewayConfig::default() }).await;
    let object = object();
    let mut reader = Raw::open(&server, &path(&object)).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await; // several idle periods
    server.fake.tell(&object, Bytes::from_static(b"1"));
    reader.has(r#""version":1,"#).await;
}

/// One that takes nothing is cut off: first its stream, and then, if it goes on so, its connection.
#[tokio::test]
async fn the_connection_of_one_that_takes_nothing_is_closed() {
    let server = start_with(GatewayConfig { idle_ms: 300, ..GatewayConfig::default() }).await;
    let object = object();
    let mut slow = Raw::open(&server, &path(&object)).await;
    let mut quick = Raw::open(&server, &path(&object)).await;
    let payload = Bytes::from(vec![b'7'; 200_000]);
    for version in 1..=120 {
        server.fake.tell(&object, payload.clone());
        quick.has(&format!(r#""version":{version},"#)).await;
        quick.1.clear();
    }
    // after two idle periods the gateway closes what it could not send: the rest never comes
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(!slow.reaches("a text that is nowhere").await, "the connection is closed");
    assert!(!slow.1.contains(r#""version":120,"#));
    server.fake.tell(&object, Bytes::from_static(b"1"));
    quick.has(r#""version":121,"#).await;
}

/// One that is still behind is told as well: it waits for a partition that does not answer.
#[tokio::test]
async fn a_stop_ends_streams_that_catch_up() {
    let server = start().await;
    let ahead = Cursor::at(server.fake.view().classes[0].id, 1, 999);
    let mut reader = Raw::open(&server, &format!("{}?since={}", path(&object()), ahead.id())).await;
    server.stop.cancel();
    reader.has(r#"{"reason":"stopping""#).await;
    timeout(Duration::from_secs(10), server.done).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_ends_streams_with_a_reason() {
    let server = start().await;
    let mut reader = Raw::open(&server, "/classes/Counter/events").await;
    server.stop.cancel();
    reader.has(r#"{"reason":"stopping""#).await;
    timeout(Duration::from_secs(10), server.done).await.unwrap().unwrap();
}
