//! The session that the README promises, by hand, and how commands fail.

use std::path::PathBuf;

use oprc_tests::{Cli, Kind, Server, both, free_port, guests, run, unique};
use serde_json::{Value, json};

both!(deploying, calling, failures, connection_refused, usage);

fn file(server: &Server, name: &str, bytes: &[u8]) -> PathBuf {
    let path = server.scratch().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// From an empty directory to a value that survived SIGKILL.
#[test]
fn the_session_of_the_issue() {
    run(async {
        let server = Server::start(Kind::Embedded).await;
        let _shown = server.show_logs_on_panic();
        file(&server, "counter.wasm", &guests::counter());
        let deployed = server.cli(&["deploy", "counter.wasm", "--class", "Counter"]).await.ok();
        assert!(
            deployed.contains("Counter") && deployed.contains("increment: func(by: u64) -> u64"),
            "{deployed}"
        );
        let http = server.http();
        let call =
            http.post("/api/v1/classes/Counter/objects/alice/invoke/increment").json(&json!({ "by": 5 }));
        assert_eq!(call.send().await.expect(200).body, "5");
        let object = http.get("/api/v1/classes/Counter/objects/alice").send().await.expect(200).json();
        assert_eq!(
            object,
            json!({ "class": "Counter", "id": "alice", "version": 1, "fields": { "count": 5 } })
        );
        server.kill_host();
        server.launch().await;
        assert_eq!(server.cli(&["invoke", "Counter/alice", "value"]).await.ok(), "5\n");
        // the first start in a directory tells a newcomer what to try
        let log = server.host_log();
        assert!(log.contains("oprc deploy") || log.contains("curl"), "{log}");
    });
}

/// curl sends a form's content type unless told otherwise: the README's line must work as it stands.
#[test]
fn as_curl_sends_it() {
    run(async {
        let server = Server::shared(Kind::Embedded).await;
        let class = oprc_tests::Class::deploy(&server, "Curl", guests::counter(), "").await;
        let call = class
            .object("alice")
            .method("increment")
            .body("application/x-www-form-urlencoded", "{\"by\": 5}");
        assert_eq!(call.header("accept", "*/*").send().await.expect(200).body, "5");
    });
}

async fn deploying(server: Server) {
    let name = unique("Cli");
    file(&server, &format!("{name}.wasm"), &guests::counter());
    let wasm = format!("{name}.wasm");
    // the class is called like the file, unless a manifest or a flag names it
    let deployed = server.cli(&["deploy", &wasm, "--output", "json"]).await.json();
    assert_eq!((&deployed["class"], &deployed["version"]), (&json!(name), &json!(1)));
    let again = server.cli(&["deploy", &wasm]).await.ok();
    assert!(again.contains("unchanged"), "{again}");
    let named = unique("Named");
    let manifest = format!("[class]\nname = \"{named}\"\ncomponent = \"{wasm}\"\nreadonly = [\"value\"]\n");
    file(&server, &format!("{name}.toml"), manifest.as_bytes());
    let by_manifest =
        server.cli(&["deploy", "--manifest", &format!("{name}.toml"), "--output", "json"]).await.json();
    assert_eq!(by_manifest["class"], json!(named));

    let classes = server.cli(&["classes", "--output", "json"]).await.json();
    let listed = |name: &str| classes["items"].as_array().unwrap().iter().any(|item| item["class"] == name);
    assert!(listed(&name) && listed(&named), "{classes}");
    let table = server.cli(&["classes"]).await.ok();
    assert!(table.contains(&name) && table.contains(&named), "{table}");
    let described = server.cli(&["describe", &named]).await.ok();
    assert!(described.contains("value: func() -> u64") && described.contains("read-only"), "{described}");
    let versions = server.cli(&["versions", &name, "--output", "json"]).await.json();
    assert_eq!(versions["items"].as_array().unwrap().len(), 1);

    server.cli(&["rm", &name]).await.ok();
    server.cli(&["describe", &name]).await.fails(1);
    server.cli(&["rm", &named, "--purge"]).await.ok();
}

async fn calling(server: Server) {
    let name = unique("Cli");
    file(&server, &format!("{name}.wasm"), &guests::counter());
    server.cli(&["deploy", &format!("{name}.wasm")]).await.ok();
    let alice = format!("{name}/alice");
    assert_eq!(server.cli(&["invoke", &alice, "increment", "{\"by\": 5}"]).await.ok(), "5\n");
    assert_eq!(server.cli(&["invoke", &alice, "increment", "[2]"]).await.ok(), "7\n");
    let input = file(&server, &format!("{name}.json"), b"{\"by\": 1}");
    assert_eq!(
        server.cli(&["invoke", &alice, "increment", &format!("@{}", input.display())]).await.ok(),
        "8\n"
    );
    let piped = server.cli_with(&["invoke", &alice, "increment", "-"], &[], Some(&input)).await;
    assert_eq!(piped.ok(), "9\n");
    let shown = server.cli(&["invoke", &alice, "value", "--output", "json", "--timeout", "5s"]).await.json();
    assert_eq!(shown, json!(9));

    let types = unique("Types");
    file(&server, &format!("{types}.wasm"), &guests::types());
    server.cli(&["deploy", &format!("{types}.wasm")]).await.ok();
    assert_eq!(server.cli(&["invoke", &types, "join", "[\"a\",\"b\",2]"]).await.ok(), "\"abb\"\n");
    assert_eq!(server.cli(&["invoke", &types, "nothing"]).await.ok(), "");
    let nothing = server.cli(&["invoke", &types, "nothing", "--output", "json"]).await.json();
    assert_eq!(nothing, Value::Null);
    let raw = server.cli(&["invoke", &types, "echo-bytes", "as it is", "--raw"]).await.ok();
    assert_eq!(raw, "as it is");
    // the environment names the server; the flag wins over it
    let url = server.url();
    let elsewhere = [("OPRC_SERVER", "http://127.0.0.1:9")];
    let flagged =
        Cli::run(&["invoke", &alice, "value", "--server", &url], server.scratch(), &elsewhere, None).await;
    assert_eq!(flagged.ok(), "9\n");
}

async fn failures(server: Server) {
    let name = unique("Cli");
    file(&server, &format!("{name}.wasm"), &guests::prober());
    server.cli(&["deploy", &format!("{name}.wasm")]).await.ok();
    let object = format!("{name}/o");
    for (args, told) in [
        (vec!["invoke", &object, "absent"], vec!["absent", "not-found"]),
        (vec!["invoke", &object, "add", "{\"by\": \"x\"}"], vec!["by", "s64", "invalid"]),
        (vec!["invoke", &object, "explode"], vec!["trap", "backtrace", "explode"]),
        (vec!["invoke", &object, "refuse", "[\"not today\", 1]"], vec!["function-error", "not today"]),
        (vec!["get", &object], vec!["not-found", &object]),
        (vec!["get", &object, "field"], vec!["not-found"]),
        (vec!["rm", &object], vec!["not-found"]),
        (vec!["ls", "NoSuchClass"], vec!["not-found", "NoSuchClass"]),
        (vec!["describe", "NoSuchClass"], vec!["not-found", "NoSuchClass"]),
        (vec!["deploy", "no-such-file.wasm", "--class", "A"], vec!["no-such-file.wasm"]),
        (vec!["invoke", &object, "add", "@no-such-file"], vec!["no-such-file"]),
    ] {
        let complaint = server.cli(&args).await.fails(1);
        for part in told {
            assert!(complaint.contains(part), "{args:?}: {part} in {complaint}");
        }
        assert!(!complaint.contains("panicked"), "{complaint}");
    }
    let complaint = server.cli(&["invoke", &object, "explode", "--output", "json"]).await.fails(1);
    let document: Value =
        serde_json::from_str(&complaint).unwrap_or_else(|error| panic!("{error} in {complaint}"));
    assert_eq!((&document["code"], &document["status"]), (&json!("trap"), &json!(500)));
    file(&server, &format!("{name}-bad.wasm"), b"not wasm");
    let complaint = server.cli(&["deploy", &format!("{name}-bad.wasm")]).await.fails(1);
    assert!(complaint.contains("invalid-component"), "{complaint}");
}

async fn connection_refused(server: Server) {
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    for args in [
        vec!["classes"],
        vec!["invoke", "A/b", "m"],
        vec!["get", "A/b"],
        vec!["set", "A/b", "c=1"],
        vec!["ls", "A"],
        vec!["rm", "A/b"],
        vec!["describe", "A"],
        vec!["status"],
    ] {
        let complaint = Cli::run(&args, server.scratch(), &[("OPRC_SERVER", &nowhere)], None).await.fails(1);
        assert!(complaint.contains(&nowhere), "{args:?} names the server: {complaint}");
        assert!(complaint.contains("oprc up"), "{args:?} says what to do: {complaint}");
    }
}

async fn usage(server: Server) {
    for args in [
        vec![],
        vec!["no-such-command"],
        vec!["invoke"],
        vec!["invoke", "A/b"],
        vec!["invoke", "A/b/c", "m"],
        vec!["invoke", "1/b", "m"],
        vec!["get", "A"],
        vec!["get", "A/ b"],
        vec!["set", "A/b"],
        vec!["set", "A/b", "c"],
        vec!["set", "A/b", "a=1", "a=2"],
        vec!["deploy"],
        vec!["ls"],
        vec!["ls", "A", "--limit", "0"],
        vec!["rm", "A/b", "--purge"],
        vec!["status", "extra"],
        vec!["classes", "--server", "ftp://x"],
        vec!["classes", "--output", "xml"],
        vec!["invoke", "A/b", "m", "--timeout", "soon"],
        vec!["up", "--listen", "here"],
        vec!["gateway", "--no-such-flag"],
    ] {
        let complaint = server.cli(&args).await.fails(2);
        assert!(!complaint.contains("panicked"), "{complaint}");
    }
    for args in [vec!["--help"], vec!["--version"], vec!["invoke", "--help"]] {
        assert!(server.cli(&args).await.ok().contains("oprc"));
    }
}
