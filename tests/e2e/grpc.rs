//! gRPC on the port of REST: calls, objects, listings, health and reflection, from a client that has the `.proto` files
//! and nothing else. What one protocol did the other one sees, names and etags included.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use oprc_tests::grpc::pb::{self, invocation_service_client::InvocationServiceClient};
use oprc_tests::grpc::{Grpc, call, json_of, problem_of};
use oprc_tests::{Class, Server, both, eventually, guests, seed};
use rand::Rng as _;
use serde_json::json;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

both!(
    invoking,
    forms,
    deadlines,
    replays,
    later,
    objects,
    preconditions,
    fields,
    listings,
    health,
    reflection,
    unknown,
    many_at_once,
    random_bytes,
);

async fn invoking(server: Server) {
    let class = Class::deploy(&server, "Called", guests::counter(), "readonly = [\"value\"]").await;
    let grpc = Grpc::to(&server).await;
    let first = grpc.invoke(call(&class, Some("o"), "increment", &json!({ "by": 5 }))).await.unwrap();
    assert_eq!(json_of(&first), 5);
    let result = first.result.as_ref().unwrap();
    assert_eq!((result.media_type.as_str(), result.version), ("application/json", Some(1)));
    assert!(!first.replayed && !first.invocation_id.is_empty());
    assert_eq!(first.class_version, Some(1));
    // one object, whichever way
    assert_eq!(class.object("o").invoke("increment", json!({ "by": 2 })).await.expect(200).json(), 7);
    let read = pb::InvokeRequest {
        call: Some(pb::Call { payload: None, ..call(&class, Some("o"), "value", &json!([])) }),
        consistency: pb::Consistency::Linearizable as i32,
    };
    let read = grpc.invocations.clone().invoke(read).await.unwrap().into_inner();
    assert_eq!((json_of(&read), read.result.unwrap().version), (json!(7), Some(2)));
}

async fn forms(server: Server) {
    let class = Class::deploy(&server, "Forms", guests::prober(), "").await;
    let grpc = Grpc::to(&server).await;
    let raw = pb::Call {
        payload: Some(pb::call::Payload::Raw(vec![0xff; 1000])),
        ..call(&class, Some("o"), "swallow", &json!([]))
    };
    assert_eq!(json_of(&grpc.invoke(raw).await.unwrap()), 1000);
    let blob = pb::Call {
        accept: pb::ResultForm::Raw as i32,
        ..call(&class, Some("o"), "blob", &json!({ "bytes": 3 }))
    };
    let result = grpc.invoke(blob).await.unwrap().result.unwrap();
    assert_eq!(result.value, Some(pb::call_result::Value::Raw(vec![7, 7, 7])));
    assert_eq!(result.media_type, "application/octet-stream");
    let nothing =
        grpc.invoke(call(&class, Some("o"), "nap", &json!({ "ms": 0 }))).await.unwrap().result.unwrap();
    assert_eq!((nothing.value, nothing.media_type.as_str()), (None, ""));
    // a function, and what it sees of the metadata
    let mut request = Request::new(pb::InvokeRequest {
        call: Some(call(&class, None, "circumstances-of-call", &json!({}))),
        consistency: 0,
    });
    request.metadata_mut().insert("x-tenant", "blue".parse().unwrap());
    let response = grpc.invocations.clone().invoke(request).await.unwrap().into_inner();
    let seen = json_of(&response);
    assert_eq!(seen["object"], json!(null));
    assert_eq!(seen["invocation-id"], response.invocation_id.as_str());
    assert!(seen["headers"].as_array().unwrap().contains(&json!(["x-tenant", "blue"])), "{seen}");
    assert_eq!(response.result.unwrap().version, None);
}

/// A framed message, as it goes over the wire.
fn framed(message: &impl prost::Message) -> Vec<u8> {
    let body = message.encode_to_vec();
    let mut frame = vec![0];
    frame.extend_from_slice(&(body.len() as u32).to_be_bytes());
    frame.extend_from_slice(&body);
    frame
}

const INVOKE: &str = "/oprc.v1.InvocationService/Invoke";

/// The server holds to the deadline by itself: this client has no clock of its own.
async fn deadlines(server: Server) {
    let class = Class::deploy(&server, "Late", guests::prober(), "[class.limits]\nwall_ms = 60000").await;
    let http = server.http().multiplexed().await;
    let nap = pb::InvokeRequest {
        call: Some(call(&class, Some("o"), "nap", &json!({ "ms": 30_000 }))),
        consistency: 0,
    };
    let begun = Instant::now();
    let send = |timeout: &str| {
        let request = http.post(INVOKE).body("application/grpc", framed(&nap)).header("te", "trailers");
        request.header("grpc-timeout", timeout).send()
    };
    let reply = send("300m").await.expect(200);
    assert_eq!(reply.header("grpc-status"), Some("4"), "{reply:?}");
    assert!(begun.elapsed() < Duration::from_secs(25), "it did not wait for the nap");
    let malformed = send("soon").await.expect(200);
    assert_eq!(malformed.header("grpc-status"), Some("3"), "{malformed:?}");
    // its turn is over: nothing was written
    class.object("o").get().await.expect(404);
}

async fn replays(server: Server) {
    let class = Class::deploy(&server, "Again", guests::counter(), "").await;
    let grpc = Grpc::to(&server).await;
    let keyed = |by: u32| pb::Call {
        idempotency_key: "k-1".to_owned(),
        ..call(&class, Some("o"), "increment", &json!({ "by": by }))
    };
    let first = grpc.invoke(keyed(3)).await.unwrap();
    assert_eq!((first.invocation_id.as_str(), first.replayed), ("k-1", false));
    let second = grpc.invoke(keyed(3)).await.unwrap();
    assert_eq!((json_of(&second), second.replayed), (json!(3), true));
    // the same call by REST is the same call
    let rest =
        class.object("o").method("increment").json(&json!({ "by": 3 })).header("idempotency-key", "k-1");
    assert_eq!(rest.send().await.expect(200).header("idempotency-replayed"), Some("true"));
    let mut by_metadata = Request::new(pb::InvokeRequest {
        call: Some(pb::Call { idempotency_key: String::new(), ..keyed(3) }),
        consistency: 0,
    });
    by_metadata.metadata_mut().insert("idempotency-key", "k-1".parse().unwrap());
    assert!(grpc.invocations.clone().invoke(by_metadata).await.unwrap().into_inner().replayed);
    let other = grpc.invoke(keyed(4)).await.unwrap_err();
    assert_eq!(
        (other.code(), problem_of(&other).code.as_str()),
        (Code::InvalidArgument, "idempotency-mismatch")
    );
    assert_eq!(class.object("o").version().await, 1);
}

async fn later(server: Server) {
    let class = Class::deploy(&server, "Later", guests::prober(), "").await;
    let mut invocations = Grpc::to(&server).await.invocations;
    let request = pb::SubmitRequest { call: Some(call(&class, Some("o"), "add", &json!({ "by": 4 }))) };
    let id = invocations.submit(request).await.unwrap().into_inner().invocation.unwrap().id;
    let read = pb::GetInvocationRequest { id: id.clone(), wait_ms: 30_000 };
    let done = invocations.get_invocation(read.clone()).await.unwrap().into_inner().invocation.unwrap();
    assert_eq!(done.state(), pb::InvocationState::Done);
    assert_eq!(done.result.unwrap().value, Some(pb::call_result::Value::Json("4".to_owned())));
    let rest = server.http().get(format!("/api/v1/invocations/{id}")).send().await.expect(200).json();
    assert_eq!((&rest["state"], &rest["result"]), (&json!("done"), &json!(4)));
    let refused = json!({ "reason": "no", "balance": 1 });
    let request = pb::SubmitRequest { call: Some(call(&class, Some("o"), "refuse", &refused)) };
    let id = invocations.submit(request).await.unwrap().into_inner().invocation.unwrap().id;
    let read = pb::GetInvocationRequest { id, ..read };
    let failed = invocations.get_invocation(read).await.unwrap().into_inner().invocation.unwrap();
    let problem = failed.problem.unwrap();
    assert_eq!((failed.state, problem.code.as_str()), (pb::InvocationState::Failed as i32, "function-error"));
    let error: serde_json::Value = serde_json::from_str(&problem.error).unwrap();
    assert_eq!(error, refused);
    for (id, wait_ms) in [("nonsense", 0), ("", 0), ("nonsense", 60_001)] {
        let read = pb::GetInvocationRequest { id: id.to_owned(), wait_ms };
        assert_eq!(invocations.get_invocation(read).await.unwrap_err().code(), Code::InvalidArgument);
    }
}

fn field(key: &str, value: &[u8]) -> pb::Field {
    pb::Field { key: key.to_owned(), value: value.to_vec() }
}

fn get(class: &Class, object: &str) -> pb::GetRequest {
    pb::GetRequest { class_name: class.name.clone(), object: object.to_owned(), ..pb::GetRequest::default() }
}

fn put(
    class: &Class,
    object: &str,
    fields: Vec<pb::Field>,
    options: Option<pb::WriteOptions>,
) -> pb::PutRequest {
    pb::PutRequest { class_name: class.name.clone(), object: object.to_owned(), fields, options }
}

async fn objects(server: Server) {
    let class = Class::deploy(&server, "Kept", guests::counter(), "").await;
    let mut objects = Grpc::to(&server).await.objects;
    let absent = objects.get(get(&class, "o")).await.unwrap_err();
    assert_eq!((absent.code(), problem_of(&absent).code.as_str()), (Code::NotFound, "not-found"));
    let fields = vec![field("a", b"1"), field("b", b"\xff\x00"), field("c", b"")];
    let made =
        objects.put(put(&class, "o", fields.clone(), None)).await.unwrap().into_inner().result.unwrap();
    assert!(made.created && !made.replayed);
    let found = objects.get(get(&class, "o")).await.unwrap().into_inner();
    assert_eq!((found.fields, found.state), (fields, made.state));
    assert_eq!(class.object("o").get().await.etag(), found_etag(&mut objects, &class).await);
    let (class_name, object) = (class.name.clone(), "o".to_owned());
    let patch = pb::PatchRequest {
        class_name: class_name.clone(),
        object: object.clone(),
        set: vec![field("a", b"2"), field("d", b"4")],
        delete: vec!["b".to_owned(), "never".to_owned()],
        options: None,
    };
    let changed = objects.patch(patch.clone()).await.unwrap().into_inner().result.unwrap();
    assert_eq!((changed.created, changed.state.unwrap().version), (false, 2));
    assert_eq!(class.object("o").fields().await, json!({ "a": 2, "c": { "$text": "" }, "d": 4 }));
    let twice = pb::PatchRequest { delete: vec!["a".to_owned()], ..patch };
    assert_eq!(objects.patch(twice).await.unwrap_err().code(), Code::InvalidArgument);
    let delete = pb::DeleteRequest { class_name, object, options: None };
    let gone = objects.delete(delete.clone()).await.unwrap().into_inner().result.unwrap();
    assert_eq!(gone.state, None);
    assert_eq!(objects.delete(delete).await.unwrap_err().code(), Code::NotFound);
}

async fn found_etag(
    objects: &mut pb::object_service_client::ObjectServiceClient<tonic::transport::Channel>,
    class: &Class,
) -> String {
    objects.get(get(class, "o")).await.unwrap().into_inner().state.unwrap().etag
}

async fn preconditions(server: Server) {
    let class = Class::deploy(&server, "Only", guests::counter(), "").await;
    let mut objects = Grpc::to(&server).await.objects;
    let only = |if_match: &str, if_none_match: &str| {
        let precondition =
            pb::Precondition { if_match: if_match.to_owned(), if_none_match: if_none_match.to_owned() };
        Some(pb::WriteOptions { precondition: Some(precondition), ..pb::WriteOptions::default() })
    };
    let refused = |status: Status| {
        assert_eq!(
            (status.code(), problem_of(&status).code.as_str()),
            (Code::FailedPrecondition, "version-mismatch")
        );
    };
    refused(objects.put(put(&class, "o", vec![], only("*", ""))).await.unwrap_err());
    objects.put(put(&class, "o", vec![field("n", b"1")], only("", "*"))).await.unwrap();
    refused(objects.put(put(&class, "o", vec![], only("", "*"))).await.unwrap_err());
    let etag = found_etag(&mut objects, &class).await;
    class.object("o").patch(&json!({ "n": 2 })).header("if-match", &etag).send().await.expect(200);
    refused(objects.put(put(&class, "o", vec![], only(&etag, ""))).await.unwrap_err());
    let etag = found_etag(&mut objects, &class).await;
    objects.put(put(&class, "o", vec![field("n", b"3")], only(&etag, ""))).await.unwrap();
    let malformed = objects.put(put(&class, "o", vec![], only("5.1", ""))).await.unwrap_err();
    assert_eq!(malformed.code(), Code::InvalidArgument);
    // a read need not send what the client has
    let etag = found_etag(&mut objects, &class).await;
    let precondition = pb::Precondition { if_none_match: etag, ..pb::Precondition::default() };
    let seen = pb::GetRequest { precondition: Some(precondition), ..get(&class, "o") };
    let seen = objects.get(seen).await.unwrap().into_inner();
    assert!(seen.not_modified && seen.fields.is_empty());
}

async fn fields(server: Server) {
    let class = Class::deploy(&server, "Field", guests::counter(), "").await;
    let mut objects = Grpc::to(&server).await.objects;
    let put = pb::PutFieldRequest {
        class_name: class.name.clone(),
        object: "o".to_owned(),
        key: "a/b".to_owned(),
        value: vec![0, 1, 0xff],
        options: Some(pb::WriteOptions { idempotency_key: "once".to_owned(), ..pb::WriteOptions::default() }),
    };
    let made = objects.put_field(put.clone()).await.unwrap().into_inner().result.unwrap();
    assert_eq!((made.created, made.invocation_id.as_str()), (true, "once"));
    assert!(objects.put_field(put).await.unwrap().into_inner().result.unwrap().replayed);
    let get = pb::GetFieldRequest {
        class_name: class.name.clone(),
        object: "o".to_owned(),
        key: "a/b".to_owned(),
        consistency: pb::Consistency::Stale as i32,
        precondition: None,
    };
    let stale = eventually("a replica has it", || async {
        objects.clone().get_field(get.clone()).await.ok().map(tonic::Response::into_inner)
    })
    .await;
    assert_eq!(stale.value, [0, 1, 0xff]);
    let delete = pb::DeleteFieldRequest {
        class_name: class.name.clone(),
        object: "o".to_owned(),
        key: "a/b".to_owned(),
        options: None,
    };
    objects.delete_field(delete.clone()).await.unwrap();
    let gone = objects.delete_field(delete).await.unwrap_err();
    let problem = problem_of(&gone);
    assert_eq!((gone.code(), problem.operation.as_str()), (Code::NotFound, "write"));
    assert_eq!(problem.subject, format!("{}/o", class.name));
}

async fn listings(server: Server) {
    let class = Class::deploy(&server, "Many", guests::counter(), "").await;
    let mut objects = Grpc::to(&server).await.objects;
    let fields: Vec<_> = (0..25).map(|n| field(&format!("k{n:02}"), b"1")).collect();
    for n in 0..25 {
        objects.put(put(&class, &format!("o{n:02}"), fields.clone(), None)).await.unwrap();
    }
    let list =
        pb::ListRequest { class_name: class.name.clone(), page_size: 10, ..pb::ListRequest::default() };
    let pages: Vec<_> = objects.list(list.clone()).await.unwrap().into_inner().try_collect().await.unwrap();
    assert_eq!(pages.iter().map(|page| page.objects.len()).collect::<Vec<_>>(), [10, 10, 5]);
    let ids: Vec<_> = pages.iter().flat_map(|page| &page.objects).map(|object| object.id.clone()).collect();
    assert_eq!(ids, (0..25).map(|n| format!("o{n:02}")).collect::<Vec<_>>());
    assert!(
        pages.iter().flat_map(|page| &page.objects).all(|object| object.state.as_ref().unwrap().version == 1)
    );
    let some = pb::ListRequest { prefix: "o1".to_owned(), after: "o14".to_owned(), ..list.clone() };
    let some: Vec<_> = objects.list(some).await.unwrap().into_inner().try_collect().await.unwrap();
    assert_eq!(some.iter().map(|page| page.objects.len()).collect::<Vec<_>>(), [5]);
    let of_one = pb::ListFieldsRequest {
        class_name: class.name.clone(),
        object: "o00".to_owned(),
        page_size: 10,
        ..pb::ListFieldsRequest::default()
    };
    let pages: Vec<_> =
        objects.list_fields(of_one.clone()).await.unwrap().into_inner().try_collect().await.unwrap();
    let listed: Vec<_> = pages.into_iter().flat_map(|page| page.fields).collect();
    assert_eq!(listed, fields);
    let absent = pb::ListFieldsRequest { object: "none".to_owned(), ..of_one };
    let mut stream = objects.list_fields(absent).await.unwrap().into_inner();
    let refused = stream.next().await.unwrap().unwrap_err();
    assert_eq!((refused.code(), problem_of(&refused).operation.as_str()), (Code::NotFound, "list fields of"));
    let large = pb::ListRequest { page_size: 1001, ..list };
    assert_eq!(objects.list(large).await.unwrap_err().code(), Code::InvalidArgument);
}

async fn health(server: Server) {
    let mut health = HealthClient::new(Grpc::to(&server).await.channel);
    for service in ["", "oprc.v1.InvocationService", "oprc.v1.ObjectService", "oprc.v1.EventService"] {
        let answer =
            health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let unknown = HealthCheckRequest { service: "nobody".to_owned() };
    assert_eq!(health.check(unknown.clone()).await.unwrap_err().code(), Code::NotFound);
    let mut watched = health.watch(unknown).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
}

async fn reflection(server: Server) {
    let mut reflection = ServerReflectionClient::new(Grpc::to(&server).await.channel);
    let ask = |request| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
        futures::stream::iter([request])
    };
    let listed = reflection.server_reflection_info(ask(MessageRequest::ListServices(String::new()))).await;
    let answer = listed.unwrap().into_inner().message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(listed)) = answer else { panic!("a list: {answer:?}") };
    let names: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
    for name in [
        "oprc.v1.InvocationService",
        "oprc.v1.ObjectService",
        "oprc.v1.EventService",
        "grpc.health.v1.Health",
    ] {
        assert!(names.iter().any(|listed| listed == name), "{name} in {names:?}");
    }
    let symbol = MessageRequest::FileContainingSymbol("oprc.v1.ObjectService.Get".to_owned());
    let found = reflection.server_reflection_info(ask(symbol)).await.unwrap();
    let answer = found.into_inner().message().await.unwrap().unwrap().message_response;
    assert!(matches!(answer, Some(MessageResponse::FileDescriptorResponse(_))), "{answer:?}");
}

/// What is not there, and what is no gRPC, is answered in its own way.
async fn unknown(server: Server) {
    let http = server.http().multiplexed().await;
    for path in ["/oprc.v1.InvocationService/Nothing", "/oprc.v2.InvocationService/Invoke", "/", "/nothing"] {
        let reply =
            http.post(path).body("application/grpc", framed(&pb::InvokeRequest::default())).send().await;
        assert_eq!(reply.expect(200).header("grpc-status"), Some("12"), "{path}");
    }
    let no_call =
        http.post(INVOKE).body("application/grpc", framed(&pb::InvokeRequest::default())).send().await;
    assert_eq!(no_call.expect(200).header("grpc-status"), Some("3"));
    http.post(INVOKE).body("application/json", "{}").send().await.expect(404);
    // not over HTTP/1.1, which has no trailers
    let old = server.http().post(INVOKE).body("application/grpc", framed(&pb::InvokeRequest::default()));
    old.send().await.expect(404);
}

async fn many_at_once(server: Server) {
    let class = Class::deploy(&server, "Crowd", guests::counter(), "").await;
    let grpc = Grpc::to(&server).await;
    let calls = (0..200).map(|_| grpc.invoke(call(&class, Some("o"), "increment", &json!({ "by": 1 }))));
    let outcomes = futures::future::join_all(calls).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(class.object("o").version().await, 200);
}

/// Bytes that mean nothing, and messages that are broken, are refused, and the server goes on.
async fn random_bytes(server: Server) {
    let mut rng = seed::rng("grpc::random_bytes");
    let http = server.http().multiplexed().await;
    let whole = framed(&pb::InvokeRequest {
        call: Some(pb::Call { class_name: "C".into(), method: "m".into(), ..pb::Call::default() }),
        consistency: 0,
    });
    let methods =
        ["InvocationService/Invoke", "InvocationService/Submit", "ObjectService/Put", "EventService/Watch"];
    for round in 0..400 {
        let body: Vec<u8> = if rng.random_bool(0.5) {
            let mut body = whole.clone();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..body.len());
                body[at] = rng.random();
            }
            body.truncate(rng.random_range(0..=body.len()));
            body
        } else {
            (0..rng.random_range(0..300)).map(|_| rng.random()).collect()
        };
        let path = format!("/oprc.v1.{}", methods[round % methods.len()]);
        let request =
            http.post(&path).body("application/grpc", Bytes::from(body.clone())).header("grpc-timeout", "5S");
        let reply = request.send().await.expect(200);
        let refused = reply.header("grpc-status").is_some_and(|status| status != "0");
        assert!(refused, "{path} took {body:?}: {reply:?}");
    }
    let mut again = InvocationServiceClient::new(Grpc::to(&server).await.channel);
    let status = again.invoke(pb::InvokeRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}
