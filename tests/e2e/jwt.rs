//! JWTs of an issuer count beside keys: for what their scopes say, as long as their time and their key last, and no others do.

use oprc_mesh::outcome::Code;
use oprc_tests::grpc::{Grpc, call, json_of, pb};
use oprc_tests::issuer::{AUDIENCE, ISSUER, KeyServer, Mint, claims, key_set};
use oprc_tests::{Class, Cli, Events, Http, Kind, PATIENCE, Server, eventually, free_port, guests, run};
use serde_json::{Value, json};
use tokio::time::timeout;
use tonic::{Code as Status, Request};

use crate::access::close;

/// A server that takes what is signed by the keys at `jwks`, and a client of it that may do everything.
async fn taking(kind: Kind, jwks: impl FnOnce(&Server) -> String) -> (Server, Http) {
    let server = Server::prepare(kind);
    let jwks = jwks(&server);
    let args = ["--jwt-jwks", &jwks, "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE];
    let root = close(&server, &args).await;
    (server, root)
}

fn at(port: u16) -> String {
    format!("http://127.0.0.1:{port}/keys")
}

/// Whether a call with this token is let in; none as long as that cannot be told.
async fn counts(class: &Class, token: &str) -> Option<bool> {
    let reply = class.through(&class.http.with_key(token)).object("o").get().await;
    match reply.status {
        503 => {
            reply.problem(Code::Unavailable);
            None
        }
        401 => Some(false),
        _ => Some(reply.expect(200).status == 200),
    }
}

fn with<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

async fn scopes_and_names_hold(kind: Kind) {
    let mint = Mint::new("a");
    let port = free_port();
    let _keys = KeyServer::start(port, &[&mint]).await;
    let (server, root) = taking(kind, |_| at(port)).await;
    let _shown = server.show_logs_on_panic();
    let class = Class::deploy(&root, "Signed", guests::prober(), "").await;
    class.object("o").invoke("add", json!({ "by": 1 })).await.expect(200);
    let scope = format!("openid read:{0} invoke:{0}", class.name);
    let alice = mint.token("alice smith", &scope);
    keys_are_there(&class, &alice).await;
    let hers = class.through(&root.with_key(&alice));
    let told = hers.object("o").invoke("circumstances-of-call", json!({})).await.expect(200).json();
    assert_eq!(told["caller"], "jwt:alice%20smith", "the guest is told who calls");
    // what is not hers, and what is not there, look the same
    for name in ["Absent", "Other"] {
        let told = root.with_key(&alice).get(format!("/api/v1/classes/{name}/objects/o")).send().await;
        let told = told.problem(Code::Denied)["detail"].to_string();
        assert!(told.contains(&format!("read:{name}")), "{told}");
    }
    for (path, missing) in [("/api/v1/cluster", "admin"), ("/api/v1/keys", "admin")] {
        let told = root.with_key(&alice).get(path).send().await.problem(Code::Denied)["detail"].to_string();
        assert!(told.contains(missing), "{told}");
    }
    // somebody who may do nothing is somebody all the same
    let idle = root.with_key(&mint.token("bob", "openid profile"));
    idle.get(hers.object("o").path()).send().await.problem(Code::Denied);
    assert_eq!(idle.get("/api/v1/classes").send().await.expect(200).json()["items"], json!([]));
    by_grpc(&server, &class, &alice, &mint).await;
    let url = server.url();
    let shown = [("OPRC_SERVER", url.as_str()), ("OPRC_KEY", alice.as_str())];
    let address = format!("{}/o", class.name);
    assert!(Cli::run(&["get", &address], server.scratch(), &shown, None).await.ok().contains('n'));
    let told = Cli::run(&["status"], server.scratch(), &shown, None).await.fails(1);
    assert!(told.contains("admin") && !told.contains(&alice), "{told}");
}

async fn by_grpc(server: &Server, class: &Class, alice: &str, mint: &Mint) {
    let grpc = Grpc::to(server).await;
    let invoke = |class: &Class, token: &str| {
        let call = call(class, Some("o"), "circumstances-of-call", &json!({}));
        let request = with(pb::InvokeRequest { call: Some(call), consistency: 0 }, token);
        let mut client = grpc.invocations.clone();
        async move { client.invoke(request).await.map(tonic::Response::into_inner) }
    };
    assert_eq!(json_of(&invoke(class, alice).await.unwrap())["caller"], "jwt:alice%20smith");
    let reads = mint.token("alice", &format!("read:{}", class.name));
    assert_eq!(invoke(class, &reads).await.unwrap_err().code(), Status::PermissionDenied);
    let absent = Class { name: "Absent".to_owned(), ..class.clone() };
    let over = mint.sign(&claims("alice", "admin", -31));
    for class in [class, &absent] {
        for bad in [over.as_str(), "a.b.c", &Mint::new("a").token("alice", "admin")] {
            assert_eq!(invoke(class, bad).await.unwrap_err().code(), Status::Unauthenticated);
        }
    }
}

/// A class with an object to read.
async fn signed(root: &Http) -> Class {
    let class = Class::deploy(root, "Signed", guests::counter(), "").await;
    class.object("o").put(&json!({})).send().await.expect(201);
    class
}

/// Waits until the gateway can tell of a token that counts.
async fn keys_are_there(class: &Class, token: &str) -> bool {
    eventually("the issuer's keys are there", || async { counts(class, token).await }).await
}

async fn no_other_token_counts(kind: Kind) {
    let [mint, stranger, other] = [Mint::new("a"), Mint::new("a"), Mint::new("b")];
    let port = free_port();
    let _keys = KeyServer::start(port, &[&mint]).await;
    let (server, root) = taking(kind, |_| at(port)).await;
    let _shown = server.show_logs_on_panic();
    let class = signed(&root).await;
    let good = mint.token("alice", "admin");
    keys_are_there(&class, &good).await;
    assert_eq!(counts(&class, &good).await, Some(true));
    let but = |name: &str, value: Value| {
        let mut claims = claims("alice", "admin", 3_600);
        claims[name] = value;
        mint.sign(&claims)
    };
    let (head, rest) = good.split_once('.').unwrap();
    let long = mint.sign(&json!({ "x": "x".repeat(9_000) }));
    let mut answers = Vec::new();
    for bad in [
        mint.sign(&claims("alice", "admin", -31)),
        but("nbf", json!(u32::MAX)),
        but("iss", json!("https://elsewhere.example")),
        but("aud", json!("elsewhere")),
        but("exp", Value::Null),
        but("sub", Value::Null),
        stranger.token("alice", "admin"),
        other.token("alice", "admin"),
        long,
        format!("{good}A"),
        format!("eyJhbGciOiJub25lIn0.{rest}"),
        format!("{head}.{head}.{head}"),
        "a.b.c".to_owned(),
    ] {
        for name in [&class.name, "Absent"] {
            let path = format!("/api/v1/classes/{name}/objects/o");
            let reply = root.with_key(&bad).get(path).send().await;
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
            answers.push(reply.problem(Code::Unauthenticated)["detail"].clone());
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "what is wrong is not told: {answers:?}");
}

async fn keys_are_replaced(kind: Kind) {
    let [first, second] = [Mint::new("first"), Mint::new("second")];
    let port = free_port();
    let keys = KeyServer::start(port, &[&first]).await;
    let (server, root) = taking(kind, |_| at(port)).await;
    let _shown = server.show_logs_on_panic();
    let class = signed(&root).await;
    let [old, new] = [&first, &second].map(|mint| mint.token("alice", "admin"));
    keys_are_there(&class, &old).await;
    assert_eq!(counts(&class, &old).await, Some(true));
    // a key that is new is asked for by the first token that names it
    keys.publish(&[&second]);
    assert_eq!(counts(&class, &new).await, Some(true));
    assert_eq!(counts(&class, &old).await, Some(false), "the one that was taken back counts no more");
    // and those who make up names for keys do not have the issuer asked each time
    let asked = keys.asked();
    for at in 0..40 {
        let made_up = Mint::new(&format!("made-up-{at}")).token("mallory", "admin");
        assert_eq!(counts(&class, &made_up).await, Some(false));
    }
    assert!(keys.asked() <= asked + 2, "{} more than {asked}", keys.asked());
    // nor does it matter to those who are known that the issuer is down
    drop(keys);
    assert_eq!(counts(&class, &new).await, Some(true));
}

async fn a_file_is_replaced(kind: Kind) {
    let [first, second] = [Mint::new("first"), Mint::new("second")];
    let (server, root) = taking(kind, |server| {
        let file = server.scratch().join("keys.json");
        std::fs::write(&file, key_set(&[&first]).to_string()).unwrap();
        file.to_str().unwrap().to_owned()
    })
    .await;
    let _shown = server.show_logs_on_panic();
    let file = server.scratch().join("keys.json");
    let class = signed(&root).await;
    let [old, new] = [&first, &second].map(|mint| mint.token("alice", "admin"));
    assert_eq!((counts(&class, &old).await, counts(&class, &new).await), (Some(true), Some(false)));
    let put = |mints: &[&Mint]| std::fs::write(&file, key_set(mints).to_string()).unwrap();
    let until = async |old_counts, new_counts| {
        eventually("the file is taken over", || async {
            let both = (counts(&class, &old).await, counts(&class, &new).await);
            (both == (Some(old_counts), Some(new_counts))).then_some(())
        })
        .await;
    };
    put(&[&first, &second]);
    until(true, true).await;
    put(&[&second]);
    until(false, true).await;
    std::fs::write(&file, "half of").unwrap();
    put(&[&first]);
    until(true, false).await;
}

async fn the_issuer_is_down_at_first(kind: Kind) {
    let mint = Mint::new("a");
    let port = free_port();
    let (server, root) = taking(kind, |_| at(port)).await;
    let _shown = server.show_logs_on_panic();
    let class = signed(&root).await;
    let token = mint.token("alice", "admin");
    assert_eq!(counts(&class, &token).await, None, "keys count, and of JWTs nothing can be told");
    let keys = KeyServer::start(port, &[&mint]).await;
    let let_in = keys_are_there(&class, &token).await;
    assert!(let_in && keys.asked() > 0);
}

async fn streams_end_with_their_token(kind: Kind) {
    let mint = Mint::new("a");
    let port = free_port();
    let _keys = KeyServer::start(port, &[&mint]).await;
    let (server, root) = taking(kind, |_| at(port)).await;
    let _shown = server.show_logs_on_panic();
    let class = signed(&root).await;
    let long = mint.token("alice", "admin");
    keys_are_there(&class, &long).await;
    let path = format!("/classes/{}/events", class.name);
    let grpc = Grpc::to(&server).await;
    // its time is over, but for what the clocks may be apart
    let token = mint.sign(&claims("alice", "admin", -10));
    let mut by_rest = Events::watch(&root.with_key(&token), &path, None).await;
    let watch = pb::WatchRequest { class_name: class.name.clone(), ..Default::default() };
    let mut by_grpc = grpc.events.clone().watch(with(watch, &token)).await.unwrap().into_inner();
    let mut other = Events::watch(&root.with_key(&long), &path, None).await;
    assert_eq!(by_rest.named("end").await["reason"], "denied");
    let end = async {
        loop {
            match by_grpc.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a stream ends with a reason"),
                Err(status) => return status.code(),
            }
        }
    };
    assert_eq!(timeout(PATIENCE, end).await.expect("it ends"), Status::Unauthenticated);
    assert_eq!(counts(&class, &token).await, Some(false));
    class.object("p").put(&json!({})).send().await.expect(201);
    assert_eq!(other.event().await["object"], "p", "who has a token goes on");
}

/// What cannot be meant is refused before anything is started.
#[test]
fn flags_that_do_not_go_together_are_refused() {
    run(async {
        let server = Server::prepare(Kind::Embedded);
        let keys = server.scratch().join("keys.json");
        let keys = keys.to_str().unwrap();
        let all = ["--jwt-jwks", keys, "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE];
        let auth = ["--auth"].into_iter();
        for (args, told) in [
            (all.to_vec(), "--auth"),
            (auth.clone().chain(all[..4].iter().copied()).collect(), "--jwt-audience"),
            (auth.clone().chain(all[..2].iter().copied()).collect(), "--jwt-issuer"),
            (auth.clone().chain(all[2..].iter().copied()).collect(), "--jwt-jwks"),
            (auth.clone().chain(["--jwt-jwks", "http://issuer.example/keys"]).collect(), "https"),
        ] {
            let args: Vec<_> = ["up", "--listen", "127.0.0.1:0"].into_iter().chain(args).collect();
            let said = Cli::run(&args, server.scratch(), &[], None).await.fails(2);
            assert!(said.contains(told), "{args:?}: {said}");
        }
        // a file without keys is no slip that could be waited out
        std::fs::write(server.scratch().join("keys.json"), r#"{"keys":[]}"#).unwrap();
        let args: Vec<_> = ["up", "--listen", "127.0.0.1:0", "--auth"].into_iter().chain(all).collect();
        let said = Cli::run(&args, server.scratch(), &[], None).await.fails(1);
        assert!(said.contains("keys.json"), "{said}");
    });
}

#[test]
fn scopes_and_names_hold_embedded() {
    run(scopes_and_names_hold(Kind::Embedded));
}

#[test]
fn scopes_and_names_hold_apart() {
    run(scopes_and_names_hold(Kind::Apart));
}

#[test]
fn no_other_token_counts_embedded() {
    run(no_other_token_counts(Kind::Embedded));
}

#[test]
fn no_other_token_counts_apart() {
    run(no_other_token_counts(Kind::Apart));
}

#[test]
fn keys_are_replaced_embedded() {
    run(keys_are_replaced(Kind::Embedded));
}

#[test]
fn keys_are_replaced_apart() {
    run(keys_are_replaced(Kind::Apart));
}

#[test]
fn a_file_is_replaced_embedded() {
    run(a_file_is_replaced(Kind::Embedded));
}

#[test]
fn a_file_is_replaced_apart() {
    run(a_file_is_replaced(Kind::Apart));
}

#[test]
fn the_issuer_is_down_at_first_embedded() {
    run(the_issuer_is_down_at_first(Kind::Embedded));
}

#[test]
fn the_issuer_is_down_at_first_apart() {
    run(the_issuer_is_down_at_first(Kind::Apart));
}

#[test]
fn streams_end_with_their_token_embedded() {
    run(streams_end_with_their_token(Kind::Embedded));
}

#[test]
fn streams_end_with_their_token_apart() {
    run(streams_end_with_their_token(Kind::Apart));
}
