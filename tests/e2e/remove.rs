//! A removed class cannot be used; its objects stay and come back when it is deployed again, unless they were purged.

use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Object, Server, both, eventually, guests};
use serde_json::json;

both!(objects_stay, objects_go, removed_twice, under_load, purged_under_load);

async fn filled(server: &Server) -> Class {
    let class = Class::deploy(server, "Removed", guests::counter(), "").await;
    for n in 1..=20 {
        class.object(format!("o{n}")).invoke("increment", json!({ "by": n })).await.expect(200);
    }
    class
}

/// The gateway may hear of a removal a moment after it was acknowledged.
async fn gone(class: &Class) {
    eventually("the class is gone", || async {
        (class.http.get(class.path()).send().await.status == 404).then_some(())
    })
    .await;
    class.object("o1").invoke("value", json!({})).await.problem(Code::NotFound);
    class.object("o1").get().await.problem(Code::NotFound);
    class.object("o1").put(&json!({})).send().await.problem(Code::NotFound);
    class.http.get(format!("{}/objects", class.path())).send().await.problem(Code::NotFound);
}

async fn objects_stay(server: Server) {
    let class = filled(&server).await;
    let before = class.object("o7").get().await.expect(200);
    class.http.delete(class.path()).send().await.ok();
    gone(&class).await;
    let deployed = class.redeploy(guests::counter(), "").await.expect(201).json();
    assert!(deployed["version"].as_u64().unwrap() >= 1);
    let after = class.object("o7").get().await.expect(200);
    assert_eq!((before.json(), before.etag()), (after.json(), after.etag()), "as if nothing had been");
    for n in 1..=20 {
        assert_eq!(class.object(format!("o{n}")).invoke("value", json!({})).await.expect(200).json(), n);
    }
}

async fn objects_go(server: Server) {
    let class = filled(&server).await;
    let before = class.object("o7").get().await.expect(200).etag();
    for bad in ["purge=1", "purge=yes", "purge=", "prune=true"] {
        class.http.delete(format!("{}?{bad}", class.path())).send().await.problem(Code::Invalid);
    }
    class.object("o7").get().await.expect(200);
    class.http.delete(format!("{}?purge=true", class.path())).send().await.ok();
    gone(&class).await;
    class.redeploy(guests::counter(), "").await.expect(201);
    let listed = class.http.get(format!("{}/objects", class.path())).send().await.expect(200).json();
    assert_eq!(listed, json!({ "items": [], "next": null }));
    for n in 1..=20 {
        class.object(format!("o{n}")).get().await.problem(Code::NotFound);
        class.object(format!("o{n}")).field("GET", "count").send().await.problem(Code::NotFound);
    }
    assert_eq!(class.object("o7").invoke("increment", json!({ "by": 1 })).await.expect(200).json(), 1);
    let after = class.object("o7").get().await.expect(200);
    assert_ne!(after.etag(), before, "another object");
    class
        .object("o7")
        .put(&json!({}))
        .header("if-match", &before)
        .send()
        .await
        .problem(Code::VersionMismatch);
}

async fn removed_twice(server: Server) {
    let class = filled(&server).await;
    class.http.delete(format!("{}?purge=false", class.path())).send().await.ok();
    gone(&class).await;
    class.http.delete(class.path()).send().await.problem(Code::NotFound);
    class.redeploy(guests::counter(), "").await.expect(201);
    assert_eq!(class.object("o3").invoke("value", json!({})).await.expect(200).json(), 3);
}

/// Calls that meet the removal succeed or find no class: nothing else, and nothing is half done.
async fn under_load(server: Server) {
    let class = filled(&server).await;
    for (object, done) in removed_meanwhile(&class, "").await {
        assert_eq!(object.invoke("value", json!({})).await.expect(200).json(), done);
    }
}

/// The same with a purge: no call that was under way leaves anything in the class that is deployed afterwards.
async fn purged_under_load(server: Server) {
    let class = filled(&server).await;
    for round in 0..3 {
        for (object, _) in removed_meanwhile(&class, "?purge=true").await {
            object.get().await.problem(Code::NotFound);
        }
        let listed = class.http.get(format!("{}/objects", class.path())).send().await.expect(200).json();
        assert_eq!(listed["items"], json!([]), "round {round}");
    }
}

/// Removes the class while clients count, and deploys it again; gives each client's object and how many of its calls
/// were acknowledged.
async fn removed_meanwhile(class: &Class, query: &str) -> Vec<(Object, u64)> {
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..8 {
        let object = class.object(format!("load{client}"));
        clients.spawn(async move {
            let mut done = 0u64;
            loop {
                let reply = object.invoke("increment", json!({ "by": 1 })).await;
                if reply.status == 200 {
                    done += 1;
                } else {
                    reply.problem(Code::NotFound);
                    return (object, done);
                }
            }
        });
    }
    eventually("the load is on", || async {
        (class.object("load0").get().await.status == 200).then_some(())
    })
    .await;
    class.http.delete(format!("{}{query}", class.path())).send().await.ok();
    let counts = clients.join_all().await;
    class.redeploy(guests::counter(), "").await.expect(201);
    counts
}
