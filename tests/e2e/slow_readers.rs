//! Answers that their readers do not take: HTTP/2 lets a client keep its window shut for as long as it likes.

use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::future::join_all;
use h2::RecvStream;
use hyper::{Method, Request, Response};
use oprc_mesh::outcome::Code;
use oprc_tests::grpc::{call, pb};
use oprc_tests::metrics::Metrics;
use oprc_tests::{Class, Kind, Miser, PATIENCE, Server, eventually, guests, run, taken_bytes};
use prost::Message as _;
use serde_json::json;
use tokio::time::{sleep, timeout};

const MIB: usize = 1024 * 1024;
/// Longer than any bound here.
const QUIET: Duration = Duration::from_mins(1);

/// A server that sets 16 MiB aside for what waits, and a class with large answers.
async fn server() -> (Server, Class) {
    let server = Server::prepare(Kind::Embedded);
    server.set_ingress_args(&["--answers-mib", "16", "--log", "info,oprc_gateway=debug"]);
    server.launch().await;
    let limits = "[class.limits]\npayload_kib = 16384\nmemory_mib = 256\ncpu_ms = 10000\nwall_ms = 30000";
    let class = Class::deploy(&server, "Miser", guests::prober(), limits).await;
    (server, class)
}

async fn miser(server: &Server, window_bytes: u32) -> Miser {
    Miser::connect(server.http().address(), window_bytes).await
}

/// A request for so many bytes.
fn blob(server: &Server, class: &Class, bytes: usize) -> Request<Bytes> {
    blob_of(server, class, "o", bytes)
}

/// The same of a certain object: those of one take turns.
fn blob_of(server: &Server, class: &Class, object: &str, bytes: usize) -> Request<Bytes> {
    let uri = format!("{}{}/invoke/blob", server.url(), class.object(object).path());
    Request::post(uri)
        .header("content-type", "application/json")
        .header("accept", "application/octet-stream")
        .body(json!({ "bytes": bytes }).to_string().into())
        .expect("it is one")
}

/// The same by gRPC.
fn blob_by_grpc(server: &Server, class: &Class, bytes: usize) -> Request<Bytes> {
    let call = call(class, Some("o"), "blob", &json!({ "bytes": bytes }));
    let message = pb::InvokeRequest { call: Some(call), consistency: 0 };
    let mut body = BytesMut::new();
    body.put_u8(0); // not compressed
    body.put_u32(message.encoded_len() as u32);
    message.encode(&mut body).expect("there is room");
    Request::post(format!("{}/oprc.v1.InvocationService/Invoke", server.url()))
        .header("content-type", "application/grpc")
        .body(body.freeze())
        .expect("it is one")
}

/// A request whose answer is only a head, which no window keeps back.
fn head(server: &Server) -> Request<Bytes> {
    let request = Request::builder().method(Method::HEAD).uri(format!("{}/healthz", server.url()));
    request.body(Bytes::new()).expect("it is one")
}

async fn waiting_bytes(server: &Server) -> u64 {
    Metrics::of(&server.http()).await.sum("oprc_gateway_answers_waiting_bytes", &[])
}

async fn given_up(server: &Server, reason: &str) -> u64 {
    Metrics::of(&server.http()).await.sum("oprc_gateway_answers_given_up_total", &[("reason", reason)])
}

async fn nothing_waits(server: &Server) {
    // but for the answer that tells it
    let nothing = || async { (waiting_bytes(server).await < MIB as u64).then_some(()) };
    eventually("nothing waits", nothing).await;
}

/// A refusal by gRPC is a head alone (Trailers-Only): clients look for the status nowhere else.
#[test]
fn a_refusal_needs_no_window() {
    run(async {
        let (server, class) = server().await;
        let nobody = Class { name: "Nobody".to_owned(), ..class };
        let mut miser = miser(&server, 0).await;
        let answer = miser.head_of(blob_by_grpc(&server, &nobody, 1)).await.expect("it is answered");
        assert_eq!(answer.headers()["grpc-status"], "5");
        assert!(answer.body().is_end_stream());
    });
}

/// Asks what is given up for its reader does not take it, and tells whether the reader's connection goes on.
async fn goes_on(server: &Server, window_bytes: u32, request: Request<Bytes>) -> bool {
    let mut miser = miser(server, window_bytes).await;
    let mut answer = miser.head_of(request).await.expect("it is answered").into_body();
    let ends = async {
        let mut goes_on = true;
        loop {
            match timeout(Duration::from_secs(1), answer.data()).await {
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(_))) => return goes_on && miser.head_of(head(server)).await.is_ok(),
                Ok(None) => panic!("it came to its end"),
                // whatever else the connection does
                Err(_) => goes_on = miser.head_of(head(server)).await.is_ok(),
            }
        }
    };
    // what took something before is looked at once more
    timeout(2 * QUIET, ends).await.expect("it is given up")
}

#[test]
fn what_is_not_taken_is_given_up() {
    run(async {
        let (server, class) = server().await;
        let _shown = server.show_logs_on_panic();
        let events = Request::get(format!("{}{}/events", server.url(), class.path()));
        let events = events.body(Bytes::new()).expect("it is one");
        let tries = [
            // no window at all
            (0, blob(&server, &class, 100)),
            (0, blob_by_grpc(&server, &class, 100)),
            (0, events),
            // one for almost all
            (65_535, blob(&server, &class, 65_536)),
            (65_535, blob_by_grpc(&server, &class, 100_000)),
        ];
        let streams = join_all(tries.map(|(window, request)| goes_on(&server, window, request)));
        // what is small has left its stream behind: it ends with its connection
        let connections = join_all((1..3).map(|window| goes_on(&server, window, blob(&server, &class, 100))));
        let (streams, connections) = futures::join!(streams, connections);
        assert_eq!((streams, connections), (vec![true; 5], vec![false; 2]));
        assert_eq!(given_up(&server, "stuck").await, 7);
        nothing_waits(&server).await;
    });
}

/// What is taken slowly, but as fast as it must be, is had to the end, though its connection would have idled for too long.
#[test]
fn who_takes_slowly_is_not_idle() {
    run(async {
        let server = Server::prepare(Kind::Embedded);
        server.set_ingress_args(&["--idle-timeout", "1s"]);
        server.launch().await;
        let class = Class::deploy(&server, "Slow", guests::prober(), "").await;
        let mut miser = miser(&server, 0).await;
        let answer = miser.head_of(blob(&server, &class, 1_000)).await.expect("it is answered");
        sleep(Duration::from_secs(5)).await;
        miser.open();
        assert_eq!(taken_bytes(answer).await, 1_000);
    });
}

/// Fills the memory that is set aside with answers for readers of their own, and gives these once a call is refused for it.
async fn fill(server: &Server, class: &Class) -> Vec<(Miser, Response<RecvStream>)> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let asked = (0..6).map(|n| async move {
            let mut miser = miser(server, 0).await;
            let answer = miser.head_of(blob_of(server, class, &format!("o{n}"), 5 * MIB)).await;
            (miser, answer.expect("it is answered"))
        });
        let all = join_all(asked).await;
        let call = class.object("o").invoke("add", json!({ "by": 1 })).await;
        if call.status == 429 {
            call.problem(Code::Overloaded);
            return all;
        }
    }
    panic!("no call is refused");
}

async fn there_is_room(class: &Class) {
    let room =
        || async { (class.object("o").invoke("add", json!({ "by": 1 })).await.status == 200).then_some(()) };
    eventually("there is room again", room).await;
}

/// With as much waiting as may, calls are refused until what is slow is given up. What is taken goes on, and so does what
/// operators need.
#[test]
fn the_slowest_readers_make_room() {
    run(async {
        let (server, class) = server().await;
        let _shown = server.show_logs_on_panic();
        let all = fill(&server, &class).await;
        server.http().get("/healthz").send().await.expect(200);
        server.http().get("/api/v1/classes").send().await.expect(200);
        there_is_room(&class).await;
        let mut whole = 0;
        for (miser, answer) in all {
            miser.open();
            whole += usize::from(taken_bytes(answer).await == 5 * MIB);
        }
        assert!(whole < 6, "nothing was given up");
        assert!(given_up(&server, "slow").await > 0);
        let metrics = Metrics::of(&server.http()).await;
        assert_eq!(metrics.sum("oprc_gateway_answers_waiting_max_bytes", &[]), 16 * MIB as u64);
        assert!(metrics.sum("oprc_gateway_shed_total", &[("reason", "answers")]) > 0);
        nothing_waits(&server).await;
    });
}

/// A connection that takes nothing off the wire cannot be told that a stream is given up: it goes as a whole.
#[test]
fn who_stalls_makes_room_as_well() {
    run(async {
        let (server, class) = server().await;
        let _shown = server.show_logs_on_panic();
        let all = fill(&server, &class).await;
        for (miser, _) in &all {
            miser.stall();
        }
        there_is_room(&class).await;
        nothing_waits(&server).await;
        drop(all);
    });
}

/// Answers that were let in before the bound was reached come as well, up to a ceiling: what does not fit breaks off.
#[test]
fn there_is_a_ceiling() {
    run(async {
        let (server, class) = server().await;
        let _shown = server.show_logs_on_panic();
        let mut miser = miser(&server, 0).await;
        let mut asked = Vec::new();
        for n in 0..10 {
            asked.push(
                miser.ask(blob_of(&server, &class, &format!("o{n}"), 5 * MIB)).await.expect("it is asked"),
            );
        }
        let heads: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
        let held = waiting_bytes(&server).await;
        assert!(held <= 33 * MIB as u64, "{held}");
        server.http().get("/healthz").send().await.expect(200);
        miser.open();
        let (mut whole, mut refused) = (0, 0);
        for answer in heads {
            if answer.status() == 200 {
                whole += usize::from(taken_bytes(answer).await == 5 * MIB);
            } else {
                assert_eq!(answer.status(), 429);
                refused += 1;
            }
        }
        assert!(whole <= 6, "{whole}");
        let (none, slow) = (given_up(&server, "memory").await, given_up(&server, "slow").await);
        assert!(none + slow + refused > 0, "10 answers of 5 MiB");
        class.object("o").invoke("add", json!({ "by": 1 })).await.expect(200);
    });
}
