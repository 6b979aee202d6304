//! Every commit tells one event: what happened to the object and to each field, and what the guest emitted. Whoever
//! watches the object, its class or a prefix of ids gets the events in the order of the commits, once each.

use std::time::Duration;

use oprc_mesh::limits::{EMIT_BYTES_MAX, EMITS_MAX};
use oprc_mesh::outcome::Code;
use oprc_mesh::testing::Stranger;
use oprc_tests::{
    Class, Events, Kind, PATIENCE, Process, Server, both, brief, eventually, guests, run, run_on,
};
use serde_json::{Value, json};
use tokio::time::timeout;

both!(through_rest, through_methods, emits, prefixes_and_keys, refusals, removal, the_command, heads);

fn path(class: &Class, object: &str) -> String {
    format!("/classes/{}/objects/{object}/events", class.name)
}

fn told(object: &str, version: u64, action: &str, changes: &[&str]) -> (String, u64, String, Vec<String>) {
    (object.into(), version, action.into(), changes.iter().map(|&change| change.to_owned()).collect())
}

async fn through_rest(server: Server) {
    let class = Class::deploy(&server, "Told", guests::counter(), "").await;
    let mut events = Events::watch(&class.http, &path(&class, "a"), None).await;
    let mut all = Events::watch(&class.http, &format!("/classes/{}/events", class.name), None).await;
    let object = class.object("a");
    object.put(&json!({ "x": 1, "y": 2 })).send().await.expect(201);
    object.patch(&json!({ "x": 2, "z": 3, "y": { "$delete": true } })).send().await.expect(200);
    object.field("PUT", "w").octets("5").send().await.expect(204);
    object.field("DELETE", "w").send().await.expect(204);
    object.put(&json!({ "x": 3, "n": 1 })).send().await.expect(200);
    // what changes nothing, or is refused, tells nothing
    object.put(&json!({})).header("if-match", "\"1.1\"").send().await.expect(412);
    object.delete().send().await.expect(204);
    object.put(&json!({ "x": 1 })).send().await.expect(201);
    let expected = [
        told("a", 1, "create", &["x:create", "y:create"]),
        told("a", 2, "update", &["x:update", "z:create", "y:delete"]),
        told("a", 3, "update", &["w:create"]),
        told("a", 4, "update", &["w:delete"]),
        told("a", 5, "replace", &["x:update", "n:create"]),
        told("a", 6, "delete", &[]),
        told("a", 1, "create", &["x:create"]),
    ];
    for stream in [&mut events, &mut all] {
        for expected in &expected {
            let event = stream.event().await;
            let (object, version, action, mut changes) = brief(&event);
            let mut wanted = expected.clone();
            changes.sort();
            wanted.3.sort();
            assert_eq!((object, version, action, changes), wanted);
            assert_eq!(event["class"], class.name.as_str());
            assert!(event["incarnation"].is_u64() && event["emitted"] == json!([]), "{event}");
        }
    }
}

async fn through_methods(server: Server) {
    let class = Class::deploy(&server, "Told", guests::prober(), "").await;
    let mut events = Events::watch(&class.http, &path(&class, "o"), None).await;
    let run = async |steps: Value| class.object("o").invoke("run", json!([steps])).await.expect(200);
    run(json!([{ "set": ["a", "1"] }, { "set": ["b", "1"] }])).await;
    run(json!([{ "set": ["a", "2"] }, { "delete": "b" }, { "set": ["c", "1"] }])).await;
    run(json!([{ "get": "a" }])).await; // reads tell nothing
    class.object("o").invoke("explode", json!({})).await.problem(Code::Trap); // nor do turns that fail
    run(json!([{ "clear": true }, { "set": ["d", "1"] }])).await;
    run(json!([{ "clear": true }])).await;
    for expected in [
        told("o", 1, "create", &["a:create", "b:create"]),
        told("o", 2, "update", &["a:update", "b:delete", "c:create"]),
        told("o", 1, "recreate", &["d:create"]),
        told("o", 2, "delete", &[]),
    ] {
        assert_eq!(brief(&events.event().await), expected);
    }
}

async fn emits(server: Server) {
    let class = Class::deploy(&server, "Told", guests::prober(), "").await;
    let mut events = Events::watch(&class.http, &path(&class, "o"), None).await;
    let run = async |steps: Value| class.object("o").invoke("run", json!([steps])).await;
    // before there is an object, and without making one
    run(json!([{ "emit": ["early", "[1,\n 2]"] }])).await.expect(200);
    class.object("o").get().await.expect(404);
    run(json!([{ "set": ["a", "1"] }, { "emit": ["x", "text"] }, { "emit": ["y", "{}"] }])).await.expect(200);
    let only = run(json!([{ "emit": ["only", "1"] }])).await.expect(200);
    assert_eq!((only.version(), class.object("o").version().await), (1, 1), "a version is a change");
    run(json!([{ "emit": ["last", "1"] }, { "clear": true }])).await.expect(200);
    let expected = [
        (told("o", 0, "none", &[]), json!([{ "topic": "early", "payload": [1, 2] }])),
        (
            told("o", 1, "create", &["a:create"]),
            json!([{ "topic": "x", "payload": { "$text": "text" } }, { "topic": "y", "payload": {} }]),
        ),
        (told("o", 1, "none", &[]), json!([{ "topic": "only", "payload": 1 }])),
        (told("o", 2, "delete", &[]), json!([{ "topic": "last", "payload": 1 }])),
    ];
    for (what, emitted) in expected {
        let event = events.event().await;
        assert_eq!((brief(&event), &event["emitted"]), (what, &emitted));
    }
    // as much as allowed, and one past it
    let many = async |count: usize, bytes: usize| {
        class.object("m").invoke("emit-many", json!({ "count": count, "bytes": bytes })).await
    };
    let mut events = Events::watch(&class.http, &path(&class, "m"), None).await;
    many(EMITS_MAX, 1).await.expect(204);
    many(EMITS_MAX + 1, 1).await.problem(Code::WriteLimit);
    many(1, EMIT_BYTES_MAX - 1).await.expect(204);
    many(1, EMIT_BYTES_MAX).await.problem(Code::WriteLimit);
    assert_eq!(events.event().await["emitted"].as_array().unwrap().len(), EMITS_MAX);
    let largest = events.event().await["emitted"][0]["payload"]["$text"].as_str().map(str::len);
    assert_eq!(largest, Some(EMIT_BYTES_MAX - 1));
}

async fn prefixes_and_keys(server: Server) {
    let class = Class::deploy(&server, "Told", guests::counter(), "").await;
    let of_class = format!("/classes/{}/events", class.name);
    let mut prefixed = Events::watch(&class.http, &format!("{of_class}?prefix=a"), None).await;
    let mut keyed = Events::watch(&class.http, &format!("{of_class}?keys=x%2F"), None).await;
    let mut one = Events::watch(&class.http, &format!("{}?keys=x", path(&class, "ab")), None).await;
    for id in ["ab", "b", "a", "ba"] {
        class.object(id).patch(&json!({ "x/1": 1 })).send().await.expect(201);
        class.object(id).patch(&json!({ "y": 1 })).send().await.expect(200);
    }
    class.object("b").delete().send().await.expect(204);
    class.object("ab").delete().send().await.expect(204);
    // of one object in order; of several, each in its own
    let objects = async |stream: &mut Events, count: usize| {
        let mut seen = Vec::new();
        for _ in 0..count {
            let (object, version, ..) = brief(&stream.event().await);
            seen.push((object, version));
        }
        seen.sort();
        seen
    };
    let pairs = |pairs: &[(&str, u64)]| -> Vec<(String, u64)> {
        pairs.iter().map(|(id, version)| ((*id).to_owned(), *version)).collect()
    };
    assert_eq!(
        objects(&mut prefixed, 5).await,
        pairs(&[("a", 1), ("a", 2), ("ab", 1), ("ab", 2), ("ab", 3)])
    );
    assert_eq!(
        objects(&mut keyed, 6).await,
        pairs(&[("a", 1), ("ab", 1), ("ab", 3), ("b", 1), ("b", 3), ("ba", 1)])
    );
    assert_eq!(objects(&mut one, 2).await, pairs(&[("ab", 1), ("ab", 3)]));
    for stream in [&mut prefixed, &mut keyed, &mut one] {
        stream.silent(Duration::from_millis(100)).await;
    }
}

async fn refusals(server: Server) {
    let class = Class::deploy(&server, "Told", guests::prober(), "readonly = [\"emit-many\"]").await;
    let of_class = format!("/api/v1/classes/{}/events", class.name);
    for query in ["prefix=.a", "since=nonsense", "keys=%00", "limit=5", "prefix=a&prefix=b"] {
        class.http.get(format!("{of_class}?{query}")).send().await.problem(Code::Invalid);
    }
    class.http.get(&of_class).header("last-event-id", "nonsense").send().await.problem(Code::Invalid);
    class.http.get("/api/v1/classes/Nobody/events").send().await.problem(Code::NotFound);
    class.http.get("/api/v1/classes/Nobody/objects/o/events").send().await.problem(Code::NotFound);
    class.http.post(&of_class).send().await.problem_with(Code::Invalid, 405);
    // to emit is to write
    let refused = class.object("o").invoke("emit-many", json!({ "count": 1, "bytes": 1 })).await;
    let detail = refused.problem(Code::Invalid)["detail"].to_string();
    assert!(detail.contains("emit in a read-only method"), "{detail}");
    let unbound = class.function("run").json(&json!([[{ "emit": ["t", "1"] }]])).send().await;
    assert!(unbound.problem(Code::Invalid)["detail"].to_string().contains("no object is bound"));
    for topic in ["", "a\nb", &"x".repeat(257)] {
        let misused = class.object("o").invoke("run", json!([[{ "emit": [topic, "1"] }]])).await;
        assert!(misused.problem(Code::Invalid)["detail"].to_string().contains("events.emit"));
    }
    let longest = "x".repeat(256);
    class.object("o").invoke("run", json!([[{ "emit": [longest, "1"] }]])).await.expect(200);
}

/// A stream ends with its class, and says so; a class that comes back is watched anew.
async fn removal(server: Server) {
    let class = Class::deploy(&server, "Told", guests::counter(), "").await;
    let mut events = Events::watch(&class.http, &path(&class, "o"), None).await;
    class.object("o").put(&json!({})).send().await.expect(201);
    events.event().await;
    let last = events.last().to_owned();
    class.http.delete(format!("{}?purge=true", class.path())).send().await.expect(204);
    assert_eq!(events.named("end").await["reason"], "class-removed");
    assert_eq!(events.next().await, None);
    class.http.get(format!("/api/v1{}", path(&class, "o"))).send().await.problem(Code::NotFound);
    class.redeploy(guests::counter(), "").await.expect(201);
    // it is another class: the id is of none of its events
    let mut events = Events::watch(&class.http, &path(&class, "o"), Some(&last)).await;
    assert_eq!(events.named("gap").await["reason"], "unknown-id");
    class.object("o").put(&json!({})).send().await.expect(201);
    assert_eq!(brief(&events.event().await), told("o", 1, "create", &[]));
}

async fn the_command(server: Server) {
    let class = Class::deploy(&server, "Told", guests::prober(), "").await;
    let object = format!("{}/o", class.name);
    class.object("o").patch(&json!({ "a": 1 })).send().await.expect(201);
    class.object("p").patch(&json!({ "a": 1 })).send().await.expect(201);
    class
        .object("o")
        .invoke("run", json!([[{ "set": ["a", "2"] }, { "emit": ["t", "[1]"] }]]))
        .await
        .expect(200);
    let watch = ["watch", &object, "--since", "oldest", "--limit", "2"];
    let lines = server.cli(&watch).await.ok();
    assert_eq!(lines, format!("{object} 1 create +a\n{object} 2 update ~a t=[1]\n"));
    let json = server.cli(&[&watch[..], &["--output", "json"]].concat()).await.ok();
    let events: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&events[0]["version"], &events[1]["emitted"][0]["topic"]), (&json!(1), &json!("t")));
    let since = events[0]["id"].as_str().unwrap();
    let rest = server.cli(&["watch", &object, "--since", since, "--limit", "1"]).await.ok();
    assert_eq!(rest, format!("{object} 2 update ~a t=[1]\n"));
    let prefixed =
        server.cli(&["watch", &class.name, "--prefix", "p", "--since", "oldest", "--limit", "1"]).await.ok();
    assert_eq!(prefixed, format!("{}/p 1 create +a\n", class.name));
    server.cli(&["watch", "Nobody"]).await.fails(1);
    server.cli(&["watch", &object, "--since", "nonsense"]).await.fails(1);
    server.cli(&["watch", &object, "--prefix", "p"]).await.fails(2);
}

async fn heads(server: Server) {
    let class = Class::deploy(&server, "Told", guests::counter(), "").await;
    let reply = class.http.call("HEAD", format!("/api/v1{}", path(&class, "o"))).send().await.expect(200);
    assert_eq!((reply.header("content-type"), reply.body.len()), (Some("text/event-stream"), 0));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
}

/// A gateway that stops ends its streams, says why, and does not wait for their readers.
#[test]
fn a_gateway_that_stops_ends_its_streams() {
    for kind in [Kind::Embedded, Kind::Apart] {
        run(async {
            let server = Server::start(kind).await;
            let _shown = server.show_logs_on_panic();
            let class = Class::deploy(&server, "Told", guests::counter(), "").await;
            let mut events = Events::watch(&class.http, &path(&class, "o"), None).await;
            let mut gateway = server.take_gateway();
            gateway.terminate();
            assert_eq!(events.named("end").await["reason"], "stopping");
            assert_eq!(events.next().await, None);
            let status = gateway.ended(Duration::from_mins(1)).await;
            assert_eq!(status.code(), Some(0), "{}", gateway.log());
        });
    }
}

/// Any Zenoh client gets the same events as JSON, in order, from the moment on at which it is noticed.
#[test]
fn a_stranger_on_the_mesh_gets_them() {
    run_on(Kind::Apart, |server| async move {
        let class = Class::deploy(&server, "Told", guests::counter(), "").await;
        let key = format!("oprc/events/{}/*", class.name);
        let mut stranger =
            Stranger::link(&server.mesh_endpoint(), &server.secret().shown(false)).await.unwrap();
        stranger.hear(&key).await.unwrap();
        let mut watched = Events::watch(&class.http, &path(&class, "o"), None).await;
        let write = async || class.object("o").field("PUT", "n").octets("1").send().await.ok();
        let mut first = None;
        while first.is_none() {
            write().await;
            first = timeout(Duration::from_millis(200), stranger.next()).await.ok().flatten();
        }
        let (key, document) = first.unwrap();
        assert_eq!(key, format!("oprc/events/{}/o", class.name));
        let mut last: Value = serde_json::from_slice(&document).unwrap();
        for _ in 0..20 {
            write().await;
        }
        let version = class.object("o").version().await;
        while last["version"].as_u64() < Some(version) {
            let next = timeout(PATIENCE, stranger.next()).await.expect("events come").unwrap();
            let event: Value = serde_json::from_slice(&next.1).unwrap();
            assert_eq!(event["version"].as_u64(), last["version"].as_u64().map(|version| version + 1));
            last = event;
        }
        // its id is one to go on from, and its document the one that streams have
        let mut streamed = watched.event().await;
        while streamed["version"] != last["version"] {
            streamed = watched.event().await;
        }
        assert_eq!(streamed, last);
        stranger.leave().await;
    });
}

/// `oprc watch` outlives its server.
#[test]
fn the_command_goes_on_by_itself() {
    run(async {
        let server = Server::start(Kind::Embedded).await;
        let _shown = server.show_logs_on_panic();
        let class = Class::deploy(&server, "Told", guests::counter(), "").await;
        let address = format!("{}/o", class.name);
        let write = async |count: u64| {
            class.object("o").patch(&json!({ "n": count })).send().await.ok();
        };
        write(1).await;
        let url = server.url();
        let args =
            ["watch", &address, "--server", &url, "--since", "oldest", "--limit", "4", "--output", "json"];
        let log = server.scratch().join("watch.log");
        let mut watch = Process::spawn("watch", &args.map(str::to_owned), &log);
        let versions = || -> Vec<u64> {
            let log = watch.log();
            let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            events.filter_map(|event| event["version"].as_u64()).collect()
        };
        eventually("the first is seen", || async { (versions() == [1]).then_some(()) }).await;
        write(2).await;
        server.kill_host();
        server.launch().await;
        write(3).await;
        write(4).await;
        eventually("all are seen", || async { (versions() == [1, 2, 3, 4]).then_some(()) }).await;
        assert_eq!(watch.ended(PATIENCE).await.code(), Some(0), "{}", watch.log());
    });
}
