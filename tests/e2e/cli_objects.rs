//! Objects from the command line: get, set, ls, rm, status.

use oprc_tests::{Class, Kind, Server, both, guests};
use serde_json::json;

both!(get_and_set, remove, list, status);

async fn class(server: &Server) -> Class {
    Class::deploy(server, "Cli", guests::prober(), "").await
}

async fn get_and_set(server: Server) {
    let class = class(&server).await;
    let object = format!("{}/o", class.name);
    assert_eq!(
        server.cli(&["set", &object, "count=5", "name=Ada", "json={\"a\":1}", "empty="]).await.ok(),
        ""
    );
    let document: serde_json::Value =
        serde_json::from_str(&server.cli(&["get", &object]).await.ok()).unwrap();
    let fields =
        json!({ "count": 5, "name": { "$text": "Ada" }, "json": { "a": 1 }, "empty": { "$text": "" } });
    assert_eq!(document, json!({ "class": class.name, "id": "o", "version": 1, "fields": fields }));
    assert_eq!(server.cli(&["get", &object, "name"]).await.ok(), "Ada", "a field's bytes, and nothing else");
    assert_eq!(server.cli(&["get", &object, "count", "--output", "json"]).await.json(), json!(5));
    // all assignments of one command are one commit, and leave the other fields alone
    server.cli(&["set", &object, "count=6", "größe=x=y"]).await.ok();
    let document = server.cli(&["get", &object, "--output", "json"]).await.json();
    assert_eq!((&document["version"], &document["fields"]["größe"]), (&json!(2), &json!({ "$text": "x=y" })));
    assert_eq!(document["fields"]["name"], json!({ "$text": "Ada" }));
    // bytes from a file and from standard input
    let path = server.scratch().join(format!("{}.bin", class.name));
    std::fs::write(&path, [0, 255, 10]).unwrap();
    server.cli(&["set", &object, &format!("file=@{}", path.display())]).await.ok();
    server.cli_with(&["set", &object, "piped=@-"], &[], Some(&path)).await.ok();
    server.cli(&["set", &object, "at=@@home"]).await.ok();
    for key in ["file", "piped"] {
        assert_eq!(class.object("o").field("GET", key).send().await.expect(200).body.as_ref(), [0, 255, 10]);
    }
    assert_eq!(server.cli(&["get", &object, "at"]).await.ok(), "@home");
    server.cli(&["set", &object, "a=@no-such-file"]).await.fails(1);
}

async fn remove(server: Server) {
    let class = class(&server).await;
    let object = format!("{}/o", class.name);
    server.cli(&["set", &object, "a=1", "b=2"]).await.ok();
    server.cli(&["rm", &object, "a"]).await.ok();
    assert_eq!(class.object("o").fields().await, json!({ "b": 2 }));
    server.cli(&["rm", &object, "a"]).await.fails(1);
    server.cli(&["rm", &object]).await.ok();
    class.object("o").get().await.expect(404);
    server.cli(&["get", &object]).await.fails(1);
    server.cli(&["rm", &class.name, "--purge"]).await.ok();
    class.http.get(class.path()).send().await.expect(404);
}

async fn list(server: Server) {
    let class = class(&server).await;
    for n in 0..25 {
        class.object(format!("{}{n:02}", ["a", "b"][n % 2])).put(&json!({})).send().await.expect(201);
    }
    let all = server.cli(&["ls", &class.name, "--output", "json"]).await.json();
    assert_eq!(all["items"].as_array().unwrap().len(), 25);
    let some = server.cli(&["ls", &class.name, "b", "--output", "json"]).await.json();
    assert_eq!(some["items"].as_array().unwrap().len(), 12);
    let first = server.cli(&["ls", &class.name, "--limit", "10", "--output", "json"]).await.json();
    let next = first["next"].as_str().unwrap();
    let rest = server.cli(&["ls", &class.name, "--cursor", next, "--output", "json"]).await.json();
    let ids = |page: &serde_json::Value| page["items"].as_array().unwrap().clone();
    assert_eq!([ids(&first), ids(&rest)].concat(), ids(&all));
    let table = server.cli(&["ls", &class.name]).await.ok();
    assert!(table.contains("a00") && table.contains("b23"), "{table}");
}

async fn status(server: Server) {
    let document = server.cli(&["status", "--output", "json"]).await.json();
    let node = document["nodes"][0]["id"].as_str().unwrap();
    let table = server.cli(&["status"]).await.ok();
    assert!(table.contains(node) && table.contains("default"), "{table}");
    assert!(table.lines().count() > 16, "a line per partition: {table}");
    // a host tells its zone
    if server.kind() == Kind::Embedded {
        assert!(document["nodes"][0]["state"].is_string(), "{document}");
    }
}
