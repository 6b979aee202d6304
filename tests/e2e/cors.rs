//! Web pages may use a gateway if the operator names their origin, and a browser's question beforehand needs no key and
//! tells nothing.

use oprc_mesh::outcome::Code;
use oprc_tests::{Call, Class, Cli, Kind, Reply, Server, guests, run};
use serde_json::json;

const APP: &str = "https://app.example";
const OTHER: &str = "https://other.example";

async fn server(kind: Kind, args: &[&str]) -> Server {
    let server = Server::prepare(kind);
    server.set_ingress_args(args);
    server.launch().await;
    server
}

/// A browser's question beforehand.
async fn asks(call: Call, origin: &str) -> Reply {
    let call = call.header("origin", origin).header("access-control-request-method", "POST");
    call.header("access-control-request-headers", "authorization,content-type,x-mine").send().await
}

async fn named_origins_may(kind: Kind) {
    let server = Server::prepare(kind);
    let token = Cli::run(&["key", "token"], server.scratch(), &[], None).await.ok();
    let file = server.scratch().join("root");
    std::fs::write(&file, &token).unwrap();
    let file = file.to_str().unwrap();
    server.set_ingress_args(&[
        "--auth",
        "--root-key-file",
        file,
        "--cors-origin",
        APP,
        "--cors-origin",
        "http://localhost:3000",
    ]);
    server.launch().await;
    let _shown = server.show_logs_on_panic();
    let root = server.http().with_key(token.trim());
    let class = Class::deploy(&root, "Cors", guests::counter(), "").await;
    let path = format!("{}/invoke/increment", class.object("o").path());
    // what is there and what is not is answered alike, to whoever asks
    for path in [&path, "/api/v1/classes/None/functions/none", "/api/v1/keys"] {
        let preflight = asks(server.http().call("OPTIONS", path), APP).await.expect(200);
        assert_eq!(preflight.header("access-control-allow-origin"), Some(APP));
        assert_eq!(preflight.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(
            preflight.header("access-control-allow-headers"),
            Some("authorization,content-type,x-mine")
        );
        assert!(preflight.header("access-control-allow-methods").unwrap().contains("PATCH"));
        assert!(preflight.header("access-control-max-age").is_some() && preflight.body.is_empty());
        let stranger = asks(server.http().call("OPTIONS", path), OTHER).await.expect(200);
        assert_eq!(stranger.header("access-control-allow-origin"), None);
    }
    let call = || class.http.post(&path).json(&json!({ "by": 1 }));
    let answer = call().header("origin", APP).send().await.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
    let exposed = answer.header("access-control-expose-headers").unwrap();
    for name in ["etag", "location", "retry-after", "oprc-version", "oprc-invocation-id"] {
        assert!(exposed.split(',').any(|exposed| exposed == name), "{name} in {exposed}");
    }
    assert!(answer.header("vary").unwrap().contains("origin"));
    assert_eq!(
        call().header("origin", OTHER).send().await.expect(200).header("access-control-allow-origin"),
        None
    );
    // a page that shows no key is refused, and may read that it is
    let refused = server.http().post(&path).json(&json!({})).header("origin", APP).send().await;
    assert_eq!(refused.header("access-control-allow-origin"), Some(APP));
    refused.problem(Code::Unauthenticated);
    // OPTIONS that is no browser's question is what it was
    server.http().call("OPTIONS", &path).send().await.problem_with(Code::Invalid, 405);
}

#[test]
fn named_origins_may_embedded() {
    run(named_origins_may(Kind::Embedded));
}

#[test]
fn named_origins_may_apart() {
    run(named_origins_may(Kind::Apart));
}

#[test]
fn all_may_but_without_a_browsers_credentials() {
    run(async {
        let server = server(Kind::Embedded, &["--cors-origin", "*"]).await;
        let answer = server.http().get("/api/v1/classes").header("origin", OTHER).send().await.expect(200);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    });
}

#[test]
fn nobody_may_unless_told() {
    run(async {
        let server = Server::shared(Kind::Embedded).await;
        asks(server.http().call("OPTIONS", "/api/v1/classes"), APP).await.problem_with(Code::Invalid, 405);
        let answer = server.http().get("/api/v1/classes").header("origin", APP).send().await.expect(200);
        assert_eq!(answer.header("access-control-allow-origin"), None);
    });
}
