//! Classes as they are deployed.

use oprc_mesh::canary::Served;
use oprc_mesh::id::Digest;
use reqwest::Method;
use serde_json::json as value;

use crate::fake::settings;
use crate::running::{cluster, json, problem, serve, start, text};

#[tokio::test]
async fn classes_are_listed_in_name_order_by_pages() {
    let server = start().await;
    for name in ["Account", "Kv"] {
        server.fake.put_class(name, Digest::of(name.as_bytes()), settings());
    }
    server.mesh.announce_catalog(server.fake.view().into());
    let page = json(server.get("/classes?limit=2"), 200).await;
    let names: Vec<_> =
        page["items"].as_array().unwrap().iter().map(|class| class["class"].clone()).collect();
    assert_eq!(names, ["Account", "Counter"]);
    let rest =
        json(server.get(&format!("/classes?limit=2&cursor={}", page["next"].as_str().unwrap())), 200).await;
    assert_eq!((&rest["items"][0]["class"], &rest["next"]), (&"Kv".into(), &value!(null)));
    assert_eq!(rest["items"][0]["digest"], Digest::of(b"Kv").to_string());
    let counters = json(server.get("/classes?prefix=C"), 200).await;
    assert_eq!(counters["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_class_is_described_with_its_methods() {
    let server = start().await;
    let class = json(server.get("/classes/Counter"), 200).await;
    assert_eq!(
        (&class["class"], &class["version"], &class["grid"]),
        (&"Counter".into(), &1.into(), &"default".into())
    );
    assert_eq!(class["limits"]["cpu_ms"], 500);
    assert_eq!(
        class["methods"],
        value!([
            {
                "name": "increment",
                "signature": "increment: func(by: u64) -> u64",
                "params": [{"name": "by", "type": "u64"}],
                "result": "u64",
                "readonly": false
            },
            {"name": "reset", "signature": "reset: func()", "params": [], "result": null, "readonly": false}
        ])
    );
    problem(server.get("/classes/Nobody"), 404, "not-found").await;
}

#[tokio::test]
async fn versions_are_listed_oldest_first() {
    let server = start().await;
    server.fake.put_class("Counter", Digest::of(b"two"), settings());
    let page = json(server.get("/classes/Counter/versions?limit=1"), 200).await;
    assert_eq!(page["items"][0]["version"], 1);
    let next = page["next"].as_str().unwrap();
    let page = json(server.get(&format!("/classes/Counter/versions?cursor={next}")), 200).await;
    assert_eq!((&page["items"][0]["version"], &page["next"]), (&2.into(), &value!(null)));
    problem(server.get("/classes/Counter/versions?prefix=1"), 400, "invalid").await;
}

#[tokio::test]
async fn a_rollback_names_a_version_or_takes_the_one_before() {
    let server = start().await;
    for name in [b"two".as_slice(), b"three"] {
        server.fake.put_class("Counter", Digest::of(name), settings());
    }
    let digest = |name: &[u8]| Digest::of(name).to_string();
    let back = json(server.post("/classes/Counter/rollback", ""), 201).await;
    assert_eq!((&back["version"], &back["digest"]), (&4.into(), &digest(b"two").into()));
    // what follows the answer finds it
    assert_eq!(json(server.get("/classes/Counter"), 200).await["version"], 4);
    let back = json(server.post("/classes/Counter/rollback", "{\"to\": 3}"), 201).await;
    assert_eq!((&back["version"], &back["digest"]), (&5.into(), &digest(b"three").into()));
    let same = json(server.post("/classes/Counter/rollback", "{\"to\": 5}"), 200).await;
    assert_eq!(same["version"], 5);
    problem(server.post("/classes/Counter/rollback", "{\"to\": 9}"), 404, "not-found").await;
    problem(server.post("/classes/Nobody/rollback", ""), 404, "not-found").await;
    problem(server.post("/classes/Counter/rollback", "{\"version\": 3}"), 400, "invalid").await;
    problem(server.post("/classes/Counter/rollback?to=3", ""), 400, "invalid").await;
}

#[tokio::test]
async fn a_canary_is_deployed_shown_and_promoted() {
    let server = start().await;
    let put = |query: &str, component: &'static [u8]| {
        let request = server.request(Method::PUT, &format!("/classes/Counter{query}"));
        request.header("content-type", "application/wasm").body(component)
    };
    for query in ["?canary=0", "?canary=100", "?canary=ten", "?canary=1&canary=2"] {
        problem(put(query, b"two"), 400, "invalid").await;
    }
    problem(server.post("/classes/Counter/promote", ""), 409, "conflict").await;
    let digest = Digest::of(b"two").to_string();
    let answer = json(put("?canary=10&readonly=increment", b"two"), 201).await;
    assert_eq!(
        (&answer["version"], &answer["canary"], &answer["digest"]),
        (&2.into(), &10.into(), &digest.clone().into())
    );
    let class = json(server.get("/classes/Counter"), 200).await;
    assert_eq!((&class["version"], &class["canary"]["share"]), (&1.into(), &10.into()));
    assert_eq!((&class["canary"]["version"], &class["canary"]["digest"]), (&2.into(), &digest.into()));
    let listed = json(server.get("/classes?prefix=Counter"), 200).await;
    assert_eq!(listed["items"][0]["canary"], class["canary"]);
    // what the gateway expects of a method is what serves the object has settled
    let view = server.fake.view();
    for n in 0..40 {
        let id = format!("o{n}");
        let call = server.post(&format!("/classes/Counter/objects/{id}/invoke/increment"), "{}");
        let _ = call.send().await.unwrap();
        let invoke = server.fake.invocations().pop().unwrap();
        let object = id.parse().unwrap();
        let canary = view.class("Counter").unwrap().serving(Served::Object(&object)).version == 2;
        assert_eq!(invoke.readonly, Some(canary), "{id}");
    }
    let promoted = json(server.post("/classes/Counter/promote", ""), 201).await;
    assert_eq!((&promoted["version"], promoted.get("canary")), (&2.into(), None));
    let class = json(server.get("/classes/Counter"), 200).await;
    assert_eq!((&class["version"], class.get("canary")), (&2.into(), None));
    problem(server.post("/classes/Nobody/promote", ""), 404, "not-found").await;
    problem(server.post("/classes/Counter/promote?to=1", ""), 400, "invalid").await;
}

#[tokio::test]
async fn a_removed_class_is_gone_when_the_answer_comes() {
    let server = start().await;
    problem(server.request(Method::DELETE, "/classes/Counter?purge=maybe"), 400, "invalid").await;
    assert_eq!(text(server.request(Method::DELETE, "/classes/Counter?purge=true"), 204).await, "");
    problem(server.get("/classes/Counter"), 404, "not-found").await;
    problem(server.request(Method::DELETE, "/classes/Counter"), 404, "not-found").await;
}

#[tokio::test]
async fn a_class_that_only_hosts_know_yet_is_asked_for() {
    let (mesh, fake) = cluster().await;
    let server = serve(oprc_gateway::GatewayConfig::default(), mesh, fake).await;
    server.fake.put_class("Late", Digest::of(b"late"), settings());
    assert_eq!(server.mesh.directory().view().revision, 0);
    assert_eq!(text(server.post("/classes/Late/functions/echo", "5"), 200).await, "5");
    server.fake.put_class("Later", Digest::of(b"later"), settings());
    assert_eq!(json(server.get("/classes/Later"), 200).await["version"], 1);
}
