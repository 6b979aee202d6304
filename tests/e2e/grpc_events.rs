//! Streams of events by gRPC: the same events as by REST, with the same ids, so that a reader may change from one to the
//! other and miss nothing. They end with a reason, also when the gateway stops.

use std::time::Duration;

use oprc_tests::grpc::Grpc;
use oprc_tests::grpc::pb::{self, watch_request::Scope, watch_response::Told};
use oprc_tests::{Class, Events, Kind, PATIENCE, Server, both, guests, run};
use serde_json::json;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};

both!(of_an_object, from_one_protocol_to_the_other, gaps_and_ends, refusals);

fn asked(class: &Class, scope: Option<Scope>, since: &str) -> pb::WatchRequest {
    pb::WatchRequest { class_name: class.name.clone(), scope, keys: String::new(), since: since.to_owned() }
}

async fn watch(grpc: &Grpc, request: pb::WatchRequest) -> Streaming<pb::WatchResponse> {
    let mut stream = grpc.events.clone().watch(request).await.unwrap().into_inner();
    let first = timeout(PATIENCE, stream.message()).await.expect("it begins in time").unwrap().unwrap();
    assert!(matches!(first.told, Some(Told::Heartbeat(_))) && !first.id.is_empty(), "{first:?}");
    stream
}

/// The next message that tells something.
async fn next(stream: &mut Streaming<pb::WatchResponse>) -> Result<(String, Told), Status> {
    loop {
        let message = timeout(PATIENCE, stream.message()).await.expect("something comes in time")?;
        let message = message.expect("a stream ends with a reason");
        match message.told.expect("a message tells something") {
            Told::Heartbeat(_) => {}
            told => return Ok((message.id, told)),
        }
    }
}

async fn event(stream: &mut Streaming<pb::WatchResponse>) -> (String, pb::Event) {
    match next(stream).await.unwrap() {
        (id, Told::Event(event)) => (id, event),
        other => panic!("an event: {other:?}"),
    }
}

async fn of_an_object(server: Server) {
    let class = Class::deploy(&server, "Told", guests::prober(), "").await;
    let grpc = Grpc::to(&server).await;
    let mut of_one = watch(&grpc, asked(&class, Some(Scope::Object("o".into())), "")).await;
    let mut of_some = watch(&grpc, asked(&class, Some(Scope::Prefix("p".into())), "")).await;
    class.object("o").put(&json!({ "a": 1 })).send().await.expect(201);
    class.object("p").put(&json!({ "a": 1 })).send().await.expect(201);
    let steps = json!([[{ "set": ["b", "2"] }, { "delete": "a" }, { "emit": ["t", "[1]"] }]]);
    class.object("o").invoke("run", steps).await.expect(200);
    let (_, made) = event(&mut of_one).await;
    assert_eq!((made.object.as_str(), made.version, made.action()), ("o", 1, pb::ObjectAction::Create));
    let (_, changed) = event(&mut of_one).await;
    let mut fields: Vec<_> = changed.changes.iter().map(|one| (one.key.as_str(), one.action())).collect();
    fields.sort_unstable_by_key(|(key, _)| *key);
    assert_eq!(fields, [("a", pb::FieldAction::Delete), ("b", pb::FieldAction::Create)]);
    assert_eq!((changed.emitted[0].topic.as_str(), &changed.emitted[0].payload[..]), ("t", &b"[1]"[..]));
    assert_eq!(event(&mut of_some).await.1.object, "p");
}

async fn from_one_protocol_to_the_other(server: Server) {
    let class = Class::deploy(&server, "Told", guests::counter(), "").await;
    let grpc = Grpc::to(&server).await;
    let object = class.object("o");
    for n in 1..=6 {
        object.patch(&json!({ "n": n })).send().await.ok();
    }
    let mut by_grpc = watch(&grpc, asked(&class, Some(Scope::Object("o".into())), "oldest")).await;
    for version in 1..=2 {
        assert_eq!(event(&mut by_grpc).await.1.version, version);
    }
    let (id, third) = event(&mut by_grpc).await;
    assert_eq!(third.version, 3);
    let path = format!("/classes/{}/objects/o/events", class.name);
    let mut by_rest = Events::watch(&class.http, &path, Some(&id)).await;
    let fourth = by_rest.event().await;
    assert_eq!(fourth["version"], 4);
    let mut again = watch(&grpc, asked(&class, Some(Scope::Object("o".into())), by_rest.last())).await;
    assert_eq!(event(&mut again).await.1.version, 5);
    // and both get the same id for the same event
    let (id, sixth) = event(&mut again).await;
    by_rest.event().await;
    let sixth_by_rest = by_rest.event().await;
    assert_eq!(
        (sixth_by_rest["version"].as_u64(), sixth_by_rest["id"].as_str()),
        (Some(sixth.version), Some(&*id))
    );
}

async fn gaps_and_ends(server: Server) {
    let class = Class::deploy(&server, "Told", guests::counter(), "").await;
    let grpc = Grpc::to(&server).await;
    let mut stream = watch(&grpc, asked(&class, None, "")).await;
    class.object("o").put(&json!({})).send().await.expect(201);
    let (last, _) = event(&mut stream).await;
    class.http.delete(format!("{}?purge=true", class.path())).send().await.expect(204);
    let end = next(&mut stream).await.unwrap_err();
    assert_eq!(end.code(), Code::NotFound, "{end:?}");
    class.redeploy(guests::counter(), "").await.expect(201);
    // it is another class: the id is of none of its events
    let mut stream = watch(&grpc, asked(&class, None, &last)).await;
    let (_, gap) = next(&mut stream).await.unwrap();
    assert_eq!(gap, Told::Gap(pb::Gap { reason: pb::GapReason::UnknownId as i32 }));
    class.object("o").put(&json!({})).send().await.expect(201);
    assert_eq!(event(&mut stream).await.1.action(), pb::ObjectAction::Create);
}

async fn refusals(server: Server) {
    let class = Class::deploy(&server, "Told", guests::counter(), "").await;
    let mut events = Grpc::to(&server).await.events;
    let object = |id: &str| Some(Scope::Object(id.to_owned()));
    for (scope, since) in [(object(".bad"), ""), (None, "nonsense"), (Some(Scope::Prefix(".a".into())), "")] {
        let refused = events.watch(asked(&class, scope, since)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    }
    let nobody = pb::WatchRequest { class_name: "Nobody".to_owned(), ..asked(&class, None, "") };
    assert_eq!(events.watch(nobody).await.unwrap_err().code(), Code::NotFound);
}

/// A gateway that stops ends streams of every kind, says so, and does not wait for their readers.
#[test]
fn a_gateway_that_stops_ends_its_streams() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;

    for kind in [Kind::Embedded, Kind::Apart] {
        run(async {
            let server = Server::start(kind).await;
            let _shown = server.show_logs_on_panic();
            let class = Class::deploy(&server, "Told", guests::counter(), "").await;
            let grpc = Grpc::to(&server).await;
            let mut stream = watch(&grpc, asked(&class, None, "")).await;
            let mut health = HealthClient::new(grpc.channel.clone());
            let mut health = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
            health.message().await.unwrap().unwrap();
            let mut gateway = server.take_gateway();
            gateway.terminate();
            let end = next(&mut stream).await.unwrap_err();
            assert_eq!(end.code(), Code::Unavailable, "{end:?}");
            // it may say that it does not serve any more before it ends
            let end = timeout(PATIENCE, async {
                loop {
                    match health.message().await {
                        Ok(message) => assert!(message.is_some(), "it ends with a reason"),
                        Err(end) => return end,
                    }
                }
            });
            assert_eq!(end.await.expect("it ends").code(), Code::Unavailable);
            // less than the drain takes when something is still under way
            assert!(gateway.ended(Duration::from_secs(12)).await.success());
        });
    }
}
