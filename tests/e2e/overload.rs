//! Too much is refused at once and says when to come back; what was taken in is answered.

use oprc_mesh::limits::MAILBOX_CALLS_MAX;
use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Http, Kind, Server, eventually, guests, run};
use serde_json::json;
use tokio::task::JoinSet;

/// How many calls a gateway takes at once.
const GATEWAY_CALLS_MAX: usize = 1024;
/// Calls on one HTTP/2 connection; servers allow some more.
const PER_CONNECTION: usize = 100;

/// Sends `count` calls of `method` at once, through as many connections as needed; gives how many succeeded and how
/// many were refused as overloaded. Anything else fails the test.
pub(crate) async fn flood(
    gateways: &[Http],
    class: &Class,
    method: &'static str,
    count: usize,
) -> (usize, usize) {
    let mut calls = JoinSet::new();
    let mut sent = 0;
    while sent < count {
        let http = gateways[(sent / PER_CONNECTION) % gateways.len()].multiplexed().await;
        for _ in 0..PER_CONNECTION.min(count - sent) {
            let object = class.through(&http).object("o");
            let call = object.method(method).json(&json!({ "by": 1 })).header("x-request-timeout-ms", 60_000);
            calls.spawn(call.send());
            sent += 1;
        }
    }
    let (mut done, mut refused) = (0, 0);
    for reply in calls.join_all().await {
        if reply.status == 200 {
            done += 1;
        } else {
            reply.problem(Code::Overloaded);
            let after = reply.header("retry-after").expect("it says when to come back");
            assert!(after.parse::<u64>().unwrap() >= 1, "{after}");
            refused += 1;
        }
    }
    (done, refused)
}

/// Long enough for a flood to arrive meanwhile, also on a busy machine.
const NAP_MS: u64 = 15_000;
pub(crate) const SLEEPY: &str = "[class.limits]\nwall_ms = 60000";

pub(crate) async fn asleep(server: &Server, class: &Class) -> tokio::task::JoinHandle<()> {
    let object = class.object("o");
    let nap = tokio::spawn(async move {
        let call = object.method("nap").json(&json!({ "ms": NAP_MS })).header("x-request-timeout-ms", 60_000);
        call.send().await.expect(204);
    });
    server.logged(&[&format!("napping for {NAP_MS} ms"), &class.name]).await;
    nap
}

/// One call under way and exactly as many behind it as the gateway has places for; the rest is refused.
#[test]
fn of_a_gateway() {
    run(async {
        let server = Server::start(Kind::Embedded).await;
        let _shown = server.show_logs_on_panic();
        let class = Class::deploy(&server, "Flood", guests::prober(), SLEEPY).await;
        let nap = asleep(&server, &class).await;
        let (done, refused) = flood(&[server.http()], &class, "add", GATEWAY_CALLS_MAX + 50).await;
        assert!(nap.is_finished());
        assert_eq!((done, refused), (GATEWAY_CALLS_MAX - 1, 51));
        assert_eq!(
            class.object("o").fields().await["n"],
            done,
            "each that was taken ran, each that was refused did not"
        );
        // and it is over with the cause
        assert_eq!(flood(&[server.http()], &class, "add", 300).await, (300, 0));
    });
}

/// Health can be asked of a gateway that takes no more calls.
#[test]
fn health_answers_meanwhile() {
    run(async {
        let server = Server::start(Kind::Embedded).await;
        let _shown = server.show_logs_on_panic();
        let class = Class::deploy(&server, "Flood", guests::prober(), SLEEPY).await;
        let nap = asleep(&server, &class).await;
        let flooded = tokio::spawn({
            let (class, http) = (class.clone(), server.http());
            async move { flood(&[http], &class, "add", GATEWAY_CALLS_MAX + 50).await }
        });
        eventually("the gateway is full", || async {
            let reply = class.object("other").invoke("value", json!({})).await;
            (reply.status == 429).then_some(())
        })
        .await;
        server.http().get("/healthz").send().await.expect(200);
        nap.await.unwrap();
        flooded.await.unwrap();
        class.object("other").invoke("value", json!({})).await.expect(200);
    });
}

/// The object's own bound, reached through two gateways: one turn runs, so many wait, and one more is refused. Another
/// object is not concerned.
#[test]
fn of_an_object() {
    run(async {
        let server = Server::start(Kind::Apart).await;
        let _shown = server.show_logs_on_panic();
        let (_gateway, second) = crate::apart::second_gateway(&server).await;
        let class = Class::deploy(&server, "Flood", guests::prober(), SLEEPY).await;
        eventually("the second gateway knows the class", || async {
            (second.get(class.path()).send().await.status == 200).then_some(())
        })
        .await;
        let nap = asleep(&server, &class).await;
        let over = 37;
        let flooded = tokio::spawn({
            let (class, gateways) = (class.clone(), [server.http(), second.clone()]);
            async move { flood(&gateways, &class, "add", MAILBOX_CALLS_MAX + over).await }
        });
        for _ in 0..20 {
            class.object("neighbour").invoke("add", json!({ "by": 1 })).await.expect(200);
        }
        assert!(!nap.is_finished(), "another object answers while this one is full");
        nap.await.unwrap();
        assert_eq!(flooded.await.unwrap(), (MAILBOX_CALLS_MAX, over));
        assert_eq!(class.object("o").fields().await["n"], MAILBOX_CALLS_MAX);
        assert_eq!(class.object("o").version().await, MAILBOX_CALLS_MAX as u64 + 1);
    });
}

/// Hundreds of turns at the same time, on as many objects: each runs, or is refused in time.
#[test]
fn of_the_runtime() {
    run(async {
        let server = Server::start(Kind::Embedded).await;
        let _shown = server.show_logs_on_panic();
        let class = Class::deploy(&server, "Many", guests::prober(), SLEEPY).await;
        let mut naps = JoinSet::new();
        for connection in 0..8 {
            let http = server.http().multiplexed().await;
            for n in 0..100 {
                let object = class.through(&http).object(format!("o{connection}-{n}"));
                let nap =
                    object.method("nap").json(&json!({ "ms": 2000 })).header("x-request-timeout-ms", 60_000);
                naps.spawn(nap.send());
            }
        }
        let mut ran = 0;
        for reply in naps.join_all().await {
            if reply.status == 204 {
                ran += 1;
            } else {
                assert_eq!(reply.problem(Code::Overloaded)["outcome"], "not-run");
            }
        }
        println!("{ran} of 800 turns ran");
        assert!(ran >= 100, "only {ran} turns ran at the same time");
        let listed =
            class.http.get(format!("{}/objects?limit=1000", class.path())).send().await.expect(200).json();
        assert_eq!(listed["items"].as_array().unwrap().len(), ran);
    });
}
