//! Answers that their readers do not take: HTTP/2 lets a client keep its window shut for as long as it likes.

use std::pin::pin;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::future::join_all;
use hyper::{Method, Request};
use oprc_tests::grpc::{call, pb};
use oprc_tests::metrics::Metrics;
use oprc_tests::{Class, Kind, Miser, Server, eventually, guests, run, taken_bytes};
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
    let limits = "[class.limits]\npayload_kib = 16384\nmemory_mib = 256\ncpu_ms = 10000";
    let class = Class::deploy(&server, "Miser", guests::prober(), limits).await;
    (server, class)
}

async fn miser(server: &Server) -> Miser {
    Miser::connect(server.http().address()).await
}

/// A request for so many bytes.
fn blob(server: &Server, class: &Class, bytes: usize) -> Request<Bytes> {
    let uri = format!("{}{}/invoke/blob", server.url(), class.object("o").path());
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

/// Whether a reader that takes nothing is told that its answer is given up, and its connection goes on.
async fn is_given_up(server: &Server, request: Request<Bytes>) {
    let mut miser = miser(server).await;
    let mut answer = miser.ask(request).await.await.expect("it is answered").into_body();
    let ends = async {
        let mut broken = pin!(answer.data());
        while timeout(Duration::from_secs(1), &mut broken).await.is_err() {
            let answer = miser.ask(head(server)).await.await;
            assert_eq!(answer.expect("the connection goes on").status(), 200);
        }
    };
    timeout(QUIET, ends).await.expect("it is given up");
    miser.open();
    assert_eq!(miser.ask(head(server)).await.await.expect("nor does it matter later").status(), 200);
}

/// A refusal by gRPC is a head alone (Trailers-Only): clients look for the status nowhere else.
#[test]
fn a_refusal_needs_no_window() {
    run(async {
        let (server, class) = server().await;
        let nobody = Class { name: "Nobody".to_owned(), ..class };
        let mut miser = miser(&server).await;
        let answer = miser.ask(blob_by_grpc(&server, &nobody, 1)).await.await.expect("it is answered");
        assert_eq!(answer.headers()["grpc-status"], "5");
        assert!(answer.body().is_end_stream());
    });
}

/// Whatever else its connection does: an answer has to be taken.
#[test]
fn what_no_window_is_opened_for_is_given_up() {
    run(async {
        let (server, class) = server().await;
        let _shown = server.show_logs_on_panic();
        let events = Request::get(format!("{}{}/events", server.url(), class.path()));
        let events = events.body(Bytes::new()).expect("it is one");
        let requests = [blob(&server, &class, 100), blob_by_grpc(&server, &class, 100), events];
        join_all(requests.map(|request| is_given_up(&server, request))).await;
        server.logged(&["an answer was given up", "it is taken too slowly"]).await;
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
        let mut miser = miser(&server).await;
        let answer = miser.ask(blob(&server, &class, 1_000)).await.await.expect("it is answered");
        sleep(Duration::from_secs(5)).await;
        miser.open();
        assert_eq!(taken_bytes(answer).await, 1_000);
    });
}

/// With as much waiting as may, calls are refused until what is slow is given up. What is taken goes on.
#[test]
fn the_slowest_readers_make_room() {
    run(async {
        let (server, class) = server().await;
        let _shown = server.show_logs_on_panic();
        let mut misers = Vec::new();
        let mut answers = Vec::new();
        loop {
            assert!(misers.len() < 40, "nobody is refused");
            let mut miser = miser(&server).await;
            let answer = miser.ask(blob(&server, &class, 5 * MIB)).await.await.expect("it is answered");
            misers.push(miser);
            if answer.status() == 429 {
                break;
            }
            answers.push(answer);
        }
        server.http().get("/healthz").send().await.expect(200);
        server.http().get("/api/v1/classes").send().await.expect(200);
        let room = || async {
            (class.object("o").invoke("add", json!({ "by": 1 })).await.status == 200).then_some(())
        };
        eventually("there is room again", room).await;
        server.logged(&["an answer was given up", "others need the memory"]).await;
        // the newest one may stay
        let count = answers.len();
        let mut whole = 0;
        for (miser, answer) in misers.iter().zip(answers) {
            miser.open();
            whole += usize::from(taken_bytes(answer).await == 5 * MIB);
        }
        assert!(whole < count, "{whole} of {count}");
        let metrics = Metrics::of(&server.http()).await;
        assert_eq!(metrics.sum("oprc_gateway_answers_waiting_max_bytes", &[]), 16 * MIB as u64);
        assert!(metrics.sum("oprc_gateway_shed_total", &[("reason", "answers")]) > 0);
        let waiting = || async {
            let metrics = Metrics::of(&server.http()).await;
            (metrics.sum("oprc_gateway_answers_waiting_bytes", &[]) < MIB as u64).then_some(())
        };
        eventually("nothing waits", waiting).await;
    });
}

/// Answers that were let in before the bound was reached come as well, up to a ceiling: what does not fit breaks off.
#[test]
fn there_is_a_ceiling() {
    run(async {
        let (server, class) = server().await;
        let _shown = server.show_logs_on_panic();
        let mut miser = miser(&server).await;
        let mut asked = Vec::new();
        for n in 0..10 {
            let mut request = blob(&server, &class, 5 * MIB);
            let uri = format!("{}{}/invoke/blob", server.url(), class.object(format!("o{n}")).path());
            *request.uri_mut() = uri.parse().expect("it is one");
            asked.push(miser.ask(request).await);
        }
        let heads: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
        let held = Metrics::of(&server.http()).await.sum("oprc_gateway_answers_waiting_bytes", &[]);
        assert!(held <= 32 * MIB as u64, "{held}");
        miser.open();
        let mut whole = 0;
        for answer in heads {
            if answer.status() == 200 {
                whole += usize::from(taken_bytes(answer).await == 5 * MIB);
            } else {
                assert_eq!(answer.status(), 429);
            }
        }
        assert!((3..=6).contains(&whole), "{whole}");
        class.object("o").invoke("add", json!({ "by": 1 })).await.expect(200);
    });
}
