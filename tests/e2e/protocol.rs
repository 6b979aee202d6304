//! HTTP itself: methods, paths, HEAD, health, the invocation's id, broken requests.

use std::time::Duration;

use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Server, both, eventually, guests, raw};
use serde_json::{Value, json};

both!(paths, methods, head, health, invocation_ids, queries, broken_requests, http2, cluster);

async fn paths(server: Server) {
    let http = server.http();
    for path in [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/",
        "/api/v2/classes",
        "/api/v1/nothing",
        "/api/v1/classes/A/nothing",
        "/api/v1/classes/A/objects/a/b",
        "/api/v1/classes/A/objects/a/fields/b/c",
        "/api/v1/classes/A/objects/a/invoke",
        "/healthz/x",
        "/favicon.ico",
        "//api/v1/classes",
    ] {
        http.get(path).send().await.problem(Code::NotFound);
    }
    let long = format!("/{}", "a/".repeat(4000));
    let reply = http.get(long).send().await;
    assert!([404, 414, 431].contains(&reply.status), "{reply:?}");
}

async fn methods(server: Server) {
    let class = Class::deploy(&server, "Methods", guests::prober(), "").await;
    let object = class.object("o");
    for (path, wrong, allowed) in [
        ("/healthz".to_owned(), "POST", vec!["GET", "HEAD"]),
        ("/api/v1/classes".to_owned(), "POST", vec!["GET", "HEAD"]),
        ("/api/v1/invoke".to_owned(), "GET", vec!["POST"]),
        ("/api/v1/cluster".to_owned(), "DELETE", vec!["GET", "HEAD"]),
        (class.path(), "POST", vec!["GET", "HEAD", "PUT", "DELETE"]),
        (class.path(), "PATCH", vec!["GET", "HEAD", "PUT", "DELETE"]),
        (format!("{}/versions", class.path()), "PUT", vec!["GET", "HEAD"]),
        (format!("{}/functions/touch", class.path()), "GET", vec!["POST"]),
        (format!("{}/objects", class.path()), "POST", vec!["GET", "HEAD"]),
        (object.path(), "POST", vec!["GET", "HEAD", "PUT", "PATCH", "DELETE"]),
        (object.path(), "BREW", vec!["GET", "HEAD", "PUT", "PATCH", "DELETE"]),
        (format!("{}/invoke/touch", object.path()), "GET", vec!["POST"]),
        (format!("{}/invoke/touch", object.path()), "PUT", vec!["POST"]),
        (format!("{}/fields", object.path()), "DELETE", vec!["GET", "HEAD"]),
        (format!("{}/fields/k", object.path()), "PATCH", vec!["GET", "HEAD", "PUT", "DELETE"]),
    ] {
        let reply = class.http.call(wrong, &path).send().await;
        reply.problem_with(Code::Invalid, 405);
        let mut allow: Vec<_> =
            reply.header("allow").expect("405 tells what is allowed").split(", ").collect();
        let mut allowed = allowed;
        allow.sort_unstable();
        allowed.sort_unstable();
        assert_eq!(allow, allowed, "{path}");
    }
}

/// HEAD is GET without the body: the same status and headers.
async fn head(server: Server) {
    let class = Class::deploy(&server, "Head", guests::prober(), "").await;
    let object = class.object("o");
    object.put(&json!({ "a": 1 })).send().await.ok();
    for path in [
        "/healthz".to_owned(),
        "/api/v1/classes".to_owned(),
        class.path(),
        object.path(),
        format!("{}/fields", object.path()),
        format!("{}/fields/a", object.path()),
        format!("{}/fields/absent", object.path()),
        format!("{}/objects", class.path()),
        class.object("absent").path(),
        class.object("%20").path(),
    ] {
        let get = class.http.get(&path).send().await;
        let head = class.http.call("HEAD", &path).send().await;
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        for name in ["content-type", "etag", "content-length"] {
            assert_eq!(head.header(name), get.header(name), "{name} of {path}");
        }
    }
}

async fn health(server: Server) {
    for path in ["/healthz", "/readyz"] {
        server.http().get(path).send().await.expect(200);
        if server.kind() == oprc_tests::Kind::Apart {
            server.health().get(path).send().await.expect(200);
        }
    }
}

async fn invocation_ids(server: Server) {
    let class = Class::deploy(&server, "Ids", guests::prober(), "").await;
    let object = class.object("o");
    let call = || object.method("add").json(&json!({ "by": 1 }));
    let (one, two) = (call().send().await.expect(200), call().send().await.expect(200));
    let (one, two) = (one.header("oprc-invocation-id").unwrap(), two.header("oprc-invocation-id").unwrap());
    assert!(!one.is_empty() && one != two);
    let named = call().header("idempotency-key", "order-4711").send().await.expect(200);
    assert_eq!(named.header("oprc-invocation-id"), Some("order-4711"));
    // a failed call has one too: it is what the log is searched for
    let failed = object.method("explode").send().await;
    failed.problem(Code::Trap);
    assert!(failed.header("oprc-invocation-id").is_some(), "{failed:?}");
    for bad in ["", " ", "a\tb", &"k".repeat(10_000)] {
        let before = object.version().await;
        call().header("idempotency-key", bad).send().await.problem(Code::Invalid);
        assert_eq!(object.version().await, before);
    }
}

/// A parameter that is not known is refused, so that a typo does not pass for a default.
async fn queries(server: Server) {
    let class = Class::deploy(&server, "Queries", guests::prober(), "").await;
    let object = class.object("o");
    object.put(&json!({ "a": 1 })).send().await.ok();
    for path in
        [object.path(), class.path(), format!("{}/fields/a", object.path()), "/api/v1/cluster".to_owned()]
    {
        class.http.get(format!("{path}?surprise=1")).send().await.problem(Code::Invalid);
    }
    class.http.get(format!("{}?", object.path())).send().await.expect(200);
}

async fn broken_requests(server: Server) {
    let port: u16 = server.url().rsplit(':').next().unwrap().parse().unwrap();
    let quiet = Duration::from_secs(2);
    let long_header = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(1_000_000));
    let many_headers = format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(10_000));
    for request in [
        "\r\n\r\n",
        "NONSENSE\r\n\r\n",
        "GET /healthz HTTP/9.9\r\n\r\n",
        "GET /\u{e9} HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /api/v1/invoke HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        "POST /api/v1/invoke HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
        "POST /api/v1/invoke HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        &long_header,
        &many_headers,
    ] {
        let answer = raw::exchange(port, request.as_bytes(), quiet).await;
        let head: String = request.chars().take(60).collect();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{head:?} -> {answer:?}");
    }
    // a client that goes away in the middle of its body leaves nothing behind
    let class = Class::deploy(&server, "Broken", guests::prober(), "").await;
    let path = format!("{}/fields/a", class.object("o").path());
    let cut = format!("PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc");
    raw::exchange(port, cut.as_bytes(), Duration::from_millis(200)).await;
    class.object("o").get().await.problem(Code::NotFound);
    server.http().get("/healthz").send().await.expect(200);
}

/// One port speaks both versions.
async fn http2(server: Server) {
    let class = Class::deploy(&server, "H2", guests::counter(), "").await;
    let http = server.http().multiplexed().await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let object = class.through(&http).object("o");
        calls.spawn(async move { object.invoke("increment", json!({ "by": 1 })).await.expect(200) });
    }
    calls.join_all().await;
    assert_eq!(class.object("o").version().await, 100);
    class.through(&http).object("absent").get().await.problem(Code::NotFound);
}

async fn cluster(server: Server) {
    // others write meanwhile, and what is just being applied is behind for a moment
    let cluster = eventually("no replica is behind", || async {
        let cluster = server.http().get("/api/v1/cluster").send().await.expect(200).json();
        let behind = |partition: &Value| partition["replicas"][0]["lag"] != json!(0);
        let caught_up = !cluster["partitions"].as_array().unwrap().iter().any(behind);
        caught_up.then_some(cluster)
    })
    .await;
    let nodes = cluster["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 1, "{cluster}");
    let node = &nodes[0]["id"];
    let default: Vec<_> = cluster["partitions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|partition| partition["grid"] == "default")
        .collect();
    assert_eq!(default.len(), 16, "{cluster}");
    for partition in default {
        assert_eq!(&partition["leader"], node, "{partition}");
        assert!(
            partition["term"].as_u64() > Some(0) && partition["applied"].as_u64() > Some(0),
            "{partition}"
        );
        assert_eq!(partition["replicas"].as_array().unwrap().len(), 1, "{partition}");
        assert_eq!(
            (&partition["replicas"][0]["node"], &partition["replicas"][0]["lag"]),
            (node, &json!(0)),
            "{partition}"
        );
    }
}
