//! A deleted object is gone, and one made anew under its id shares nothing with it: no field shines through, its `ETag`
//! is another, and conditions on the old one fail.

use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Object, Server, both, guests, tag};
use serde_json::json;

both!(deleted_and_recreated, by_a_method, within_one_turn, absent_things, many_times);

async fn fresh(server: &Server) -> Object {
    Class::deploy(server, "Phoenix", guests::prober(), "").await.object("o")
}

async fn deleted_and_recreated(server: Server) {
    let object = fresh(&server).await;
    object.put(&json!({ "old": 1, "shared": "old" })).send().await.expect(201);
    let old = object.get().await.expect(200).etag();
    object.delete().send().await.ok();

    object.get().await.problem(Code::NotFound);
    object.field("GET", "old").send().await.problem(Code::NotFound);
    object.class.http.get(format!("{}/fields", object.path())).send().await.problem(Code::NotFound);
    let listed =
        object.class.http.get(format!("{}/objects", object.class.path())).send().await.expect(200).json();
    assert_eq!(listed, json!({ "items": [], "next": null }));
    // a method may look at it; looking does not make it
    let seen = object.invoke("run", json!([[{ "get": "old" }, { "scan": ["", "", 10] }]])).await.expect(200);
    assert_eq!((seen.json(), seen.version()), (json!(["none", ""]), 0));
    object.get().await.problem(Code::NotFound);

    object.patch(&json!({ "shared": "new" })).send().await.expect(201);
    let new = object.get().await.expect(200);
    assert_eq!(new.json()["fields"], json!({ "shared": "new" }), "no old field shines through");
    assert_eq!(new.json()["version"], 1, "versions count from one again");
    assert!(tag(&new.etag()).0 > tag(&old).0, "a later incarnation: {old} then {}", new.etag());
    object.field("GET", "old").send().await.problem(Code::NotFound);

    for call in [
        object.put(&json!({ "x": 1 })),
        object.patch(&json!({ "x": 1 })),
        object.field("PUT", "x").octets("1"),
        object.field("DELETE", "shared"),
        object.delete(),
    ] {
        call.header("if-match", &old).send().await.problem(Code::VersionMismatch);
    }
    assert_eq!(object.get().await.etag(), new.etag());
}

/// The same through a guest's `clear`.
async fn by_a_method(server: Server) {
    let object = fresh(&server).await;
    object.put(&json!({ "old": 1 })).send().await.ok();
    let old = object.get().await.etag();
    let reply = object.invoke("run", json!([[{ "clear": true }]])).await.expect(200);
    assert_eq!(reply.version(), 0, "there is no object any more");
    object.get().await.problem(Code::NotFound);
    object.invoke("add", json!({ "by": 1 })).await.expect(200);
    let new = object.get().await.expect(200);
    assert_eq!(new.json()["fields"], json!({ "n": 1 }));
    assert_ne!(new.etag(), old);
    assert_eq!(new.json()["version"], 1);
}

/// Cleared and written in one turn: within it, too, nothing old is there.
async fn within_one_turn(server: Server) {
    let object = fresh(&server).await;
    object.put(&json!({ "old": 1, "n": 5 })).send().await.ok();
    let old = object.get().await.etag();
    let steps = json!([[
        { "set": ["before", "x"] }, { "clear": true }, { "get": "old" }, { "get": "before" }, { "scan": ["", "", 10] },
        { "increment": ["n", 1] }, { "set": ["new", "y"] }, { "scan": ["", "", 10] }
    ]]);
    let reply = object.invoke("run", steps).await.expect(200);
    assert_eq!(reply.json(), json!(["ok", "ok", "none", "none", "", "1", "ok", "n=1,new=y"]));
    let new = object.get().await.expect(200);
    assert_eq!(new.json()["fields"], json!({ "n": 1, "new": { "$text": "y" } }));
    assert_eq!((new.json()["version"].as_u64(), reply.version()), (Some(1), 1));
    assert!(tag(&new.etag()).0 > tag(&old).0, "it is another object: {old} then {}", new.etag());
    // written and cleared: the turn's own writes go, too
    object.invoke("run", json!([[{ "set": ["z", "1"] }, { "clear": true }]])).await.expect(200);
    object.get().await.problem(Code::NotFound);
    // clearing what is not there is nothing
    let nothing = object.invoke("run", json!([[{ "clear": true }]])).await.expect(200);
    assert_eq!(nothing.version(), 0);
    object.get().await.problem(Code::NotFound);
}

async fn absent_things(server: Server) {
    let object = fresh(&server).await;
    object.delete().send().await.problem(Code::NotFound);
    object.field("DELETE", "a").send().await.problem(Code::NotFound);
    object.get().await.problem(Code::NotFound);
    object.put(&json!({ "a": 1 })).send().await.ok();
    object.field("DELETE", "b").send().await.problem(Code::NotFound);
    assert_eq!(object.version().await, 1, "deleting nothing is no commit");
    object.delete().send().await.ok();
    object.delete().send().await.problem(Code::NotFound);
    // a turn that deletes what is not there makes no object
    object.invoke("run", json!([[{ "delete": "a" }]])).await.expect(200);
    object.get().await.problem(Code::NotFound);
}

async fn many_times(server: Server) {
    let object = fresh(&server).await;
    let mut last = 0;
    for round in 0..40u64 {
        let key = format!("k{round}");
        object.patch(&json!({ &key: round })).header("if-none-match", "*").send().await.expect(201);
        let now = object.get().await.expect(200);
        assert_eq!(now.json()["fields"], json!({ &key: round }));
        let (incarnation, version) = tag(&now.etag());
        assert_eq!(version, 1);
        assert!(incarnation > last, "{incarnation} after {last}");
        last = incarnation;
        object.delete().send().await.ok();
    }
}
