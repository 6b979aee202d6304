//! With identity switched on nobody reads, runs or learns anything without a key, and with one no more than it allows.

use oprc_mesh::outcome::Code;
use oprc_tests::{Call, Class, Cli, Http, Kind, Server, eventually, free_port, guests, run, unique};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A server that wants keys, and a client of it that may do everything.
pub(crate) async fn closed(kind: Kind) -> (Server, Http) {
    let server = Server::prepare(kind);
    let root = close(&server, &[]).await;
    (server, root)
}

/// Starts a server that wants keys, with `more` arguments; gives a client that may do everything.
pub(crate) async fn close(server: &Server, more: &[&str]) -> Http {
    let token = Cli::run(&["key", "token"], server.scratch(), &[], None).await.ok();
    let file = server.scratch().join("root");
    std::fs::write(&file, &token).unwrap();
    server.set_ingress_args(&[&["--auth", "--root-key-file", file.to_str().unwrap()], more].concat());
    server.launch().await;
    server.http().with_key(token.trim())
}

/// Makes a key, and gives a client that shows it.
pub(crate) async fn key(root: &Http, scopes: &[String]) -> (String, Http) {
    let name = unique("key");
    let made = root.post("/api/v1/keys").json(&json!({ "name": name, "scopes": scopes })).send().await;
    let made = made.expect(201).json();
    let client = root.with_key(made["token"].as_str().unwrap());
    (name, client)
}

/// Every operation of the interface, with what it needs in the class and everywhere.
fn operations(http: &Http, class: &str) -> Vec<(Call, &'static str)> {
    let at = |rest: &str| format!("/api/v1/classes/{class}{rest}");
    let by = json!({ "by": 1 });
    let whole = json!({ "class": class, "id": "o", "fields": {} });
    vec![
        (http.get(at("/objects/o")), "read"),
        (http.get(at("/objects/o/fields")), "read"),
        (http.get(at("/objects/o/fields/count")), "read"),
        (http.get(at("/objects")), "read"),
        (http.get(at("/dead-letters")), "read"),
        (http.post(at("/objects/o/invoke/increment")).json(&by), "invoke"),
        (
            http.post("/api/v1/invoke")
                .json(&json!({ "class": class, "object": "o", "function": "increment", "payload": by })),
            "invoke",
        ),
        (http.post(at("/functions/none")), "invoke"),
        (http.get(at("/http")), "invoke"),
        (http.call("OPTIONS", at("/http/x/y")), "invoke"),
        (http.put(at("/objects/o")).json(&whole), "invoke"),
        (http.patch(at("/objects/o")).json(&whole), "invoke"),
        (http.delete(at("/objects/o")), "invoke"),
        (http.put(at("/objects/o/fields/x")).octets("1"), "invoke"),
        (http.delete(at("/objects/o/fields/x")), "invoke"),
        (http.put(at("")).body("application/wasm", "none"), "deploy"),
        (http.get(at("/logs")), "deploy"),
        (http.get("/api/v1/cluster"), "admin"),
        (http.get("/api/v1/keys"), "admin"),
        (http.post("/api/v1/keys").json(&json!({})), "admin"),
        (http.post("/api/v1/keys/none/rotate"), "admin"),
        (http.delete("/api/v1/keys/none"), "admin"),
        (http.post("/api/v1/cluster/nodes/0000000000000001/drain"), "admin"),
        (http.post(at("/dead-letters/purge")), "admin"),
        (http.delete(at("")), "deploy"),
    ]
}

async fn nothing_without_a_key(kind: Kind) {
    let (server, root) = closed(kind).await;
    let _shown = server.show_logs_on_panic();
    let class = Class::deploy(&root, "Closed", guests::counter(), "").await;
    class.object("o").invoke("increment", json!({ "by": 1 })).await.expect(200);
    let stranger = server.http();
    let unknown = Cli::run(&["key", "token"], server.scratch(), &[], None).await.ok();
    for http in [stranger.clone(), stranger.with_key(unknown.trim()), stranger.with_key("oprc_1_2")] {
        // what is there and what is not get the same answer
        for name in [&class.name, "Absent"] {
            for (call, _) in operations(&http, name) {
                let reply = call.send().await;
                assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
                reply.problem(Code::Unauthenticated);
            }
        }
        http.get("/api/v1/classes").send().await.problem(Code::Unauthenticated);
        http.get(format!("/api/v1/classes/{}/events", class.name))
            .send()
            .await
            .problem(Code::Unauthenticated);
    }
    for open in ["/healthz", "/readyz"] {
        stranger.get(open).send().await.expect(200);
    }
    assert_eq!(class.object("o").fields().await, json!({ "count": 1 }), "nothing was done");
}

async fn scopes_hold(kind: Kind) {
    let (server, root) = closed(kind).await;
    let _shown = server.show_logs_on_panic();
    let class = Class::deploy(&root, "Scoped", guests::counter(), "").await;
    let other = Class::deploy(&root, "Other", guests::counter(), "").await;
    for action in ["read", "invoke", "deploy"] {
        let beginning = &class.name[..class.name.len() - 1];
        for scope in [format!("{action}:{}", class.name), format!("{action}:{beginning}*")] {
            let (_, client) = key(&root, &[scope]).await;
            for (call, needs) in operations(&client, &class.name) {
                if needs == "deploy" && action == "deploy" {
                    continue; // done last
                }
                let reply = call.send().await;
                if needs == action {
                    assert!(reply.status != 401 && reply.status != 403, "{action} allows {needs}: {reply:?}");
                } else {
                    let told = reply.problem(Code::Denied)["detail"].to_string();
                    assert!(told.contains(needs), "{told}");
                }
            }
            for name in [&other.name, "Absent"] {
                for (call, _) in operations(&client, name) {
                    call.send().await.problem(Code::Denied);
                }
            }
            let seen = client.get("/api/v1/classes").send().await.expect(200).json();
            let seen: Vec<_> = seen["items"].as_array().unwrap().iter().map(|item| &item["class"]).collect();
            assert_eq!(seen, [&Value::from(class.name.clone())], "what it may not use it does not see");
            client.get(class.path()).send().await.expect(200);
            client.get(other.path()).send().await.problem(Code::Denied);
        }
    }
    let (_, deployer) = key(&root, &[format!("deploy:{}", class.name)]).await;
    let upload = Class { http: deployer.clone(), name: class.name.clone() };
    upload.redeploy(guests::prober(), "").await.ok();
    deployer.delete(class.path()).send().await.ok();
}

async fn a_key_from_its_making_to_its_end(kind: Kind) {
    let (server, root) = closed(kind).await;
    let _shown = server.show_logs_on_panic();
    let class = Class::deploy(&root, "Kept", guests::prober(), "").await;
    let url = server.url();
    let file = server.scratch().join("root");
    let admin = [("OPRC_SERVER", url.as_str()), ("OPRC_KEY_FILE", file.to_str().unwrap())];
    let oprc = async |args: &[&str]| Cli::run(args, server.scratch(), &admin, None).await;
    let made =
        oprc(&["key", "create", "ci", "--scope", "read,invoke:Kept*", "--expires-in", "1h"]).await.ok();
    let with = |token: &str| Class { http: root.with_key(token.trim()), name: class.name.clone() };
    // the guest is told who calls, by the key's name
    let circumstances = async |token: &str| {
        let reply = with(token).object("o").invoke("circumstances-of-call", json!({})).await;
        (reply.status == 200).then(|| reply.json()["caller"].clone())
    };
    assert_eq!(circumstances(&made).await, Some(json!("key:ci")));
    assert!(oprc(&["key", "create", "ci", "--scope", "read"]).await.fails(1).contains("ci"));
    let listed = oprc(&["key", "ls", "--output", "json"]).await.json();
    assert_eq!(listed["items"][0]["scopes"], json!(["read", "invoke:Kept*"]));
    assert!(listed["items"][0]["expires_at_ms"].as_u64().is_some());
    assert!(!listed.to_string().contains(made.trim()), "a secret is shown once");
    assert!(oprc(&["key", "ls"]).await.ok().contains("in "));
    // the new token counts beside the old one as long as was said, and then alone
    let beside = oprc(&["key", "rotate", "ci", "--grace", "1s"]).await.ok();
    assert_eq!(circumstances(&beside).await, Some(json!("key:ci")));
    eventually("the old token counts no more", || async {
        circumstances(&made).await.is_none().then_some(())
    })
    .await;
    let alone = oprc(&["key", "rotate", "ci"]).await.ok();
    assert_eq!((circumstances(&beside).await, circumstances(&alone).await), (None, Some(json!("key:ci"))));
    // keys outlive the process
    server.kill_host();
    server.launch().await;
    eventually("the key counts after a restart", || async { circumstances(&alone).await.map(drop) }).await;
    oprc(&["key", "revoke", "ci"]).await.ok();
    assert_eq!(circumstances(&alone).await, None);
    assert!(oprc(&["key", "revoke", "ci"]).await.fails(1).contains("no key"));
    assert!(oprc(&["key", "create", "x", "--scope", "write"]).await.fails(2).contains("write"));
    assert!(oprc(&["key", "create", "root", "--scope", "read"]).await.fails(1).contains("root"));
    // a token with a slip in it is still a secret
    let slip = [("OPRC_SERVER", url.as_str()), ("OPRC_KEY", "oprc_0123456789abcdef_SECRET")];
    let told = Cli::run(&["key", "ls"], server.scratch(), &slip, None).await.fails(2);
    assert!(told.contains("OPRC_KEY") && !told.contains("SECRET"), "{told}");
}

/// What was begun with a key that counted is not done once it counts no more: a body that comes slowly, a wait.
async fn a_key_that_is_revoked_meanwhile(kind: Kind) {
    let (server, root) = closed(kind).await;
    let _shown = server.show_logs_on_panic();
    let class = Class::deploy(&root, "Slow", guests::prober(), "").await;
    let (name, client) = key(&root, &["admin".to_owned()]).await;
    // one that waits for a call which takes its time
    let sleep = class.through(&client).object("o").method("add").json(&json!({ "by": 1 }));
    let accepted = sleep.header("prefer", "respond-async").send().await.expect(202);
    let place = accepted.header("location").unwrap().to_owned();
    client.get(place.as_str()).send().await.expect(200);
    let body = json!({ "name": "mine", "scopes": ["admin"] }).to_string();
    let authorization = client.authorization().unwrap().to_owned();
    let head = format!(
        "POST /api/v1/keys HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\n\
         content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut slow = TcpStream::connect(client.address()).await.unwrap();
    let (begun, rest) = body.split_at(5);
    slow.write_all(format!("{head}{begun}").as_bytes()).await.unwrap();
    root.delete(format!("/api/v1/keys/{name}")).send().await.expect(204);
    slow.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    client.get(format!("{place}?wait=5s")).send().await.problem(Code::Unauthenticated);
    let keys = root.get("/api/v1/keys").send().await.expect(200).json();
    assert_eq!(keys["items"], json!([]), "no key came of it");
}

#[test]
fn a_key_that_is_revoked_meanwhile_embedded() {
    run(a_key_that_is_revoked_meanwhile(Kind::Embedded));
}

#[test]
fn a_key_that_is_revoked_meanwhile_apart() {
    run(a_key_that_is_revoked_meanwhile(Kind::Apart));
}

#[test]
fn nothing_without_a_key_embedded() {
    run(nothing_without_a_key(Kind::Embedded));
}

#[test]
fn nothing_without_a_key_apart() {
    run(nothing_without_a_key(Kind::Apart));
}

#[test]
fn scopes_hold_embedded() {
    run(scopes_hold(Kind::Embedded));
}

#[test]
fn scopes_hold_apart() {
    run(scopes_hold(Kind::Apart));
}

#[test]
fn a_key_from_its_making_to_its_end_embedded() {
    run(a_key_from_its_making_to_its_end(Kind::Embedded));
}

#[test]
fn a_key_from_its_making_to_its_end_apart() {
    run(a_key_from_its_making_to_its_end(Kind::Apart));
}

/// `oprc up --auth` makes the operator's own token at its first start, and keeps it.
#[test]
fn up_makes_the_first_token() {
    run(async {
        let server = Server::prepare(Kind::Embedded);
        let _shown = server.show_logs_on_panic();
        server.set_ingress_args(&["--auth"]);
        server.launch().await;
        let file = server.data_dir().join("root-key");
        let token = std::fs::read_to_string(&file).unwrap();
        assert!(server.host_log().contains(file.to_str().unwrap()), "a newcomer is told where it lies");
        server.http().with_key(token.trim()).get("/api/v1/cluster").send().await.expect(200);
        server.kill_host();
        server.launch().await;
        assert_eq!(std::fs::read_to_string(&file).unwrap(), token);
        server.http().with_key(token.trim()).get("/api/v1/cluster").send().await.expect(200);
    });
}

#[test]
fn nobody_is_let_in_from_elsewhere_by_mistake() {
    run(async {
        let server = Server::prepare(Kind::Embedded);
        let listen = format!("0.0.0.0:{}", free_port());
        let join = format!("tcp/127.0.0.1:{}", free_port());
        for args in
            [["up", "--listen", &listen].as_slice(), &["gateway", "--listen", &listen, "--join", &join]]
        {
            let told = Cli::run(args, server.scratch(), &[], None).await.fails(2);
            assert!(told.contains(&listen) && told.contains("--auth"), "{told}");
        }
    });
}
