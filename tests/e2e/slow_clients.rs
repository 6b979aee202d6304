//! Clients that are slow on purpose cost themselves and nobody else.

use std::time::{Duration, Instant};

use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Kind, Server, guests, raw, run};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Longer than any bound here.
const QUIET: Duration = Duration::from_mins(1);

async fn server(kind: Kind, args: &[&str]) -> Server {
    let server = Server::prepare(kind);
    server.set_ingress_args(args);
    server.launch().await;
    server
}

/// How many connections a test may open, for server and client each hold one end in processes of their own.
fn affordable(wanted: usize) -> usize {
    let limit = std::process::Command::new("sh").args(["-c", "ulimit -n"]).output().expect("sh runs");
    let limit = String::from_utf8_lossy(&limit.stdout).trim().parse().unwrap_or(usize::MAX);
    let count = wanted.min(limit.saturating_sub(300));
    println!("{count} connections of {wanted}; the system allows {limit} files");
    count
}

/// A third each sends its head a byte at a time, its body a byte at a time, or nothing at all. Everybody else is served,
/// and in the end the slow ones are gone.
async fn a_thousand_slow_connections_do_not_matter(kind: Kind) {
    let server = server(kind, &["--header-timeout", "8s"]).await;
    let _shown = server.show_logs_on_panic();
    let class = Class::deploy(&server, "Loris", guests::prober(), "").await;
    let count = affordable(1_000);
    let mut slow = JoinSet::new();
    for n in 0..count {
        let path = format!("{}/invoke/swallow", class.object(format!("slow-{n}")).path());
        let address = server.http().address();
        slow.spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            let head =
                format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/octet-stream\r\n");
            match n % 3 {
                0 => dribble(stream, head.as_bytes()).await,
                1 => {
                    let head = format!("{head}content-length: 100000\r\n\r\n");
                    stream.write_all(head.as_bytes()).await.expect("it is taken");
                    dribble(stream, &[b'x'; 100]).await;
                }
                _ => is_closed(stream).await,
            }
        });
    }
    let mut answered = 0;
    let begun = Instant::now();
    while answered < 50 || begun.elapsed() < Duration::from_secs(5) {
        class.object("o").invoke("add", json!({ "by": 1 })).await.expect(200);
        server.http().get("/healthz").send().await.expect(200);
        answered += 1;
    }
    println!("{answered} calls were served meanwhile; {} slow ones are left", slow.len());
    slow.join_all().await;
    class.object("o").invoke("add", json!({ "by": 1 })).await.expect(200);
    let ran = class.http.get(format!("{}/objects?prefix=slow", class.path())).send().await.expect(200).json();
    assert_eq!(ran["items"], json!([]), "none of the slow calls ran");
}

/// Waits until the server has had enough of a client that says nothing. Where more connect at once than the system queues,
/// the last step of a handshake may be lost, and the server has not heard of the client yet: a byte makes up for it.
async fn is_closed(mut stream: TcpStream) {
    if tokio::time::timeout(QUIET, stream.read(&mut [0])).await.is_err()
        && stream.write_all(b"P").await.is_ok()
    {
        drop(tokio::time::timeout(QUIET, stream.read(&mut [0])).await.expect("it is closed"));
    }
}

/// Sends a byte now and then until the server has had enough.
async fn dribble(mut stream: TcpStream, bytes: &[u8]) {
    let mut answer = [0; 512];
    for byte in bytes.chunks(1) {
        if stream.write_all(byte).await.is_err() {
            return;
        }
        let read = tokio::time::timeout(Duration::from_millis(500), stream.read(&mut answer)).await;
        if read.is_ok() {
            return; // it was answered, or closed
        }
    }
    panic!("nobody minded");
}

#[test]
fn a_thousand_slow_connections_embedded() {
    run(a_thousand_slow_connections_do_not_matter(Kind::Embedded));
}

#[test]
fn a_thousand_slow_connections_apart() {
    run(a_thousand_slow_connections_do_not_matter(Kind::Apart));
}

/// Who does not take its answer is cut off; who takes it slowly but fast enough is not.
#[test]
fn a_reader_that_stops_is_cut_off() {
    run(async {
        let server = server(Kind::Embedded, &["--log", "info,oprc_gateway=debug"]).await;
        let _shown = server.show_logs_on_panic();
        let limits = "[class.limits]\npayload_kib = 16384\nmemory_mib = 256\ncpu_ms = 10000";
        let class = Class::deploy(&server, "Slow", guests::prober(), limits).await;
        let mut stopped = asks_much(&server, &class).await;
        let mut slow = asks_much(&server, &class).await;
        let (mut taken, mut chunk) = (0, vec![0; 16 * 1024]);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(15) {
            taken += slow.read(&mut chunk).await.expect("it goes on");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(taken > 16 * 1024, "{taken}");
        let mut rest = Vec::new();
        slow.read_to_end(&mut rest).await.expect("it is answered to the end");
        assert!(taken + rest.len() > 12 * 1024 * 1024, "all of it came: {taken} and {}", rest.len());
        server.logged(&["a connection was cut", "taken too slowly"]).await;
        // what lies in the sockets between is still had, and then it ends early
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(QUIET, stopped.read_to_end(&mut rest)).await.expect("it was closed");
        assert!(rest.len() < 12 * 1024 * 1024, "{} bytes came", rest.len());
    });
}

/// A call with a large result, on a connection of its own that is closed afterwards.
async fn asks_much(server: &Server, class: &Class) -> TcpStream {
    let body = format!("{{\"bytes\":{}}}", 12 * 1024 * 1024);
    let head = format!(
        "POST {}/invoke/blob HTTP/1.1\r\nhost: x\r\naccept: application/octet-stream\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        class.object("o").path(),
        body.len()
    );
    let mut stream = TcpStream::connect(server.http().address()).await.expect("it listens");
    stream.write_all((head + &body).as_bytes()).await.expect("it is taken");
    stream
}

/// A body has its time in all, and must not come too slowly on the way.
#[test]
fn a_slow_body_is_given_up() {
    run(async {
        let server = server(Kind::Embedded, &["--body-timeout", "2s"]).await;
        let class = Class::deploy(&server, "Slow", guests::prober(), "").await;
        let request = format!(
            "POST {}/invoke/swallow HTTP/1.1\r\nhost: x\r\ncontent-type: application/octet-stream\r\n\
             content-length: 1000\r\n\r\nabc",
            class.object("o").path()
        );
        let answer = raw::exchange(server.http().address().port(), request.as_bytes(), QUIET).await;
        assert!(answer.starts_with("HTTP/1.1 504 ") && answer.contains("did not arrive in time"), "{answer}");
        class.object("o").get().await.problem(Code::NotFound);
    });
}

#[test]
fn heads_have_a_size_and_paths_a_length() {
    run(async {
        let server = Server::shared(Kind::Embedded).await;
        let http = server.http();
        let long = |bytes: usize| format!("/healthz?{}", "x".repeat(bytes - 9));
        http.get(long(8 * 1024)).send().await.expect(200);
        for http in [http.clone(), http.multiplexed().await] {
            http.get(long(8 * 1024 + 1)).send().await.problem_with(Code::Invalid, 414);
        }
        let headed = |bytes: usize| http.get("/healthz").header("x-large", "v".repeat(bytes));
        headed(60 * 1024).send().await.expect(200);
        assert_eq!(headed(65 * 1024).send().await.status, 431);
        let many = (0..100).fold(http.get("/healthz"), |call, n| call.header(&format!("x-{n}"), "v"));
        assert_eq!(many.send().await.status, 431);
        let over_http2 = http.multiplexed().await;
        over_http2.get("/healthz").header("x-large", "v".repeat(60 * 1024)).send().await.expect(200);
        assert_eq!(
            over_http2.get("/healthz").header("x-large", "v".repeat(65 * 1024)).send().await.status,
            431
        );
    });
}

/// With as many connections as there may be, the one that has idled for the longest makes room.
#[test]
fn the_longest_idle_makes_room() {
    run(async {
        let server = server(Kind::Embedded, &["--connections", "8", "--idle-timeout", "10m"]).await;
        let mut idle = Vec::new();
        for n in 0..8 {
            let mut stream = TcpStream::connect(server.http().address()).await.unwrap();
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            stream.read_exact(&mut [0; 12]).await.unwrap();
            idle.push(stream);
            if n == 0 {
                tokio::time::sleep(Duration::from_secs(3)).await; // it is seen once in a second who idles
            }
        }
        for _ in 0..20 {
            let request = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            let answer = raw::exchange(server.http().address().port(), request, QUIET).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(QUIET, idle[0].read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "the oldest was closed");
    });
}

/// An HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const SETTINGS: u8 = 4;
const GO_AWAY: u8 = 7;
const HEADERS: u8 = 1;
const RESET: u8 = 3;

/// What begins a connection, then so many streams that are reset as soon as they are begun, and one that is not.
fn resets(count: u32) -> (Vec<u8>, u32) {
    let get = [0x82, 0x86, 0x84, 0x41, 1, b'x']; // GET http / of the authority x, in HPACK's static table
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    for n in 0..count {
        bytes.extend(frame(HEADERS, 5, 2 * n + 1, &get));
        bytes.extend(frame(RESET, 0, 2 * n + 1, &8_u32.to_be_bytes()));
    }
    bytes.extend(frame(HEADERS, 5, 2 * count + 1, &get));
    (bytes, 2 * count + 1)
}

/// Whether the last stream is answered; otherwise the connection ended.
async fn is_answered(server: &Server, count: u32) -> bool {
    let (bytes, last) = resets(count);
    heard(server, &bytes, last).await
}

/// Whether a stream is answered on a connection that begins so; otherwise it ended.
async fn heard(server: &Server, bytes: &[u8], last: u32) -> bool {
    let mut stream = TcpStream::connect(server.http().address()).await.expect("it listens");
    stream.write_all(bytes).await.expect("it is taken");
    loop {
        let mut head = [0; 9];
        let read = tokio::time::timeout(QUIET, stream.read_exact(&mut head)).await;
        if read.expect("it is answered, or ended").is_err() {
            return false; // what was not read takes the word along
        }
        let of = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        match head[3] {
            GO_AWAY => return false,
            HEADERS if of == last => return true,
            _ => {}
        }
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; len as usize]).await.expect("a frame is whole");
    }
}

/// Whoever asks for the health does not say who it is, and so is not waited for long: here the message never comes.
#[test]
fn a_question_for_the_health_that_does_not_come_is_given_up() {
    run(async {
        let server = server(Kind::Embedded, &["--body-timeout", "2s"]).await;
        for method in ["Check", "Watch"] {
            // POST http, then names and values as they are
            let path = format!("/grpc.health.v1.Health/{method}");
            let mut head = vec![0x83, 0x86, 0x41, 1, b'x'];
            for (name, value) in [(4, path.as_str()), (31, "application/grpc")] {
                head.extend(indexed(name));
                head.push(value.len() as u8);
                head.extend(value.as_bytes());
            }
            let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            bytes.extend(frame(SETTINGS, 0, 0, &[]));
            bytes.extend(frame(HEADERS, 4, 1, &head)); // the head is whole, and the stream is not over
            let begun = Instant::now();
            assert!(heard(&server, &bytes, 1).await, "{method}");
            assert!(begun.elapsed() >= Duration::from_secs(2), "it was waited for: {method}");
        }
    });
}

/// The n-th name of HPACK's static table, for a value that is not to be kept (RFC 7541, section 6.2.2).
fn indexed(n: u8) -> Vec<u8> {
    if n < 15 { vec![n] } else { vec![15, n - 15] }
}

/// The parts of an upload are held to the least speed as well.
#[test]
fn a_slow_upload_is_given_up() {
    run(async {
        let server = server(Kind::Embedded, &["--min-rate", "1000"]).await;
        let mut stream = TcpStream::connect(server.http().address()).await.expect("it listens");
        let head = "PUT /api/v1/classes/Slow HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\n\
                    content-length: 1000000\r\n\r\n--b\r\ncontent-disposition: form-data; name=\"component\"\r\n\r\n";
        stream.write_all(head.as_bytes()).await.expect("it is taken");
        let (mut reader, mut writer) = stream.into_split();
        let dribbling = tokio::spawn(async move {
            while writer.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let mut answer = [0; 12];
        let read = tokio::time::timeout(QUIET, reader.read_exact(&mut answer)).await;
        read.expect("it is given up").expect("and told so");
        assert_eq!(&answer, b"HTTP/1.1 504");
        dribbling.abort();
    });
}

/// Streams that are begun only to be reset cost the server more than the client: a few are nothing, many end the connection.
#[test]
fn rapid_resets_end_their_connection() {
    run(async {
        let server = Server::shared(Kind::Embedded).await;
        assert!(is_answered(&server, 10).await);
        assert!(!is_answered(&server, 2_000).await);
        server.http().get("/healthz").send().await.expect(200);
    });
}
