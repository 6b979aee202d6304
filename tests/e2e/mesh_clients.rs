//! The key space `oprc/api/...` for clients that speak Zenoh, and who is let in there.

use std::time::Instant;

use oprc_mesh::testing::{Manner, Query, Stranger};
use oprc_tests::mesh::Asker;
use oprc_tests::{Class, Cli, Events, Kind, PATIENCE, Server, eventually, guests, run};
use serde_json::{Value, json};

use crate::access::{close, key};

async fn asked(kind: Kind) -> (Server, Asker) {
    let server = Server::prepare(kind);
    server.set_asked();
    server.launch().await;
    let asker = server.asker(None).await;
    (server, asker)
}

async fn calls_and_reads(kind: Kind) {
    let (server, asker) = asked(kind).await;
    let _shown = server.show_logs_on_panic();
    let class = Class::deploy(&server, "Asked", guests::prober(), "readonly = [\"value\"]").await;
    // whatever an id may hold stands in the key as it is
    let id = "a.b:c@d~e+f=g-h_1";
    let at = |rest: &str| format!("oprc/api/{}/objects/{id}{rest}", class.name);
    let add = at("/invokes/add");
    let answer = asker.ask(&add, Some(&json!({ "by": 5 })), json!({})).await.unwrap();
    assert_eq!((&*answer.payload, answer.encoding.as_str()), (&b"5"[..], "application/json"));
    assert_eq!((&answer.about["version"], &answer.about["class-version"]), (&json!(1), &json!(1)));
    assert!(answer.about["invocation-id"].is_string() && answer.about["replayed"].is_null());

    let about = json!({ "idempotency-key": "k", "timeout-ms": 30_000 });
    for replayed in [false, true] {
        let answer = asker.ask(&add, Some(&json!([2])), about.clone()).await.unwrap();
        assert_eq!((&*answer.payload, &answer.about["invocation-id"]), (&b"7"[..], &json!("k")));
        assert_eq!(answer.about["replayed"] == true, replayed);
    }
    let read =
        asker.ask_with(&at(""), Query::default(), json!({ "consistency": "linearizable" })).await.unwrap();
    let reply = class.object(id).get().await;
    assert_eq!((reply.status, &read.payload), (200, &reply.body));
    assert_eq!(read.about["etag"], reply.etag());
    let stale = asker.ask(&at("/invokes/value"), None, json!({ "consistency": "stale" })).await.unwrap();
    assert_eq!((&*stale.payload, stale.about["stale-ms"].is_u64()), (&b"7"[..], true));

    // fields hold what keys of Zenoh may not
    class.object(id).field("PUT", "*/$?#@").octets("\u{0}x").send().await.ok();
    let field = asker.ask_with(&at("/fields/%2A%2F%24%3F%23%40"), Query::default(), json!({})).await.unwrap();
    assert_eq!((&*field.payload, field.encoding.as_str()), (&b"\0x"[..], "application/octet-stream"));

    let raw =
        Query { payload: vec![1, 2, 3], encoding: "application/octet-stream".into(), ..Query::default() };
    let count = asker.ask_with(&at("/invokes/swallow"), raw, json!({})).await.unwrap();
    assert_eq!(&*count.payload, b"3");
    let blob = json!({ "accept": "application/octet-stream" });
    let blob = asker.ask(&at("/invokes/blob"), Some(&json!([2])), blob).await.unwrap();
    assert_eq!((&*blob.payload, blob.encoding.as_str()), (&[7, 7][..], "application/octet-stream"));
    let nothing = asker.ask(&at("/invokes/say"), Some(&json!(["", ""])), json!({})).await.unwrap();
    assert_eq!((nothing.payload.len(), nothing.encoding.as_str()), (0, "zenoh/bytes"));
    let function = asker.ask(&format!("oprc/api/{}/invokes/generation", class.name), None, json!({})).await;
    assert_eq!(serde_json::from_slice::<Value>(&function.unwrap().payload).unwrap(), guests::generation(0));
}

async fn what_is_not_meant_is_refused(kind: Kind) {
    let (server, asker) = asked(kind).await;
    let _shown = server.show_logs_on_panic();
    let class = Class::deploy(&server, "Asked", guests::prober(), "").await;
    class.object("o").invoke("add", json!({ "by": 1 })).await.expect(200);
    let at = |rest: &str| format!("oprc/api/{}{rest}", class.name);
    let add = at("/objects/o/invokes/add");
    for (key, about, code, word) in [
        ("oprc/api/**".to_owned(), json!({}), "invalid", "wildcard"),
        (at("/objects/*"), json!({}), "invalid", "wildcard"),
        (at("/objects/*/invokes/add"), json!({}), "invalid", "wildcard"),
        (at("/objects/.o"), json!({}), "invalid", "object id"),
        (at("/objects"), json!({}), "not-found", "nothing has this key"),
        (at("/objects/o/keys/n"), json!({}), "not-found", "nothing has this key"),
        (at("/objects/o/fields/none"), json!({}), "not-found", "field"),
        (format!("{add}?by=1"), json!({}), "invalid", "parameter"),
        (add.clone(), json!({ "timeout": 5 }), "invalid", "timeout"),
        (add.clone(), json!({ "timeout-ms": 0 }), "invalid", "Timeout"),
        (add.clone(), json!({ "idempotency-key": "a b" }), "invalid", "Idempotency-Key"),
        (at("/invokes/generation"), json!({ "consistency": "stale" }), "invalid", "consistency"),
    ] {
        let problem = asker.ask_with(&key, Query::default(), about).await.unwrap_err();
        assert_eq!(problem["code"], code, "{key}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(word), "{key}: {problem}");
        assert!(problem["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{key}: {problem}");
    }
    let image = Query { payload: b"x".into(), encoding: "image/png".into(), ..Query::default() };
    let problem = asker.ask_with(&add, image, json!({})).await.unwrap_err();
    assert_eq!((&problem["status"], &problem["operation"]), (&json!(415), &json!("invoke")));
    let body = Query { payload: b"{}".into(), ..Query::default() };
    let problem = asker.ask_with(&at("/objects/o"), body, json!({})).await.unwrap_err();
    assert_eq!((&problem["code"], &problem["operation"]), (&json!("invalid"), &json!("read object")));
    assert_eq!(class.object("o").fields().await, json!({ "n": 1 }), "none of it ran");
}

async fn events_are_heard(kind: Kind) {
    let (server, mut asker) = asked(kind).await;
    let _shown = server.show_logs_on_panic();
    let class = Class::deploy(&server, "Asked", guests::prober(), "").await;
    // a client has its one link, and hosts publish on theirs
    let endpoint = if kind == Kind::Apart { server.mesh_endpoint() } else { server.asked_endpoint() };
    asker.stranger = Stranger::link(&endpoint, &server.secret().shown(true)).await.unwrap();
    asker.stranger.hear(&format!("oprc/events/{}/*", class.name)).await.unwrap();
    let path = format!("/classes/{}/objects/o/events", class.name);
    let mut watched = Events::watch(&class.http, &path, None).await;
    let heard = eventually("an event is heard", || {
        let add = class.object("o").method("add").json(&json!({ "by": 1 }));
        let heard = asker.stranger.heard();
        async move {
            if heard.is_none() {
                add.send().await.expect(200);
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            heard
        }
    })
    .await;
    assert_eq!(heard.0, format!("oprc/events/{}/o", class.name));
    let heard: Value = serde_json::from_slice(&heard.1).unwrap();
    while watched.event().await["version"] != heard["version"] {}
}

/// Whoever has not the secret gets no link, at any port of the mesh; who has it still needs a key.
async fn nothing_without_secret_and_key(kind: Kind) {
    let server = Server::prepare(kind);
    let root = close(&server, &["--mesh-listen", &server.asked_endpoint()]).await;
    let _shown = server.show_logs_on_panic();
    let class = Class::deploy(&root, "Closed", guests::prober(), "").await;
    let add = format!("oprc/api/{}/objects/o/invokes/add", class.name);
    let read = format!("oprc/api/{}/objects/o", class.name);

    let mut endpoints = vec![server.asked_endpoint()];
    if kind == Kind::Apart {
        endpoints.push(server.mesh_endpoint());
    }
    let wrong = Some(("oprc".to_owned(), "0".repeat(32)));
    let mut outsiders = Vec::new();
    for endpoint in &endpoints {
        for shown in [None, wrong.clone()] {
            let client = Manner { client: true, shown: shown.clone(), ..Manner::default() };
            assert!(Stranger::link(endpoint, &client).await.is_err(), "{endpoint} {shown:?}");
            // a peer goes on trying
            let peer = Stranger::link(endpoint, &Manner { client: false, ..client }).await.unwrap();
            peer.hear("**").await.unwrap();
            outsiders.push(peer);
        }
    }
    let mut member = server.asker(None).await;
    for key in [&add, &read] {
        for about in [json!({}), json!({ "key": "oprc_1_2" }), json!({ "key": "" })] {
            let problem = member.ask_with(key, Query::default(), about).await.unwrap_err();
            assert_eq!(problem["code"], "unauthenticated", "{problem}");
        }
    }
    class.object("o").get().await.expect(404);
    // with both it is served as far as the key goes
    let (_, reader) = key(&root, &[format!("read:{}", class.name)]).await;
    let reader = server.asker(Some(&reader.authorization().unwrap()["Bearer ".len()..])).await;
    let operator = server.asker(root.authorization().and_then(|shown| shown.strip_prefix("Bearer "))).await;
    operator.ask(&add, Some(&json!([5])), json!({})).await.unwrap();
    reader.ask_with(&read, Query::default(), json!({})).await.unwrap();
    assert_eq!(reader.ask(&add, Some(&json!([5])), json!({})).await.unwrap_err()["code"], "denied");

    for outsider in &mut outsiders {
        assert_eq!(outsider.links().await, 0);
        for key in [&add, &read] {
            assert!(outsider.ask(key, Query::default()).await.unwrap().is_empty(), "nobody hears it");
        }
        assert_eq!(outsider.heard(), None, "it hears of nothing");
    }
    // nor does anybody hear of it; it hears itself
    member.stranger.hear("oprc/n/**").await.unwrap();
    for outsider in &mut outsiders {
        outsider.put_frame(1, "oprc/n/1/call", vec![b"x".as_slice().into()]).await.unwrap();
        assert!(outsider.next().await.is_some());
    }
    while let Some((key, _)) = member.stranger.heard() {
        assert_ne!(key, "oprc/n/1/call");
    }
    assert_eq!(class.object("o").fields().await, json!({ "n": 5 }));
}

macro_rules! both_shapes {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn embedded() {
                super::run(super::$name(super::Kind::Embedded));
            }

            #[test]
            fn apart() {
                super::run(super::$name(super::Kind::Apart));
            }
        }
    )+};
}

both_shapes!(calls_and_reads, what_is_not_meant_is_refused, events_are_heard, nothing_without_secret_and_key);

/// A client of a router is answered by one of the gateways behind it, and hears the hosts behind it.
#[test]
fn behind_a_router() {
    run(async {
        let server = Server::start(Kind::Apart).await;
        let _shown = server.show_logs_on_panic();
        let (_router, endpoint) = crate::apart::router_joining(&server);
        let (_gateway, _) = crate::apart::gateway_joining(&server, &endpoint).await;
        let class = Class::deploy(&server, "Asked", guests::prober(), "").await;
        let mut stranger = Stranger::link(&endpoint, &server.secret().shown(true)).await.unwrap();
        stranger.hear(&format!("oprc/events/{}/*", class.name)).await.unwrap();
        let key = format!("oprc/api/{}/objects/o/invokes/add", class.name);
        let (mut answers, begun) = (0, Instant::now());
        while answers == 0 || stranger.heard().is_none() {
            assert!(begun.elapsed() < PATIENCE, "{answers} answers, and no event is heard");
            let query = Query { payload: b"[1]".into(), ..Query::default() };
            let heard = stranger.ask(&key, query).await.unwrap();
            assert!(heard.len() <= 1, "one gateway answers: {heard:?}");
            answers += usize::from(heard.iter().any(|heard| heard.ok));
        }
        assert_eq!(class.object("o").fields().await, json!({ "n": answers }), "each question ran once");
    });
}

/// A start where whoever comes would be let in takes a word that this is meant.
#[test]
fn an_open_mesh_is_meant() {
    run(async {
        let server = Server::prepare(Kind::Embedded);
        let place = server.scratch();
        let line = async |args: &[&str]| Cli::run(args, place, &[], None).await.fails(2);
        let public = ["--mesh-listen", "tcp/0.0.0.0:0"];
        for role in [&["host", "--data-dir", "d"][..], &["router"], &["up", "--data-dir", "d"]] {
            let told = line(&[role, &public].concat()).await;
            assert!(told.contains("tcp/0.0.0.0:0") && told.contains("--mesh-secret-file"), "{told}");
        }
        let local = ["--mesh-listen", "tcp/127.0.0.1:0"];
        let told = line(&[&["up", "--data-dir", "d", "--auth"][..], &local].concat()).await;
        assert!(told.contains("--allow-anonymous-mesh"), "{told}");
        let told = line(&["router", "--mesh-secret", "short"]).await;
        assert!(told.contains("32"), "{told}");
        let open = place.join("open");
        std::fs::write(&open, "0123456789abcdef0123456789abcdef").unwrap();
        let told = line(&["router", "--mesh-secret-file", open.to_str().unwrap()]).await;
        assert!(told.contains("chmod 600"), "{told}");
        assert!(!place.join("d").exists(), "nothing was begun");
    });
}
