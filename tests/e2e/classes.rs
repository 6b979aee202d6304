//! Classes as they are listed and described, and their history.

use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Server, both, guests};
use serde_json::{Value, json};

both!(described, history, unknown, own_grid, one_component_many_classes, deployed_at_once);

async fn described(server: Server) {
    let class = Class::deploy(&server, "Counter", guests::counter(), "readonly = [\"value\"]").await;
    let document = class.http.get(class.path()).send().await.expect(200).json();
    assert_eq!((&document["class"], &document["version"]), (&json!(class.name), &json!(1)));
    let digest = oprc_mesh::id::Digest::of(&guests::counter()).to_string();
    assert_eq!(document["digest"].as_str().unwrap().trim_start_matches("sha256:"), digest);
    let method = |name: &str| -> Value {
        document["methods"].as_array().unwrap().iter().find(|method| method["name"] == name).cloned().unwrap()
    };
    assert!(method("increment").to_string().contains("increment: func(by: u64) -> u64"), "{document}");
    assert_eq!(
        (&method("increment")["readonly"], &method("value")["readonly"]),
        (&json!(false), &json!(true))
    );
    // it stands in the listing alike
    let listed =
        class.http.get(format!("/api/v1/classes?prefix={}", class.name)).send().await.expect(200).json();
    let item =
        listed["items"].as_array().unwrap().iter().find(|item| item["class"] == json!(class.name)).unwrap();
    assert_eq!((&item["version"], &item["digest"]), (&document["version"], &document["digest"]));
    // a handler has no methods of its own to list
    let kv = Class::deploy(&server, "Kv", guests::kv(), "").await;
    let document = kv.http.get(kv.path()).send().await.expect(200).json();
    assert_eq!(document["methods"], json!([]));
}

async fn history(server: Server) {
    let class = Class::deploy(&server, "History", guests::counter(), "").await;
    class.redeploy(guests::kv(), "").await.expect(201);
    class.redeploy(guests::kv(), "").await.expect(200);
    class.redeploy(guests::counter(), "").await.expect(201);
    let listed = class.http.get(format!("{}/versions", class.path())).send().await.expect(200).json();
    let mut versions: Vec<_> = listed["items"].as_array().unwrap().clone();
    versions.sort_by_key(|item| item["version"].as_u64());
    let numbers: Vec<_> = versions.iter().map(|item| item["version"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3], "an unchanged deployment is none");
    assert_eq!(versions[0]["digest"], versions[2]["digest"]);
    assert_ne!(versions[0]["digest"], versions[1]["digest"]);
}

async fn unknown(server: Server) {
    let http = server.http();
    let class = Class { http: http.clone(), name: "NoSuchClass".into() };
    let object = class.object("o");
    for reply in [
        http.get(class.path()).send().await,
        http.delete(class.path()).send().await,
        http.get(format!("{}/versions", class.path())).send().await,
        http.get(format!("{}/objects", class.path())).send().await,
        class.function("f").send().await,
        object.get().await,
        object.put(&json!({})).send().await,
        object.patch(&json!({})).send().await,
        object.delete().send().await,
        object.invoke("m", json!({})).await,
        object.field("GET", "k").send().await,
        object.field("PUT", "k").octets("").send().await,
        object.field("DELETE", "k").send().await,
        http.get(format!("{}/fields", object.path())).send().await,
    ] {
        let problem = reply.problem(Code::NotFound);
        assert!(
            problem["subject"].as_str().unwrap().contains("NoSuchClass"),
            "it says what is not there: {problem}"
        );
    }
}

/// A class may have a grid to itself; it works the same, and another class's objects are not in it.
async fn own_grid(server: Server) {
    let class =
        Class::deploy(&server, "Own", guests::counter(), "grid = { partitions = 3, replicas = 1 }").await;
    for n in 0..30 {
        let object = class.object(format!("o{n}"));
        assert_eq!(object.invoke("increment", json!({ "by": n + 1 })).await.expect(200).json(), n + 1);
    }
    let listed = class.http.get(format!("{}/objects", class.path())).send().await.expect(200).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 30);
    let cluster = class.http.get("/api/v1/cluster").send().await.expect(200).json();
    let partitions: Vec<_> = cluster["partitions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|partition| partition["grid"] == json!(class.name))
        .collect();
    assert_eq!(partitions.len(), 3, "{cluster}");
    // moving a class with objects to another grid would lose them
    let moved = class.redeploy(guests::counter(), "").await;
    if moved.status == 409 {
        moved.problem(Code::Conflict);
    } else {
        moved.ok();
    }
    assert_eq!(class.object("o4").invoke("value", json!({})).await.expect(200).json(), 5);
}

/// Classes share a component, never objects.
async fn one_component_many_classes(server: Server) {
    let one = Class::deploy(&server, "Same", guests::counter(), "").await;
    let two = Class::deploy(&server, "Same", guests::counter(), "").await;
    one.object("o").invoke("increment", json!({ "by": 5 })).await.expect(200);
    assert_eq!(two.object("o").invoke("value", json!({})).await.expect(200).json(), 0);
    two.object("o").get().await.problem(Code::NotFound);
    one.http.delete(one.path()).send().await.ok();
    assert_eq!(two.object("o").invoke("increment", json!({ "by": 1 })).await.expect(200).json(), 1);
}

/// Many deployments of one class at the same time: each is a version of its own, and the last one is what runs.
async fn deployed_at_once(server: Server) {
    let class = Class::deploy(&server, "Crowd", guests::prober_generation(1), "").await;
    let mut deployments = tokio::task::JoinSet::new();
    for generation in 2..=9 {
        let class = class.clone();
        deployments.spawn(async move {
            let deployed = class.redeploy(guests::prober_generation(generation), "").await.expect(201).json();
            (deployed["version"].as_u64().unwrap(), generation)
        });
    }
    let mut deployed = deployments.join_all().await;
    deployed.sort_unstable();
    let versions: Vec<_> = deployed.iter().map(|(version, _)| *version).collect();
    assert_eq!(versions, (2..=9).collect::<Vec<_>>());
    let last = deployed.last().unwrap().1;
    assert_eq!(class.function("generation").send().await.expect(200).json(), guests::generation(last));
    let listed = class.http.get(format!("{}/versions", class.path())).send().await.expect(200).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 9);
}
