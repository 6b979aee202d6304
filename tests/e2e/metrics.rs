//! What `/metrics` says is what happened: each call is counted once, by what it came to; what callers make up adds no
//! series; what left the catalog is told no more; and where keys are asked for, the page needs one.

use std::collections::BTreeSet;

use oprc_mesh::outcome::Code;
use oprc_tests::grpc::{Grpc, call};
use oprc_tests::metrics::Metrics;
use oprc_tests::{Class, Http, Kind, Server, both, eventually, guests, run};
use serde_json::json;

use crate::access::{closed, key};
use crate::asynchronous::{accepted, decided, later};

both!(
    calls_are_counted_once_by_what_they_came_to,
    storage_is_counted,
    messages_are_counted,
    a_removed_class_takes_its_series_along,
);

async fn calls_are_counted_once_by_what_they_came_to(server: Server) {
    let class = Class::deploy(&server, "Counted", guests::prober(), "readonly = [\"value\"]").await;
    let (object, grpc) = (class.object("o"), Grpc::to(&server).await);
    for _ in 0..7 {
        object.invoke("add", json!([1])).await.expect(200);
    }
    for _ in 0..5 {
        object.invoke("refuse", json!(["no", 1])).await.problem(Code::FunctionError);
    }
    for _ in 0..3 {
        object.invoke("explode", json!([])).await.problem(Code::Trap);
    }
    for at in 0..4 {
        object.invoke(&format!("made-up-{at}"), json!([])).await.problem(Code::NotFound);
    }
    object.invoke("value", json!([])).await.expect(200);
    for _ in 0..2 {
        grpc.invoke(call(&class, Some("o"), "add", &json!([1]))).await.unwrap();
    }
    let (gateway, host) = (Metrics::of(&server.http()).await, Metrics::of_host(&server).await);
    let expected = [
        ("add", "ok", "rest", 7),
        ("add", "ok", "grpc", 2),
        ("refuse", "function-error", "rest", 5),
        ("explode", "trap", "rest", 3),
        ("_other", "not-found", "rest", 4),
        ("value", "ok", "rest", 1),
    ];
    let name = class.name.as_str();
    for (method, outcome, protocol, count) in expected {
        let labels = [("class", name), ("method", method), ("outcome", outcome), ("protocol", protocol)];
        assert_eq!(gateway.sum("oprc_gateway_calls_total", &labels), count, "{labels:?}");
    }
    assert_eq!(gateway.sum("oprc_gateway_calls_total", &[("class", name)]), 22, "and no others");
    assert_eq!(gateway.sum("oprc_gateway_call_duration_seconds_count", &[("class", name)]), 22);
    for (method, outcome, count) in [
        ("add", "ok", 9),
        ("refuse", "function-error", 5),
        ("explode", "trap", 3),
        ("_other", "not-found", 4),
    ] {
        let labels = [("class", name), ("method", method), ("outcome", outcome), ("via", "call")];
        assert_eq!(host.sum("oprc_host_turns_total", &labels), count, "{labels:?}");
    }
    assert_eq!(host.sum("oprc_host_turns_total", &[("class", name)]), 22);
    // what was refused before anything ran had no memory
    assert_eq!(host.sum("oprc_host_guest_memory_peak_bytes_count", &[("class", name)]), 18);
    assert!(host.sum("oprc_host_guest_memory_peak_bytes_sum", &[("class", name)]) >= 18 * 64 * 1024);
    assert!(gateway.sum("oprc_gateway_requests_total", &[("operation", "invoke"), ("outcome", "trap")]) >= 3);
    assert!(
        gateway.sum("oprc_gateway_requests_total", &[("operation", "invoke"), ("protocol", "grpc")]) >= 2
    );
}

async fn storage_is_counted(server: Server) {
    let class = Class::deploy(&server, "Stored", guests::counter(), "").await;
    let before = Metrics::of_host(&server).await;
    for _ in 0..10 {
        class.object("o").invoke("increment", json!({ "by": 1 })).await.expect(200);
    }
    let replayed =
        class.object("o").method("increment").json(&json!({ "by": 1 })).header("idempotency-key", "k");
    replayed.clone().send().await.expect(200);
    replayed.send().await.expect(200);
    let after = Metrics::of_host(&server).await;
    let grew = |name, labels: &[(&str, &str)]| after.sum(name, labels) - before.sum(name, labels);
    for name in
        ["oprc_odgm_log_fsyncs_total", "oprc_odgm_log_entries_total", "oprc_odgm_entries_applied_total"]
    {
        assert!(grew(name, &[]) >= 11, "one after the other, each waits for its own: {name}");
    }
    assert!(grew("oprc_odgm_commits_total", &[("result", "committed")]) >= 11);
    assert!(grew("oprc_host_turns_committed_total", &[]) >= 11);
    assert!(grew("oprc_host_replays_total", &[]) >= 1);
    assert!(grew("oprc_odgm_log_written_bytes_total", &[]) > 0);
    for name in ["oprc_odgm_log_fsync_duration_seconds_count", "oprc_odgm_log_entries_per_fsync_count"] {
        assert!(grew(name, &[]) >= 11, "{name}");
    }
    assert_eq!(after.sum("oprc_odgm_poisoned", &[]), 0);
    assert_eq!(after.sum("oprc_odgm_groups", &[("role", "follower")]), 0, "the one host leads everything");
    let led = after.sum("oprc_odgm_grid_partitions", &[("grid", "default"), ("role", "leader")]);
    assert_eq!(after.sum("oprc_odgm_partition_leads", &[("grid", "default")]), led);
    assert!(led >= 1 && after.sum("oprc_odgm_groups", &[("role", "leader")]) > led, "and the catalog");
}

async fn messages_are_counted(server: Server) {
    let class = Class::deploy(&server, "Posted", guests::mailer(), "[class.messages]\nattempts = 2").await;
    let (name, sender) = (class.name.as_str(), class.object("s"));
    let post = |method: &str| {
        let payload = json!({ "n": 1 }).to_string();
        json!({ "class": name, "id": "r", "method": method, "payload": payload, "delay": 0, "key": null })
    };
    let before = Metrics::of_host(&server).await;
    sender.invoke("post", post("note")).await.expect(204);
    sender.invoke("post", post("stubborn")).await.expect(204);
    eventually("a message ran, and another one is dead", || async {
        let now = Metrics::of_host(&server).await;
        let ran = |method, outcome| {
            let labels = [("class", name), ("method", method), ("outcome", outcome), ("via", "message")];
            now.sum("oprc_host_turns_total", &labels)
        };
        let attempted = |result| {
            let labels = [("result", result)];
            now.sum("oprc_host_message_attempts_total", &labels)
                - before.sum("oprc_host_message_attempts_total", &labels)
        };
        let attempts = attempted("done") >= 1 && attempted("retried") >= 1 && attempted("dead") >= 1;
        let dead = now.sum("oprc_odgm_dead_letters", &[]) >= 1;
        (attempts && dead && ran("note", "ok") == 1 && ran("stubborn", "function-error") == 2).then_some(())
    })
    .await;
    class.http.post(format!("{}/dead-letters/purge", class.path())).send().await.expect(200);
    // what an asynchronous call came to is its outcome, also when that is a failure
    let asked = Class::deploy(&server, "Asked", guests::prober(), "").await;
    let reply = later(asked.object("o").method("refuse").json(&json!(["no", 1]))).send().await;
    decided(&asked, &accepted(&reply)).await;
    eventually("its run is counted", || async {
        let host = Metrics::of_host(&server).await;
        let ran = |outcome| {
            let labels = [("class", asked.name.as_str()), ("outcome", outcome), ("via", "message")];
            host.sum("oprc_host_turns_total", &labels)
        };
        assert_eq!(ran("ok"), 0);
        (ran("function-error") == 1).then_some(())
    })
    .await;
}

async fn a_removed_class_takes_its_series_along(server: Server) {
    let class = Class::deploy(&server, "Passing", guests::counter(), "").await;
    class.object("o").invoke("increment", json!({ "by": 1 })).await.expect(200);
    for page in [Metrics::of(&server.http()).await, Metrics::of_host(&server).await] {
        assert!(page.mentions(&class.name));
    }
    class.http.delete(class.path()).send().await.expect(204);
    eventually("neither page names the class", || async {
        let pages = [Metrics::of(&server.http()).await, Metrics::of_host(&server).await];
        (!pages.iter().any(|page| page.mentions(&class.name))).then_some(())
    })
    .await;
}

async fn names_that_are_made_up(kind: Kind) {
    let server = Server::start(kind).await;
    let _shown = server.show_logs_on_panic();
    let http = server.http();
    let typed = Class::deploy(&server, "Typed", guests::counter(), "").await;
    let generic = Class::deploy(&server, "Generic", guests::kv(), "").await;
    let grpc = Grpc::to(&server).await;
    let flood = async |round: &str| {
        for at in 0..50 {
            let made_up = format!("made-up-{round}-{at}");
            let stranger = Class { http: http.clone(), name: made_up.clone() };
            stranger.object("o").invoke("x", json!([])).await.problem(Code::NotFound);
            typed.object("o").invoke(&made_up, json!([])).await.problem(Code::NotFound);
            let answer = generic.object("o").method(&made_up).send().await;
            assert!(answer.status < 500, "it takes any name: {answer:?}");
            http.get(format!("/{made_up}")).send().await.expect(404);
            http.call(&format!("MADE-UP-{at}"), "/api/v1/classes").send().await.expect(405);
            grpc.invoke(call(&stranger, Some("o"), "x", &json!([]))).await.unwrap_err();
        }
    };
    let series = async || -> BTreeSet<String> {
        let pages = [Metrics::of(&http).await, Metrics::of_host(&server).await];
        assert!(pages.iter().all(|page| !page.mentions("made-up") && !page.mentions("MADE-UP")));
        let samples = pages.iter().flat_map(|page| &page.samples);
        samples.map(|sample| format!("{} {:?}", sample.name, sample.labels)).collect()
    };
    flood("first").await;
    series().await; // reading the page is a request, too
    let once = series().await;
    flood("then").await;
    let twice = series().await;
    let new: Vec<_> = twice.difference(&once).collect();
    assert!(new.is_empty(), "the same again has no series of its own: {new:?}");
    let gateway = Metrics::of(&http).await;
    let strangers = [("class", "_other"), ("method", "_other"), ("outcome", "not-found")];
    assert_eq!(gateway.sum("oprc_gateway_calls_total", &strangers), 200, "and each is counted");
}

async fn a_page_needs_a_key(kind: Kind) {
    let (server, root) = closed(kind).await;
    let _shown = server.show_logs_on_panic();
    let class = Class::deploy(&root, "Hidden", guests::counter(), "").await;
    class.object("o").invoke("increment", json!({ "by": 1 })).await.expect(200);
    let stranger = server.http();
    stranger.get("/metrics").send().await.problem(Code::Unauthenticated);
    for scope in ["invoke".to_owned(), "deploy".into(), format!("read:{}", class.name)] {
        let (_, client) = key(&root, &[scope]).await;
        let told = client.get("/metrics").send().await.problem(Code::Denied);
        assert!(told["detail"].to_string().contains("read"), "{told}");
    }
    let (_, reader) = key(&root, &["read".to_owned()]).await;
    let (_, admin) = key(&root, &["admin".to_owned()]).await;
    for client in [&root, &reader, &admin] {
        assert!(Metrics::of(client).await.mentions(&class.name));
    }
    if kind == Kind::Apart {
        of_the_hosts_own_port(&server.health(), &root, &class).await;
    }
}

/// Once the cluster has keys, the host's own port asks for one as well.
async fn of_the_hosts_own_port(health: &Http, root: &Http, class: &Class) {
    let token = |http: &Http| http.authorization().unwrap().strip_prefix("Bearer ").unwrap().to_owned();
    let (_, reader) = key(root, &["read".to_owned()]).await;
    let (_, caller) = key(root, &["invoke".to_owned()]).await;
    for http in [health.clone(), health.with_key(&token(&caller)), health.with_key(&token(root))] {
        let reply = http.get("/metrics").send().await.expect(401);
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        assert!(!String::from_utf8_lossy(&reply.body).contains(&class.name));
    }
    assert!(Metrics::of(&health.with_key(&token(&reader))).await.mentions(&class.name));
    health.get("/healthz").send().await.expect(200);
}

/// Tests with a server of their own.
macro_rules! own {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use super::*;

            #[test]
            fn embedded() {
                run(super::$name(Kind::Embedded));
            }

            #[test]
            fn apart() {
                run(super::$name(Kind::Apart));
            }
        }
    )+};
}

own!(names_that_are_made_up, a_page_needs_a_key);
