//! `If-Match` and `If-None-Match`: compare-and-set that holds under any number of clients, and conditional reads.

use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Object, Server, both, guests, tag};
use serde_json::json;
use tokio::task::JoinSet;

both!(compare_and_set, each_version_is_won_once, present_or_not, conditional_reads, no_tags, tags_of_writes);

async fn fresh(server: &Server) -> Object {
    Class::deploy(server, "Cas", guests::prober(), "").await.object("o")
}

async fn compare_and_set(server: Server) {
    let object = fresh(&server).await;
    object.put(&json!({ "a": 1 })).send().await.ok();
    let first = object.get().await.etag();
    object.patch(&json!({ "a": 2 })).header("if-match", &first).send().await.ok();
    let second = object.get().await.etag();
    assert_ne!(first, second);
    for call in [
        object.put(&json!({ "a": 3 })),
        object.patch(&json!({ "a": 3 })),
        object.field("PUT", "a").octets("3"),
        object.field("DELETE", "a"),
        object.delete(),
    ] {
        call.header("if-match", &first).send().await.problem(Code::VersionMismatch);
    }
    assert_eq!(object.get().await.etag(), second);
    assert_eq!(object.fields().await, json!({ "a": 2 }));
    // any of several will do
    let list = format!("{first}, {second}");
    object.field("PUT", "a").octets("3").header("if-match", list).send().await.ok();
    let third = object.get().await.etag();
    object.field("DELETE", "a").header("if-match", &third).send().await.ok();
    let fourth = object.get().await.etag();
    object.delete().header("if-match", &fourth).send().await.ok();
    object.get().await.problem(Code::NotFound);
    object.put(&json!({ "a": 4 })).header("if-match", &fourth).send().await.problem(Code::VersionMismatch);
    object.get().await.problem(Code::NotFound);
}

/// Many clients read, add one and write back on condition: each success is one more, so none was overwritten.
async fn each_version_is_won_once(server: Server) {
    let object = fresh(&server).await;
    object.put(&json!({ "n": 0 })).send().await.ok();
    let mut clients = JoinSet::new();
    for client in 0..16 {
        let object = object.clone();
        clients.spawn(async move {
            let mut wins = 0;
            while wins < 8 {
                let seen = object.get().await.expect(200);
                let n = seen.json()["fields"]["n"].as_u64().unwrap();
                let call = if client % 2 == 0 {
                    object.patch(&json!({ "n": n + 1 }))
                } else {
                    object.field("PUT", "n").octets((n + 1).to_string())
                };
                let reply = call.header("if-match", seen.etag()).send().await;
                if reply.status == 412 {
                    reply.problem(Code::VersionMismatch);
                } else {
                    let (before, after) = (tag(&seen.etag()), tag(&reply.ok().etag()));
                    assert_eq!(after, (before.0, before.1 + 1));
                    wins += 1;
                }
            }
        });
    }
    clients.join_all().await;
    let document = object.get().await.json();
    assert_eq!((&document["fields"]["n"], &document["version"]), (&json!(128), &json!(129)));
}

async fn present_or_not(server: Server) {
    let object = fresh(&server).await;
    for call in [
        object.put(&json!({ "a": 1 })),
        object.patch(&json!({ "a": 1 })),
        object.field("PUT", "a").octets("1"),
    ] {
        call.header("if-match", "*").send().await.problem(Code::VersionMismatch);
    }
    object.get().await.problem(Code::NotFound);
    object.put(&json!({ "a": 1 })).header("if-none-match", "*").send().await.expect(201);
    let etag = object.get().await.etag();
    for call in [
        object.put(&json!({ "a": 2 })),
        object.patch(&json!({ "a": 2 })),
        object.field("PUT", "a").octets("2"),
    ] {
        call.header("if-none-match", "*").send().await.problem(Code::VersionMismatch);
    }
    assert_eq!(object.get().await.etag(), etag);
    object.put(&json!({ "a": 2 })).header("if-match", "*").send().await.expect(200);
    object.delete().header("if-match", "*").send().await.ok();
    object.delete().header("if-match", "*").send().await.problem(Code::VersionMismatch);
    object.field("PUT", "a").octets("1").header("if-none-match", "*").send().await.ok();
    object.get().await.expect(200);
}

async fn conditional_reads(server: Server) {
    let object = fresh(&server).await;
    object.put(&json!({ "a": 1 })).send().await.ok();
    let etag = object.get().await.etag();
    for path in [object.path(), format!("{}/fields/a", object.path())] {
        let get = |name: &str, value: &str| object.class.http.get(&path).header(name, value).send();
        let unchanged = get("if-none-match", &etag).await.expect(304);
        assert!(unchanged.body.is_empty());
        assert_eq!(unchanged.etag(), etag);
        get("if-none-match", "\"1.1\"").await.expect(200);
        get("if-match", &etag).await.expect(200);
        get("if-match", "\"1.1\"").await.problem(Code::VersionMismatch);
    }
    object.patch(&json!({ "b": 1 })).send().await.ok();
    object.class.http.get(object.path()).header("if-none-match", &etag).send().await.expect(200);
}

async fn no_tags(server: Server) {
    let object = fresh(&server).await;
    object.put(&json!({ "a": 1 })).send().await.ok();
    let etag = object.get().await.etag();
    let bare = etag.trim_matches('"').to_owned();
    for bad in [bare.as_str(), "", "x", "\"", "*, *"] {
        object.put(&json!({ "a": 2 })).header("if-match", bad).send().await.problem(Code::Invalid);
    }
    // a tag in the form of one that no object has, and a weak one, match nothing
    for none in
        ["\"\"", "\"1\"", "\"x.y\"", "\"0.0\"", "\"99999999999999999999.1\"", format!("W/{etag}").as_str()]
    {
        object.put(&json!({ "a": 2 })).header("if-match", none).send().await.problem(Code::VersionMismatch);
    }
    assert_eq!(object.get().await.etag(), etag);
}

/// Every write tells where it left the object; the next conditional write can go on from there without a read.
async fn tags_of_writes(server: Server) {
    let object = fresh(&server).await;
    let mut etag = object.put(&json!({ "a": 1 })).send().await.expect(201).etag();
    for _ in 0..3 {
        for call in [
            object.put(&json!({ "a": 1 })),
            object.patch(&json!({ "a": 2 })),
            object.field("PUT", "b").octets("3"),
            object.field("DELETE", "b"),
        ] {
            let next = call.header("if-match", &etag).send().await.ok().etag();
            assert_eq!(tag(&next), (tag(&etag).0, tag(&etag).1 + 1));
            assert_eq!(object.get().await.etag(), next);
            etag = next;
        }
    }
    let field = object.field("GET", "a").send().await.expect(200);
    assert_eq!(field.etag(), etag, "a field's tag is its object's");
}
