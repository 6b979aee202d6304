//! Without a key nobody is answered, on any route: the routes are those that the server's own documents and descriptors name, so
//! that a new one is tried without anybody's thinking of it.

use std::collections::BTreeSet;

use oprc_mesh::outcome::Code;
use oprc_tests::grpc::{Grpc, METHODS};
use oprc_tests::{Class, Cli, Http, Kind, Reply, guests, run};
use serde_json::{Value, json};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::access::closed;

/// What answers everybody: whether the server works, and what can be read in its source.
const OPEN: [&str; 3] = ["document", "health", "readiness"];
/// gRPC's own services, which do as well.
const OPEN_SERVICES: &str = "grpc.";

/// The path of a document with something in the place of each name.
fn filled(template: &str, class: &str) -> String {
    let part = |part: &str| match part {
        "{class}" => class.to_owned(),
        "{id}" => "o".to_owned(),
        "{key}" => "count".to_owned(),
        "{node}" => "1".to_owned(),
        // of an object of a class that is not there
        "{invocation}" => "ATEyMzQ1Njc4QwBvAGs".to_owned(),
        name if name.starts_with('{') => "increment".to_owned(),
        literal => literal.to_owned(),
    };
    template.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// Every operation of a document: its name, verb and path, and whether it is open.
fn operations(document: &Value) -> Vec<(&str, String, &str, bool)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let all = paths.flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(move |(verb, operation)| {
            let open = operation["security"] == json!([]);
            (operation["operationId"].as_str().unwrap(), verb.to_uppercase(), path.as_str(), open)
        })
    });
    all.collect()
}

/// Sends it with a body that would do, so that nothing but the key is missing.
async fn send(http: &Http, verb: &str, path: &str) -> Reply {
    let call = http.call(verb, path);
    match verb {
        "GET" | "HEAD" | "DELETE" => call.send().await,
        _ => call.json(&json!({})).send().await,
    }
}

async fn by_rest(kind: Kind) {
    let (server, root) = closed(kind).await;
    let _shown = server.show_logs_on_panic();
    let class = Class::deploy(&root, "Closed", guests::counter(), "").await;
    class.object("o").invoke("increment", json!({ "by": 1 })).await.expect(200);
    let stranger = server.http();
    let unknown = Cli::run(&["key", "token"], server.scratch(), &[], None).await.ok();
    let strangers = [
        stranger.clone(),
        stranger.with_key(unknown.trim()),
        stranger.with_key("eyJhbGciOiJub25lIn0.e30.AA"),
    ];
    let document = stranger.get("/openapi.json").send().await.expect(200).json();
    let of_class = root.get(format!("{}/openapi.json", class.path())).send().await.expect(200).json();
    let mut open = BTreeSet::new();
    let mut closed = 0;
    for (name, verb, path, is_open) in operations(&document).into_iter().chain(operations(&of_class)) {
        if is_open {
            open.insert(name.to_owned());
            send(&stranger, &verb, path).await.expect(200);
            continue;
        }
        closed += 1;
        for http in &strangers {
            let mut answers = Vec::new();
            for class in [class.name.as_str(), "Absent"] {
                let path = filled(path, class);
                let reply = send(http, &verb, &path).await;
                assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "{verb} {path}");
                answers.push(reply.problem(Code::Unauthenticated)["detail"].clone());
                if verb == "GET" {
                    let head = send(http, "HEAD", &path).await.expect(401);
                    assert!(head.body.is_empty());
                }
            }
            assert_eq!(answers[0], answers[1], "{verb} {path}: what is there and what is not look the same");
        }
    }
    assert_eq!(Vec::from_iter(open), OPEN);
    assert!(closed > 30, "the documents were read: {closed}");
    assert_eq!(class.object("o").fields().await, json!({ "count": 1 }), "nothing was done");
    root.get("/api/v1/classes/Absent").send().await.expect(404);
    assert_eq!(root.get("/api/v1/keys").send().await.expect(200).json()["items"], json!([]));
}

/// The services that the server says it has.
async fn services(grpc: &Grpc) -> BTreeSet<String> {
    let list = MessageRequest::ListServices(String::new());
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let mut reflection = ServerReflectionClient::new(grpc.channel.clone());
    let answered = reflection.server_reflection_info(futures::stream::iter([request])).await.unwrap();
    let answer = answered.into_inner().message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(listed)) = answer else { panic!("a list: {answer:?}") };
    listed.service.into_iter().map(|service| service.name).collect()
}

async fn by_grpc(kind: Kind) {
    let (server, _root) = closed(kind).await;
    let _shown = server.show_logs_on_panic();
    let listed = services(&Grpc::to(&server).await).await;
    let ours: BTreeSet<_> = listed.iter().filter(|name| !name.starts_with(OPEN_SERVICES)).cloned().collect();
    let service = |method: &&str| method.split('/').nth(1).unwrap().to_owned();
    let tried: BTreeSet<_> = METHODS.iter().map(service).collect();
    assert_eq!(ours, tried, "every service that is there is tried");
    let stranger = server.http().multiplexed().await;
    let unknown = Cli::run(&["key", "token"], server.scratch(), &[], None).await.ok();
    for method in METHODS {
        for shown in [None, Some(unknown.trim()), Some("eyJhbGciOiJub25lIn0.e30.AA")] {
            // a message without anything in it, which every method can read
            let mut call = stranger.post(*method).body("application/grpc", vec![0; 5]);
            if let Some(token) = shown {
                call = call.header("authorization", format!("Bearer {token}"));
            }
            let reply = call.send().await.expect(200);
            assert_eq!(reply.header("grpc-status"), Some("16"), "{method}: {reply:?}");
        }
    }
}

#[test]
fn by_rest_embedded() {
    run(by_rest(Kind::Embedded));
}

#[test]
fn by_rest_apart() {
    run(by_rest(Kind::Apart));
}

#[test]
fn by_grpc_embedded() {
    run(by_grpc(Kind::Embedded));
}

#[test]
fn by_grpc_apart() {
    run(by_grpc(Kind::Apart));
}
