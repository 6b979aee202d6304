//! Answers that their readers do not take: HTTP/2 lets a client keep its window shut for as long as it likes.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::future::join_all;
use hyper::{Method, Request};
use oprc_mesh::outcome::Code;
use oprc_tests::grpc::{call, pb};
use oprc_tests::metrics::Metrics;
use oprc_tests::{Class, Kind, Miser, Server, body_bytes, eventually, guests, run};
use prost::Message as _;
use serde_json::json;
use tokio::time::{sleep, timeout};

const MIB: usize = 1024 * 1024;
/// Longer than any bound here.
const QUIET: Duration = Duration::from_mins(1);

/// A server that sets 16 MiB aside for what waits, 1 MiB of them for each connection, and a class with large answers.
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

type Ask = fn(&Server, &Class, usize) -> Request<Bytes>;

async fn waiting_bytes(server: &Server) -> u64 {
    Metrics::of(&server.http()).await.sum("oprc_gateway_answers_waiting_bytes", &[])
}

/// Whatever else a connection does: one on which an answer waits has to take it.
#[test]
fn who_never_opens_its_window_is_cut_off() {
    run(async {
        let (server, class) = server().await;
        let _shown = server.show_logs_on_panic();
        let requests = [blob(&server, &class, 100), blob_by_grpc(&server, &class, 100)];
        let cut_off = requests.map(|request| async {
            let mut miser = miser(&server).await;
            let untaken = miser.ask(request).await.await.expect("it is answered");
            assert_eq!(untaken.status(), 200);
            while !miser.is_closed() {
                if let Ok(answer) = miser.ask(head(&server)).await.await {
                    assert_eq!(answer.status(), 200);
                }
                sleep(Duration::from_secs(1)).await;
            }
        });
        timeout(QUIET, join_all(cut_off)).await.expect("both are");
        assert_eq!(server.host_log().matches("its answers are taken too slowly").count(), 2);
    });
}

/// As long as too much waits on a connection its next request waits as well, and no other connection's.
#[test]
fn the_next_request_waits_behind_what_is_not_taken() {
    run(async {
        let (server, class) = server().await;
        // in JSON, as gRPC has it here, four bytes of Base64 stand for three
        for (ask, bytes) in [(blob as Ask, MIB - 1), (blob_by_grpc, MIB / 4 * 3 - 1_000)] {
            let mut miser = miser(&server).await;
            let large = miser.ask(ask(&server, &class, bytes)).await.await.expect("it is answered");
            let waiting = waiting_bytes(&server).await as usize;
            assert!((MIB - 2_000..MIB).contains(&waiting), "{waiting}");
            let small = ask(&server, &class, MIB - waiting);
            let small = miser.ask(small).await.await.expect("less waits than may");
            let mut next = miser.ask(head(&server)).await;
            assert!(timeout(Duration::from_secs(1), &mut next).await.is_err(), "it waits");
            class.object("other").invoke("add", json!({ "by": 1 })).await.expect(200);
            miser.open();
            assert!(body_bytes(large).await + body_bytes(small).await >= MIB);
            assert_eq!(next.await.expect("it is answered").status(), 200);
            let taken = || async { (waiting_bytes(&server).await < MIB as u64 / 2).then_some(()) };
            eventually("all is taken", taken).await;
        }
    });
}

/// With as much waiting as may, calls are refused until the reader is gone that has been slow for the longest. Others go on.
#[test]
fn the_slowest_reader_makes_room() {
    run(async {
        let (server, class) = server().await;
        let _shown = server.show_logs_on_panic();
        let mut misers = Vec::new();
        let mut answers = Vec::new();
        let refusal = loop {
            assert!(misers.len() < 40, "nobody is refused");
            let mut miser = miser(&server).await;
            let answer = miser.ask(blob(&server, &class, 8 * MIB)).await.await.expect("it is answered");
            misers.push(miser);
            if answer.status() == 429 {
                break class.object("o").invoke("add", json!({ "by": 1 })).await;
            }
            answers.push(answer);
        };
        if refusal.status != 200 {
            refusal.problem(Code::Overloaded);
        }
        server.http().get("/healthz").send().await.expect(200);
        server.http().get("/api/v1/classes").send().await.expect(200);
        let room = || async {
            (class.object("o").invoke("add", json!({ "by": 1 })).await.status == 200).then_some(())
        };
        eventually("there is room again", room).await;
        eventually("the first one is cut off", || async { misers[0].is_closed().then_some(()) }).await;
        server.logged(&["a connection was cut", "others need the memory"]).await;
        let (last, taken) = (&misers[answers.len() - 1], answers.pop().expect("some were answered"));
        assert!(!last.is_closed());
        last.open();
        assert_eq!(body_bytes(taken).await, 8 * MIB);
        let metrics = Metrics::of(&server.http()).await;
        assert_eq!(metrics.sum("oprc_gateway_answers_waiting_max_bytes", &[]), 16 * MIB as u64);
        assert!(metrics.sum("oprc_gateway_shed_total", &[("reason", "answers")]) > 0);
    });
}
