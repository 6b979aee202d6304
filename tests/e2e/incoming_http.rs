//! Requests that a class serves by its own handler: it sees them as they came, but for what is between client and gateway,
//! and its answer leaves as it is; what goes wrong is a problem like any other.

use oprc_mesh::limits::{SERVED_HEADERS_BYTES_MAX, SERVED_HEADERS_MAX, SERVED_PATH_BYTES_MAX};
use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Http, Kind, Origin, Reply, Server, both, guests, run};
use serde_json::json;

use crate::access::{closed, key};

both!(
    any_method_and_path_is_the_handlers,
    bodies_come_and_go_as_they_are,
    sizes_are_bounded,
    headers_are_bounded,
    a_status_is_the_handlers_own,
    what_fails_is_a_problem,
    a_class_without_a_handler_serves_nothing,
    a_handler_reaches_objects_and_the_world,
    what_it_serves_is_kept_by_a_careful_deployment,
);

async fn web(server: &Server, manifest: &str) -> Class {
    Class::deploy(server, "Web", guests::web(), manifest).await
}

fn at(class: &Class, path: &str) -> String {
    format!("{}/http{path}", class.path())
}

async fn any_method_and_path_is_the_handlers(server: Server) {
    let class = web(&server, "").await;
    let address = server.http().address().to_string();
    for (method, shown) in [
        ("GET", "Method::Get"),
        ("POST", "Method::Post"),
        ("PUT", "Method::Put"),
        ("PATCH", "Method::Patch"),
        ("DELETE", "Method::Delete"),
        ("OPTIONS", "Method::Options"),
        ("PROPFIND", "Method::Other(\"PROPFIND\")"),
    ] {
        let path = "/echo/a//b/../%2F%20?q=1&q=%32";
        let reply = class.http.call(method, at(&class, path)).send().await.expect(200);
        assert_eq!(reply.header("x-method"), Some(shown));
        assert_eq!(reply.header("x-path"), Some(path));
        assert_eq!(reply.header("x-authority"), Some(address.as_str()));
        assert!(reply.header("oprc-invocation-id").is_some());
    }
    let head = class.http.call("HEAD", at(&class, "/echo")).octets("x").send().await.expect(200);
    assert_eq!((head.header("x-method"), head.body.len()), (Some("Method::Head"), 0));
    // its own root, with and without a slash
    for root in ["", "/", "?x=1", "/?x=1"] {
        let reply = class.http.get(at(&class, root)).send().await.expect(404);
        let seen =
            if root.is_empty() { "/".to_owned() } else { format!("/{}", root.trim_start_matches('/')) };
        assert_eq!(reply.body, format!("nothing at {seen}"), "{root}");
    }
    // over HTTP/2 as well
    let http = server.http().multiplexed().await;
    let reply = http.get(at(&class, "/echo?h2")).send().await.expect(200);
    assert_eq!(
        (reply.header("x-path"), reply.header("x-authority")),
        (Some("/echo?h2"), Some(address.as_str()))
    );
}

async fn bodies_come_and_go_as_they_are(server: Server) {
    let class = web(&server, "").await;
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let reply =
        class.http.post(at(&class, "/echo")).body("image/png", bytes.clone()).send().await.expect(200);
    assert_eq!(reply.body, bytes);
    assert_eq!(reply.header("content-type"), Some("application/octet-stream"));
    let none = class.http.post(at(&class, "/echo")).send().await.expect(200);
    assert_eq!(none.body, "");
}

async fn sizes_are_bounded(server: Server) {
    let class = web(&server, "[class.limits]\npayload_kib = 64").await;
    let most = 64 * 1024;
    let post = |bytes: usize| class.http.post(at(&class, "/echo")).octets(vec![1; bytes]).send();
    assert_eq!(post(most).await.expect(200).body.len(), most);
    post(most + 1).await.problem(Code::PayloadTooLarge);
    let big = |bytes: usize| class.http.get(at(&class, &format!("/big/{bytes}"))).send();
    assert_eq!(big(most).await.expect(200).body.len(), most);
    big(most + 1).await.problem(Code::PayloadTooLarge);
    let path = |bytes: usize| class.http.get(at(&class, &format!("/echo?{}", "x".repeat(bytes - 6)))).send();
    assert_eq!(
        path(SERVED_PATH_BYTES_MAX).await.expect(200).header("x-path").unwrap().len(),
        SERVED_PATH_BYTES_MAX
    );
    path(SERVED_PATH_BYTES_MAX + 1).await.expect(414);
}

async fn headers_are_bounded(server: Server) {
    let class = web(&server, "").await;
    let call = class.http.get(at(&class, "/headers"));
    let shown = call
        .clone()
        .header("cookie", "a=b")
        .header("x-twice", "1")
        .header("x-twice", "2")
        .header("x-forwarded-for", "10.0.0.1")
        .header("connection", "x-hop")
        .header("x-hop", "s")
        .header("te", "trailers")
        .header("x-request-timeout-ms", 5_000);
    let shown = shown.send().await.expect(200);
    assert_eq!(shown.body, "cookie: a=b\nx-twice: 1\nx-twice: 2\nx-forwarded-for: 10.0.0.1\n");
    // what a client shows a gateway that asks nobody who they are is the class's own affair
    let own = call.clone().header("authorization", "Basic eA==").send().await.expect(200);
    assert_eq!(own.body, "authorization: Basic eA==\n");
    let many = |count: usize| (0..count).fold(call.clone(), |call, n| call.header(&format!("a{n}"), ""));
    many(SERVED_HEADERS_MAX).send().await.expect(200);
    many(SERVED_HEADERS_MAX + 1).send().await.expect(431);
    // and those of the answer
    let fields =
        |count: usize, bytes: usize| class.http.get(at(&class, &format!("/fields/{count}/{bytes}"))).send();
    fields(SERVED_HEADERS_MAX, 1).await.expect(200);
    fields(SERVED_HEADERS_MAX + 1, 1).await.problem(Code::PayloadTooLarge);
    fields(1, SERVED_HEADERS_BYTES_MAX - "x-0".len()).await.expect(200);
    fields(1, SERVED_HEADERS_BYTES_MAX).await.problem(Code::PayloadTooLarge);
}

async fn a_status_is_the_handlers_own(server: Server) {
    let class = web(&server, "").await;
    let status = |status: u16| class.http.get(at(&class, &format!("/status/{status}"))).send();
    for own in [200, 204, 299, 301, 304, 400, 404, 418, 500, 503, 599] {
        let reply = status(own).await.expect(own);
        assert_eq!((reply.body.len(), reply.header("content-type")), (0, None), "{reply:?}");
    }
    for none in [101, 199, 600, 999] {
        status(none).await.problem(Code::Trap);
    }
}

async fn what_fails_is_a_problem(server: Server) {
    let class = web(&server, "").await;
    let get = |path: &'static str| class.http.get(at(&class, path)).send();
    for (path, why) in [
        ("/trap", "trapped"),
        ("/after", "trapped"),
        ("/silent", "without an answer"),
        ("/gives-up", "LoopDetected"),
        ("/unfinished", "did not finish"),
    ] {
        let reply = get(path).await;
        let problem = reply.problem(Code::Trap);
        assert!(problem["detail"].as_str().unwrap().contains(why), "{path}: {problem}");
        assert_eq!(problem["subject"], format!("{}.http", class.name));
    }
    // and the next one is served as if nothing had been
    get("/echo").await.expect(200);
    let brief = web(&server, "[class.limits]\nwall_ms = 1000").await;
    brief.http.get(at(&brief, "/slow/60000")).send().await.problem(Code::WallLimit);
}

async fn a_class_without_a_handler_serves_nothing(server: Server) {
    let class = Class::deploy(&server, "Counter", guests::counter(), "").await;
    let reply = class.http.get(at(&class, "/x")).send().await;
    let problem = reply.problem(Code::NotFound);
    assert!(problem["hint"].as_str().unwrap().contains("wasi:http/incoming-handler"), "{problem}");
    server.http().get("/api/v1/classes/NoSuchClass/http").send().await.problem(Code::NotFound);
    server.http().get("/api/v1/classes/9/http/x").send().await.problem(Code::Invalid);
}

async fn a_handler_reaches_objects_and_the_world(server: Server) {
    let origin = Origin::new().await;
    let class = web(&server, &format!("[class.allow]\nhttp = [{:?}]", origin.url())).await;
    let stored = class.http.post(at(&class, &format!("/store/{}/o", class.name))).octets("told").send().await;
    assert_eq!(stored.expect(201).header("location"), Some("/objects/o"));
    assert_eq!(class.object("o").fields().await, json!({ "body": { "$text": "told" } }));
    let relayed =
        class.http.get(at(&class, &format!("/relay?{}/far", origin.url()))).send().await.expect(200);
    assert!(relayed.body.starts_with(b"200 "), "{relayed:?}");
    assert_eq!(origin.asked("/far").len(), 1);
    let who = class.http.get(at(&class, "/who")).header("x-tenant", "t").send().await.expect(200);
    let id = who.header("oprc-invocation-id").unwrap();
    assert_eq!(who.body, format!("None None http {id} x-tenant=t"));
}

async fn what_it_serves_is_kept_by_a_careful_deployment(server: Server) {
    let class = web(&server, "").await;
    let refused = class.redeploy_carefully(guests::counter(), "").await;
    let refused = refused.problem(Code::Conflict);
    assert!(refused["detail"].as_str().unwrap().contains("over HTTP"), "{refused}");
    class.redeploy(guests::counter(), "").await.expect(201);
    class.http.get(at(&class, "/echo")).send().await.problem(Code::NotFound);
    class.roll_back(None).await.expect(201);
    class.http.get(at(&class, "/echo")).send().await.expect(200);
    let described = server.cli(&["describe", &class.name]).await.ok();
    assert!(described.contains("/http go to its HTTP handler"), "{described}");
}

/// Who is let in is the platform's affair, and its credentials are not the class's.
async fn keys_are_asked_for_and_kept_from_the_class(kind: Kind) {
    let (server, root) = closed(kind).await;
    let _shown = server.show_logs_on_panic();
    let class = Class::deploy(&root, "Web", guests::web(), "").await;
    let (name, invoker) = key(&root, &[format!("invoke:{}", class.name)]).await;
    let (_, reader) = key(&root, &[format!("read:{}", class.name)]).await;
    let get = async |http: &Http, path: &str| -> Reply { http.get(at(&class, path)).send().await };
    get(&server.http(), "/echo").await.problem(Code::Unauthenticated);
    get(&reader, "/echo").await.problem(Code::Denied);
    assert_eq!(get(&invoker, "/headers").await.expect(200).body, "");
    let who = get(&invoker, "/who").await.expect(200);
    assert!(
        who.body.starts_with(format!("Some({:?}) None http ", format!("key:{name}")).as_bytes()),
        "{who:?}"
    );
}

#[test]
fn keys_are_asked_for_and_kept_from_the_class_embedded() {
    run(keys_are_asked_for_and_kept_from_the_class(Kind::Embedded));
}

#[test]
fn keys_are_asked_for_and_kept_from_the_class_apart() {
    run(keys_are_asked_for_and_kept_from_the_class(Kind::Apart));
}
