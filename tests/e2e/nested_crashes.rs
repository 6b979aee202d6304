//! A turn that called others and died before it was committed is run again under the same key, or by its message: what it
//! called has taken effect once, and it gets the same answers. One that calls something else then is told so.

use std::time::Duration;

use oprc_mesh::outcome::Code;
use oprc_tests::seed::rng;
use oprc_tests::{Bank, Class, Kind, Object, Server, eventually, guests, run};
use serde_json::json;

/// Between the callee's commit and the caller's.
const CRASH: &str = "after-call:1";

/// A server, whose host has not crashed yet, with a class of callers.
async fn prepared(kind: Kind) -> (Server, Class) {
    let server = Server::start(kind).await;
    let class = Class::deploy(&server, "Call", guests::caller(), "").await;
    (server, class)
}

/// Starts the host anew so that it dies at `place`, makes a call that leads there, and starts the host as usual.
pub(crate) async fn dies_at(server: &Server, place: &str, call: impl AsyncFnOnce()) {
    assert!(server.stop().await.success());
    server.start_host_with(&[("OPRC_TEST_CRASH", place)]);
    server.launch().await;
    let mut host = server.take_host();
    call().await;
    assert!(!host.ended(Duration::from_mins(1)).await.success(), "the host died");
    drop(host);
    server.launch().await;
}

fn add(from: &Object, to: &Object, by: i64) -> oprc_tests::Call {
    let payload = json!({ "by": by }).to_string();
    let arguments = json!({ "class": to.class.name, "id": to.id, "method": "add", "payload": payload });
    from.method("ask").json(&arguments).header("idempotency-key", "k").header("x-request-timeout-ms", 5_000)
}

#[test]
fn the_call_is_made_once_embedded() {
    run(the_call_is_made_once(Kind::Embedded));
}

#[test]
fn the_call_is_made_once_apart() {
    run(the_call_is_made_once(Kind::Apart));
}

async fn the_call_is_made_once(kind: Kind) {
    let (server, class) = prepared(kind).await;
    let _shown = server.show_logs_on_panic();
    let (a, b) = (class.object("a"), class.object("b"));
    dies_at(&server, CRASH, async || drop(add(&a, &b, 5).try_send().await)).await;
    assert_eq!(b.fields().await, json!({ "n": 5 }), "the callee had committed");
    a.get().await.problem(Code::NotFound);
    for _ in 0..2 {
        assert_eq!(add(&a, &b, 5).send().await.expect(200).json(), "5");
    }
    assert_eq!((a.fields().await, b.fields().await), (json!({ "calls": 1 }), json!({ "n": 5 })));
}

#[test]
fn a_rerun_that_calls_something_else_is_refused() {
    run(async {
        let (server, class) = prepared(Kind::Embedded).await;
        let _shown = server.show_logs_on_panic();
        let (a, b) = (class.object("a"), class.object("b"));
        let roll = || {
            let arguments = json!({ "class": class.name, "id": "b" });
            a.method("roll").json(&arguments).header("idempotency-key", "k")
        };
        dies_at(&server, CRASH, async || drop(roll().try_send().await)).await;
        let before = b.fields().await;
        for _ in 0..2 {
            let problem = roll().send().await.problem(Code::NondeterministicRerun);
            assert!(problem["detail"].as_str().unwrap().contains("/b.add"), "{problem}");
        }
        a.get().await.problem(Code::NotFound);
        assert_eq!(b.fields().await, before);
    });
}

#[test]
fn a_messages_turn_calls_once() {
    run(async {
        let (server, class) = prepared(Kind::Embedded).await;
        let _shown = server.show_logs_on_panic();
        let mail = Class::deploy(&server, "Mail", guests::mailer(), "").await.object("m");
        let ask = json!({ "class": class.name, "id": "b", "method": "add", "payload": "{\"by\": 2}" });
        let post = json!({
            "class": class.name, "id": "a", "method": "ask", "payload": ask.to_string(), "delay": 0, "key": null,
        });
        dies_at(&server, CRASH, async || drop(mail.method("post").json(&post).try_send().await)).await;
        let (a, b) = (class.object("a"), class.object("b"));
        eventually("the message has been run", || async {
            let reply = a.get().await;
            (reply.status == 200).then_some(())
        })
        .await;
        assert_eq!((a.fields().await, b.fields().await), (json!({ "calls": 1 }), json!({ "n": 2 })));
    });
}

#[test]
fn money_is_neither_lost_nor_made() {
    run(async {
        let server = Server::start(Kind::Embedded).await;
        let _shown = server.show_logs_on_panic();
        let bank = Bank::open(&server, guests::account(), 4).await;
        let mut random = rng("money_is_neither_lost_nor_made");
        let transfers = bank.transfers(60, Duration::from_secs(3), &mut random);
        for pause in [400, 700, 900] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            server.kill_host();
            server.launch().await;
        }
        let transfers = transfers.join_all().await;
        bank.check(&transfers).await;
    });
}
