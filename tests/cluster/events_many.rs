//! Many readers of one gateway: each gets every event, in order, and one that reads nothing is cut off and delays nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use oprc_mesh::limits::EMIT_BYTES_MAX;
use oprc_tests::{Class, Events, Kind, Server, guests, within};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::alone;

/// As many as a gateway takes by default, if this process may have so many connections.
const READERS_MAX: usize = 10_000;
const READER_PATIENCE: Duration = Duration::from_mins(2);

/// How many files this process may open, less some for everything else. Its soft limit is raised first, for itself and for
/// what it starts.
fn room() -> usize {
    let pid = std::process::id().to_string();
    for files in ["20000", "12000"] {
        let limit = format!("--nofile={files}:");
        let raised = std::process::Command::new("prlimit").args(["--pid", &pid, &limit]).output();
        if raised.is_ok_and(|done| done.status.success()) {
            break;
        }
    }
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    let soft = line.split_whitespace().nth(3).and_then(|soft| soft.parse::<usize>().ok());
    soft.unwrap_or(1_024).saturating_sub(500)
}

/// A reader that only counts: it takes what comes as it is.
async fn counting(server: &Server, path: String, seen: Arc<AtomicUsize>, ready: Arc<AtomicUsize>) {
    let mut stream = TcpStream::connect(server.http().address()).await.expect("the gateway takes it");
    let request = format!("GET /api/v1{path} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it is sent");
    let (mut piece, mut text, mut told) = (vec![0; 16 * 1024], String::new(), 0);
    let mut begun = false;
    loop {
        let read = stream.read(&mut piece).await.expect("the stream stays");
        assert!(read > 0, "the stream goes on: {text}");
        text.push_str(&String::from_utf8_lossy(&piece[..read]));
        if !begun && text.contains(": watching") {
            begun = true;
            ready.fetch_add(1, Ordering::Relaxed);
        }
        while let Some(at) = text.find("data: ") {
            let Some(end) = text[at..].find("\n\n") else { break };
            told += 1;
            let version = format!("\"version\":{told},");
            let event = &text[at..at + end];
            assert!(event.contains(&version), "the {told}th event is of version {told}: {event}");
            text.drain(..at + end);
            seen.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn each_gets_everything_and_one_that_reads_nothing_delays_nobody() {
    alone(async {
        let readers = READERS_MAX.min(room());
        let server = Server::start(Kind::Apart).await;
        let _shown = server.show_logs_on_panic();
        let class = Class::deploy(&server, "Many", guests::prober(), "").await;
        let path = format!("/classes/{}/objects/o/events", class.name);
        // one that takes its opening and then nothing
        let idle = Events::watch(&class.http, &path, None).await;
        let (seen, ready) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        for n in 1..readers {
            let (server, path, seen, taken) = (server.clone(), path.clone(), seen.clone(), ready.clone());
            tasks.spawn(async move { counting(&server, path, seen, taken).await });
            if n % 200 == 0 {
                reached(&ready, n - 100, "readers are taken in").await;
            }
        }
        reached(&ready, readers - 1, "all readers are taken in").await;
        if readers == READERS_MAX {
            // one past it
            let refused = class.http.get(format!("/api/v1{path}")).send().await;
            refused.problem(oprc_mesh::outcome::Code::Overloaded);
        }
        let begun = Instant::now();
        let turns = 5;
        for turn in 1..=turns {
            class.object("o").invoke("add", json!([1])).await.expect(200);
            reached(&seen, turn * (readers - 1), "every reader has the event").await;
        }
        println!("{readers} readers got {turns} events in {:?}", begun.elapsed());
        // calls are served meanwhile as if nobody watched
        class.object("p").invoke("add", json!([1])).await.expect(200);
        drop(tasks);
        drop(idle);
    });
}

/// A reader that reads nothing is cut off with a reason, and one beside it gets everything meanwhile.
#[test]
fn a_slow_reader_is_cut_off_with_a_reason() {
    for kind in [Kind::Embedded, Kind::Apart] {
        alone(async {
            let server = Server::start(kind).await;
            let _shown = server.show_logs_on_panic();
            let class = Class::deploy(&server, "Slow", guests::prober(), "").await;
            let path = format!("/classes/{}/objects/o/events", class.name);
            let mut slow = Events::watch(&class.http, &path, None).await;
            let mut quick = Events::watch(&class.http, &path, None).await;
            // far more than what the sockets between take, and what a gateway keeps for one reader
            let turns = 100;
            for _ in 0..turns {
                let emitted = json!({ "count": 1, "bytes": EMIT_BYTES_MAX - 1 });
                class.object("o").invoke("emit-many", emitted).await.expect(204);
                quick.event().await;
            }
            let mut got = 0;
            let end = loop {
                let block = slow.next().await.expect("a stream that is cut off says so");
                if block.name == "end" {
                    break block.data;
                }
                got += 1;
            };
            assert_eq!(end["reason"], "slow-reader");
            assert!((1..turns).contains(&got), "it got {got} of {turns}");
            assert_eq!(slow.next().await, None);
            // nothing is lost that is still kept: it goes on where it was
            class.object("o").invoke("add", json!([1])).await.expect(200);
            let mut again = Events::watch(&class.http, &path, Some(slow.last())).await;
            let mut gaps = 0;
            loop {
                let block = again.next().await.expect("it goes on");
                match block.name.as_str() {
                    "gap" => gaps += 1,
                    _ if block.data["action"] == "create" => break,
                    _ => got += 1,
                }
            }
            assert!(got == turns || gaps > 0, "{got} of {turns} events and {gaps} gaps");
        });
    }
}

async fn reached(count: &AtomicUsize, wanted: usize, what: &str) {
    within(READER_PATIENCE, what, || async {
        let there = count.load(Ordering::Relaxed);
        (there >= wanted).then_some(())
    })
    .await;
}
