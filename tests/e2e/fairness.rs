//! What one key or class may ask of a gateway is bounded, and none takes what is another's.

use std::time::Duration;

use oprc_mesh::outcome::Code;
use oprc_tests::grpc::{Grpc, call as grpc_call};
use oprc_tests::{Class, Http, Kind, Reply, Server, both, eventually, guests, run, unique};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic_types::StatusExt as _;

use crate::access::closed;

both!(a_class_has_a_rate, a_class_has_a_rate_over_grpc, a_class_has_so_many_calls_under_way);

/// Sends calls until one is refused, and gives how many were not, and the refusal.
async fn until_refused(class: &Class) -> (usize, Reply) {
    for done in 0..1_000 {
        let reply = class.object("o").invoke("value", json!({})).await;
        if reply.status == 429 {
            return (done, reply);
        }
        reply.expect(200);
    }
    panic!("no call was refused");
}

/// How long a refusal says to wait, in whole seconds.
fn word(refusal: &Reply) -> Duration {
    let after = refusal.header("retry-after").expect("it says when to come back");
    Duration::from_secs(after.parse().expect("whole seconds"))
}

/// Waits as long as it was told, and is let in.
async fn comes_back(class: &Class, refusal: &Reply) {
    tokio::time::sleep(word(refusal)).await;
    class.object("o").invoke("value", json!({})).await.expect(200);
}

async fn a_class_has_a_rate(server: Server) {
    let limits = "[class.limits]\ncalls_per_s = 1\nburst = 5";
    let class = Class::deploy(&server, "Rated", guests::prober(), limits).await;
    let other = Class::deploy(&server, "Free", guests::prober(), "").await;
    let (done, refusal) = until_refused(&class).await;
    assert!(done >= 5, "the burst is had at once: {done}");
    let problem = refusal.problem(Code::Overloaded);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(&class.name) && detail.contains("calls_per_s"), "{detail}");
    assert_eq!(problem["outcome"], "not-run");
    assert_eq!(word(&refusal), Duration::from_secs(1));
    other.object("o").invoke("value", json!({})).await.expect(200);
    comes_back(&class, &refusal).await;
    // what is written and read outright counts as well
    let writes = (0..20).map(|n| class.object(format!("w{n}")).put(&json!({ "n": 1 })).send());
    assert!(futures::future::join_all(writes).await.iter().any(|reply| reply.status == 429));
    // and other limits hold from the next deployment on
    class.redeploy(guests::prober(), "").await.expect(201);
    for _ in 0..20 {
        class.object("o").invoke("value", json!({})).await.expect(200);
    }
}

async fn a_class_has_a_rate_over_grpc(server: Server) {
    let limits = "[class.limits]\ncalls_per_s = 1\nburst = 2";
    let class = Class::deploy(&server, "Rated", guests::prober(), limits).await;
    let grpc = Grpc::to(&server).await;
    let calls = (0..10).map(|_| grpc.invoke(grpc_call(&class, Some("o"), "value", &json!({}))));
    let refused = futures::future::join_all(calls).await.into_iter().find_map(Result::err).expect("one is");
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    let retry = refused.get_details_retry_info().expect("it says when to come back").retry_delay;
    assert!(retry.is_some_and(|delay| !delay.is_zero() && delay <= Duration::from_secs(1)), "{retry:?}");
}

async fn a_class_has_so_many_calls_under_way(server: Server) {
    let limits = "[class.limits]\nconcurrency = 3\nwall_ms = 60000";
    let class = Class::deploy(&server, "Narrow", guests::prober(), limits).await;
    let naps: Vec<_> = (0..3).map(|n| nap(&class, &format!("o{n}"), 60_000)).collect();
    let refusal = eventually("three are under way", || async {
        let reply = class.object("o").invoke("value", json!({})).await;
        (reply.status == 429).then_some(reply)
    })
    .await;
    let problem = refusal.problem(Code::Overloaded);
    assert!(problem["detail"].as_str().unwrap().contains("limit concurrency"), "{problem}");
    naps[0].abort();
    eventually("one that is left makes room", || async {
        let reply = class.object("o").invoke("value", json!({})).await;
        (reply.status == 200).then_some(())
    })
    .await;
    for nap in naps {
        nap.abort();
    }
}

/// A call that sleeps, until it is aborted. It may find its place taken by those who look whether it is.
fn nap(class: &Class, object: &str, ms: u64) -> tokio::task::JoinHandle<u16> {
    let call = class.object(object).method("nap").json(&json!({ "ms": ms }));
    let call = call.header("x-request-timeout-ms", 60_000);
    tokio::spawn(async move {
        loop {
            let status = call.clone().send().await.status;
            if status != 429 {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
}

async fn limited_key(root: &Http, limits: Value) -> (String, Http) {
    let name = unique("key");
    let body = json!({ "name": name, "scopes": ["invoke", "read"], "limits": limits });
    let made = root.post("/api/v1/keys").json(&body).send().await.expect(201).json();
    assert_eq!(made["limits"], limits);
    (name, root.with_key(made["token"].as_str().unwrap()))
}

async fn a_key_has_its_limits(kind: Kind) {
    let (server, root) = closed(kind).await;
    let _shown = server.show_logs_on_panic();
    let class = Class::deploy(&root, "Keys", guests::prober(), "[class.limits]\nwall_ms = 60000").await;
    let (_, rated) = limited_key(&root, json!({ "calls_per_s": 1, "burst": 4 })).await;
    let (done, refusal) = until_refused(&class.through(&rated)).await;
    assert!(done >= 4, "{done}");
    let problem = refusal.problem(Code::Overloaded);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("the key's limit calls_per_s") && !detail.contains(&class.name), "{detail}");
    assert_eq!(word(&refusal), Duration::from_secs(1));
    comes_back(&class.through(&rated), &refusal).await;
    // another key is not concerned, nor is the operator
    let (_, narrow) = limited_key(&root, json!({ "concurrency": 2, "payload_kib": 1 })).await;
    let narrow = class.through(&narrow);
    narrow.object("o").invoke("value", json!({})).await.expect(200);
    class.object("o").invoke("value", json!({})).await.expect(200);
    let swallow = |bytes: usize| narrow.object("o").method("swallow").octets(vec![7; bytes]);
    swallow(1024).send().await.expect(200);
    swallow(1025).send().await.problem(Code::PayloadTooLarge);
    let naps: Vec<_> = (0..2).map(|n| nap(&narrow, &format!("o{n}"), 60_000)).collect();
    eventually("two are under way", || async {
        let reply = narrow.object("o").invoke("value", json!({})).await;
        (reply.status == 429).then(|| reply.problem(Code::Overloaded))
    })
    .await;
    for nap in naps {
        nap.abort();
    }
    let listed = root.get("/api/v1/keys").send().await.expect(200).json();
    assert!(
        listed["items"].as_array().unwrap().iter().any(|key| key["limits"]["concurrency"] == 2),
        "{listed}"
    );
    for bad in [
        json!({ "burst": 1 }),
        json!({ "calls_per_s": 0 }),
        json!({ "calls": 1 }),
        json!({ "concurrency": 100_001 }),
    ] {
        let body = json!({ "name": "bad", "scopes": ["read"], "limits": bad });
        root.post("/api/v1/keys").json(&body).send().await.problem(Code::Invalid);
    }
}

#[test]
fn a_key_has_its_limits_embedded() {
    run(a_key_has_its_limits(Kind::Embedded));
}

#[test]
fn a_key_has_its_limits_apart() {
    run(a_key_has_its_limits(Kind::Apart));
}

#[test]
fn a_key_is_made_with_limits_by_the_command_line() {
    run(async {
        let (server, root) = closed(Kind::Embedded).await;
        let token = root.authorization().unwrap().strip_prefix("Bearer ").unwrap().to_owned();
        let env = [("OPRC_KEY", token.as_str())];
        let limits = ["--rate", "100", "--burst", "200", "--concurrency", "20", "--payload-kib", "64"];
        let create = [&["key", "create", "ci", "--scope", "read"][..], &limits].concat();
        server.cli_with(&create, &env, None).await.ok();
        let listed = server.cli_with(&["key", "ls"], &env, None).await.ok();
        assert!(listed.contains("100/s (burst 200), 20 at once, 64 KiB"), "{listed}");
    });
}

/// A class whose calls take all places does not keep another class out.
#[test]
fn no_class_takes_all_places() {
    run(async {
        let server = Server::prepare(Kind::Embedded);
        server.set_ingress_args(&["--concurrency", "32"]);
        server.launch().await;
        let _shown = server.show_logs_on_panic();
        let limits = "[class.limits]\nwall_ms = 60000";
        let greedy = Class::deploy(&server, "Greedy", guests::prober(), limits).await;
        let modest = Class::deploy(&server, "Modest", guests::prober(), limits).await;
        let mut naps = JoinSet::new();
        for n in 0..40 {
            let call = greedy.object(format!("o{n}")).method("nap").json(&json!({ "ms": 60_000 }));
            naps.spawn(call.header("x-request-timeout-ms", 60_000).send());
        }
        eventually("all places are taken", || async {
            let reply = greedy.object("more").invoke("value", json!({})).await;
            (reply.status == 429).then_some(())
        })
        .await;
        for n in 0..20 {
            modest.object(format!("o{n}")).invoke("add", json!({ "by": 1 })).await.expect(200);
        }
        // and what operators need is there, too
        server.http().get("/api/v1/cluster").send().await.expect(200);
        modest.redeploy(guests::prober(), "").await.ok();
        server.http().get("/healthz").send().await.expect(200);
        naps.abort_all();
        eventually("the places come free", || async {
            let reply = greedy.object("more").invoke("value", json!({})).await;
            (reply.status == 200).then_some(())
        })
        .await;
    });
}

/// Methods that take long by nature are no overload, however many of them there are beside quick ones.
#[test]
fn slow_methods_are_no_overload() {
    run(async {
        let server = Server::prepare(Kind::Embedded);
        server.set_ingress_args(&["--concurrency-min", "8"]);
        server.launch().await;
        let _shown = server.show_logs_on_panic();
        let class =
            Class::deploy(&server, "Mixed", guests::prober(), "[class.limits]\nwall_ms = 60000").await;
        // the same method quick and slow: its quickest answer says nothing of the slow ones
        for n in 0..20 {
            class.object(format!("quick-{n}")).invoke("nap", json!({ "ms": 1 })).await.expect(204);
        }
        for _ in 0..2 {
            let mut naps = JoinSet::new();
            for n in 0..64 {
                let nap = class.object(format!("o{n}")).method("nap").json(&json!({ "ms": 5_000 }));
                naps.spawn(nap.header("x-request-timeout-ms", 60_000).send());
            }
            for _ in 0..20 {
                class.object("quick").invoke("value", json!({})).await.expect(200);
            }
            for reply in naps.join_all().await {
                reply.expect(204);
            }
        }
    });
}
