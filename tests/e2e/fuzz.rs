//! Noise, by gRPC and on every key of the mesh, ends no process, stays in none, and harms nobody's data.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use oprc_mesh::testing::{Query, Stranger};
use oprc_mesh::wire::{Empty, Op, Request as Asked};
use oprc_tests::grpc::{call, pb};
use oprc_tests::mesh::Asker;
use oprc_tests::{Class, Kind, Resources, Server, eventually, guests, run, seed};
use prost::Message as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngCore as _};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a stream that has begun is listened to before its client goes away.
const LISTEN: Duration = Duration::from_millis(50);
/// What is open may differ by so much from what was: connections that idle, threads of pools.
const FILES_MORE: usize = 32;
const THREADS_MORE: usize = 64;
/// Caches and allocators keep some; a leak of what was sent would be more.
const KIB_MORE: usize = 300 * 1024;

fn noise(rng: &mut StdRng, bytes_max: usize) -> Vec<u8> {
    let mut bytes = vec![0; rng.random_range(0..=bytes_max)];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// Some bytes of it are others; or it is cut, or doubled.
fn spoilt(rng: &mut StdRng, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..rng.random_range(0..4) {
        if let Some(at) = (!bytes.is_empty()).then(|| rng.random_range(0..bytes.len())) {
            bytes[at] = rng.random();
        }
    }
    match rng.random_range(0..8) {
        0 => bytes.truncate(rng.random_range(0..=bytes.len())),
        1 => bytes.extend_from_within(..),
        _ => {}
    }
    bytes
}

const METHODS: [&str; 16] = [
    "/oprc.v1.InvocationService/Invoke",
    "/oprc.v1.InvocationService/Submit",
    "/oprc.v1.InvocationService/GetInvocation",
    "/oprc.v1.ObjectService/Get",
    "/oprc.v1.ObjectService/Put",
    "/oprc.v1.ObjectService/Patch",
    "/oprc.v1.ObjectService/Delete",
    "/oprc.v1.ObjectService/GetField",
    "/oprc.v1.ObjectService/PutField",
    "/oprc.v1.ObjectService/DeleteField",
    "/oprc.v1.ObjectService/ListFields",
    "/oprc.v1.ObjectService/List",
    "/oprc.v1.EventService/Watch",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
];

/// A message in its frame, or something that is none.
fn framed(rng: &mut StdRng, message: &[u8]) -> Vec<u8> {
    let length = match rng.random_range(0..6) {
        0 => rng.random(),
        1 => u32::MAX,
        _ => u32::try_from(message.len()).unwrap(),
    };
    let flag = if rng.random_ratio(1, 8) { rng.random() } else { 0 };
    [&[flag], &length.to_be_bytes()[..], message].concat()
}

/// What is sent to one of the methods: noise, or a message of which a part is.
fn rpc_body(rng: &mut StdRng, class: &Class) -> Vec<u8> {
    let meant = call(class, Some("noise"), "add", &json!({ "by": 1 }));
    let invoke = pb::InvokeRequest { call: Some(meant.clone()), consistency: 0 }.encode_to_vec();
    let submit = pb::SubmitRequest { call: Some(meant) }.encode_to_vec();
    let message = match rng.random_range(0..4) {
        0 => noise(rng, 4_000),
        1 => spoilt(rng, submit),
        _ => spoilt(rng, invoke),
    };
    if rng.random_ratio(1, 4) { noise(rng, 600) } else { framed(rng, &message) }
}

/// Sends one request and listens for a while to what comes back.
async fn rpc(sender: &mut http2::SendRequest<Full<Bytes>>, address: &str, path: &str, body: Vec<u8>) -> bool {
    let request = Request::post(format!("http://{address}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(body.into()))
        .unwrap();
    if sender.ready().await.is_err() {
        return false;
    }
    let answered =
        timeout(Duration::from_secs(20), sender.send_request(request)).await.expect("an answer begins");
    let Ok(response) = answered else { return false };
    let body = response.into_body().collect();
    let _ = timeout(LISTEN, body).await; // some have no end
    true
}

async fn by_grpc(server: &Server, class: &Class, rng: &mut StdRng, count: usize) {
    let address = server.http().address().to_string();
    let mut sent = 0;
    while sent < count {
        let stream = TcpStream::connect(&address).await.expect("it still listens");
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.expect("it still speaks HTTP/2");
        let connection = tokio::spawn(connection);
        for _ in 0..50 {
            let (path, body) = (*METHODS.choose(rng).unwrap(), rpc_body(rng, class));
            sent += 1;
            if !rpc(&mut sender, &address, path, body).await {
                break; // the server may hang up on who sends noise
            }
        }
        drop(sender);
        connection.abort();
    }
}

/// A key below `oprc/api` that may mean something.
fn asked_key(rng: &mut StdRng, class: &Class) -> String {
    let parts = [
        class.name.as_str(),
        "objects",
        "noise",
        "invokes",
        "add",
        "fields",
        "%41",
        "%",
        "*",
        "**",
        "@x",
        "ä",
        "x y",
    ];
    let count = rng.random_range(1..8);
    let rest: Vec<_> = (0..count).map(|_| *parts.choose(rng).unwrap()).collect();
    match rng.random_range(0..3) {
        0 => format!("oprc/api/{}/objects/noise/invokes/add", class.name),
        1 => format!("oprc/api/{}/objects/noise", class.name),
        _ => format!("oprc/api/{}", rest.join("/")),
    }
}

async fn questions(asker: &Asker, class: &Class, rng: &mut StdRng, count: usize) {
    for _ in 0..count {
        let about = json!({ "timeout-ms": 1_000, "idempotency-key": "k" }).to_string().into_bytes();
        let attachment = match rng.random_range(0..4) {
            0 => Vec::new(),
            1 => noise(rng, 20_000),
            _ => spoilt(rng, about),
        };
        let encoding =
            ["", "application/json", "application/octet-stream", "x;y", "zenoh/string"].choose(rng).unwrap();
        let payload = match rng.random_range(0..3) {
            0 => noise(rng, 4_000),
            _ => spoilt(rng, b"{\"by\": 1}".to_vec()),
        };
        let query = Query { payload, encoding: (*encoding).to_owned(), attachment };
        // what is no key is refused by the client's own library
        if let Ok(heard) = asker.stranger.ask(&asked_key(rng, class), query).await {
            assert!(heard.len() <= 1, "{heard:?}");
        }
    }
}

/// Publishes what only members should, on every key that they listen on.
async fn publications(stranger: &Stranger, node: &str, rng: &mut StdRng, count: usize) {
    let keys = [
        format!("oprc/n/{node}/call"),
        format!("oprc/n/{node}/u"),
        format!("oprc/n/{node}/d"),
        format!("oprc/n/{node}/b"),
        format!("oprc/n/{node}/leads"),
        format!("oprc/n/{node}/catalog"),
        format!("oprc/n/{node}/alive/x"),
        "oprc/n/0123456789abcdef/leads".to_owned(),
        "oprc/n/*/call".to_owned(),
        "oprc/r/*".to_owned(),
        "oprc/r/0".to_owned(),
        format!("oprc/v/1/f/n/{node}/call"),
        "oprc/v/1/n/2/leads".to_owned(),
        "oprc/v/1/alive/2/x".to_owned(),
        "oprc/events/Noise/o".to_owned(),
        "oprc/api/Noise/objects/o".to_owned(),
        "oprc/**".to_owned(),
    ];
    for _ in 0..count {
        let key = keys.choose(rng).unwrap();
        let meant = Asked {
            version: 1,
            correlation: rng.random(),
            reply_to: "noise".to_owned(),
            timeout_ms: 100,
            op: Some(Op::ReadStatus(Empty {})),
            withdrawn: false,
            trace: None,
        };
        let message = if rng.random() { noise(rng, 300) } else { spoilt(rng, meant.encode_to_vec()) };
        let sent = match rng.random_range(0..3) {
            0 => stranger.put(key, noise(rng, 2_000)).await,
            1 => stranger.put_frame(rng.random(), key, vec![message.into()]).await,
            _ => {
                let own = u64::from_str_radix(node, 16).unwrap();
                stranger.put_frame(own, key, vec![message.into(), Bytes::new()]).await
            }
        };
        sent.expect("its link stands");
    }
}

fn used(server: &Server) -> Vec<Option<Resources>> {
    server.pids().into_iter().map(Resources::of).collect()
}

/// As before, but for a little.
fn settled(before: &[Option<Resources>], now: &[Option<Resources>]) -> bool {
    before.iter().zip(now).all(|(before, now)| match (before, now) {
        (Some(before), Some(now)) => {
            now.files <= before.files + FILES_MORE
                && now.threads <= before.threads + THREADS_MORE
                && now.resident_kib <= before.resident_kib + KIB_MORE
        }
        (None, None) => true, // there is no /proc
        _ => false,
    })
}

/// Each door does what it should.
async fn all_is_well(server: &Server, class: &Class, asker: &Asker, object: &str) {
    let rest = class.object(object);
    assert_eq!(rest.invoke("add", json!({ "by": 1 })).await.expect(200).json(), 1);
    let grpc = oprc_tests::grpc::Grpc::to(server).await;
    grpc.invoke(call(class, Some(object), "add", &json!({ "by": 1 }))).await.unwrap();
    let key = format!("oprc/api/{}/objects/{object}/invokes/add", class.name);
    assert_eq!(&*asker.ask(&key, Some(&json!([1])), json!({})).await.unwrap().payload, b"3");
    assert_eq!(rest.fields().await, json!({ "n": 3 }));
}

async fn noise_does_no_harm(kind: Kind) {
    let mut rng = seed::rng("noise_does_no_harm");
    let server = Server::prepare(kind);
    server.set_asked();
    server.launch().await;
    let _shown = server.show_logs_on_panic();
    let class = Class::deploy(&server, "Fuzzed", guests::prober(), "").await;
    let asker = server.asker(None).await;
    let at_host = if kind == Kind::Apart { Some(server.stranger_at_host().await) } else { None };
    let cluster = server.http().get("/api/v1/cluster").send().await.expect(200).json();
    let node = cluster["nodes"][0]["id"].as_str().unwrap().to_owned();
    // what a little of it takes up for good is not a leak
    by_grpc(&server, &class, &mut rng, 100).await;
    questions(&asker, &class, &mut rng, 100).await;
    all_is_well(&server, &class, &asker, "before").await;
    let before = used(&server);

    by_grpc(&server, &class, &mut rng, 500).await;
    questions(&asker, &class, &mut rng, 500).await;
    for stranger in [Some(&asker.stranger), at_host.as_ref()].into_iter().flatten() {
        publications(stranger, &node, &mut rng, 1_500).await;
    }
    all_is_well(&server, &class, &asker, "after").await;
    assert_eq!(class.object("before").fields().await, json!({ "n": 3 }));
    eventually("files, threads and memory are as before", || async {
        let now = used(&server);
        settled(&before, &now).then_some(())
    })
    .await;
    println!("before: {before:?}, after: {:?}", used(&server));
    ends_with_nothing_left(&server).await;
}

/// A stop waits for every task that is under way, and says so when one is left.
async fn ends_with_nothing_left(server: &Server) {
    let status = server.stop().await;
    let log = server.host_log() + &server.gateway_log();
    assert!(status.success(), "{status}");
    for sign in ["panicked at", "still under way", "closed with calls under way"] {
        assert!(!log.contains(sign), "the log says {sign:?}");
    }
}

#[test]
fn noise_does_no_harm_embedded() {
    run(noise_does_no_harm(Kind::Embedded));
}

#[test]
fn noise_does_no_harm_apart() {
    run(noise_does_no_harm(Kind::Apart));
}
