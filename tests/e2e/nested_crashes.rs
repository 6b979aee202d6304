//! A turn that called others and died before it was committed is run again under the same key, or by its message: what it
//! called has taken effect once, and it gets the same answers. One that calls something else then is told so.

use std::time::Duration;

use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Kind, Object, Reply, Server, eventually, guests, run, seed::rng};
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Between the callee's commit and the caller's.
const CRASH: (&str, &str) = ("OPRC_TEST_CRASH", "after-call:1");

/// A server, whose host has not crashed yet, with a class of callers.
async fn prepared(kind: Kind) -> (Server, Class) {
    let server = Server::start(kind).await;
    let class = Class::deploy(&server, "Call", guests::caller(), "").await;
    (server, class)
}

/// Starts the host anew so that it dies after the first nested call, makes that call, and starts the host as usual.
async fn dies_with(server: &Server, call: impl AsyncFnOnce()) {
    assert!(server.stop().await.success());
    server.start_host_with(&[CRASH]);
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
    dies_with(&server, async || drop(add(&a, &b, 5).try_send().await)).await;
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
        dies_with(&server, async || drop(roll().try_send().await)).await;
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
        dies_with(&server, async || drop(mail.method("post").json(&post).try_send().await)).await;
        let (a, b) = (class.object("a"), class.object("b"));
        eventually("the message has been run", || async {
            let reply = a.get().await;
            (reply.status == 200).then_some(())
        })
        .await;
        assert_eq!((a.fields().await, b.fields().await), (json!({ "calls": 1 }), json!({ "n": 2 })));
    });
}

const ACCOUNTS: usize = 4;
const TRANSFERS: usize = 40;
const BALANCE: i64 = 50;

/// A transfer, and whether it was made.
type Made = (usize, usize, i64, bool);

#[test]
fn money_is_neither_lost_nor_made() {
    run(async {
        let server = Server::start(Kind::Embedded).await;
        let _shown = server.show_logs_on_panic();
        // two that pay each other at the same time wait for each other: soon enough they try again
        let manifest = "readonly = [\"balance\"]\n[class.limits]\nwall_ms = 400";
        let class = Class::deploy(&server, "Account", guests::account(), manifest).await;
        for n in 0..ACCOUNTS {
            account(&class, n).invoke("deposit", json!({ "amount": BALANCE })).await.expect(200);
        }
        let mut random = rng("money_is_neither_lost_nor_made");
        let mut transfers = JoinSet::new();
        for number in 0..TRANSFERS {
            let from = random.random_range(0..ACCOUNTS);
            let to = (from + random.random_range(1..ACCOUNTS)) % ACCOUNTS;
            let (amount, pause) = (random.random_range(1..40), random.random_range(0..1_500));
            let (class, pause) = (class.clone(), Duration::from_millis(pause));
            transfers.spawn(async move {
                tokio::time::sleep(pause).await;
                transfer(&class, number, (from, to, amount)).await
            });
        }
        for pause in [300, 700] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            server.kill_host();
            server.launch().await;
        }
        let made = transfers.join_all().await;
        assert!(made.iter().any(|made| made.3), "some were made");
        check(&class, &made).await;
    });
}

fn account(class: &Class, n: usize) -> Object {
    class.object(format!("a{n}"))
}

/// Tries until there is a definite answer.
async fn transfer(class: &Class, number: usize, (from, to, amount): (usize, usize, i64)) -> Made {
    let call = || {
        let arguments = json!({ "to": account(class, to).id, "amount": amount });
        account(class, from).method("transfer").json(&arguments).header("idempotency-key", number)
    };
    let reply: Reply = eventually("a transfer is made or refused", || async {
        let reply = call().try_send().await.ok()?;
        matches!(reply.status, 200 | 422).then_some(reply)
    })
    .await;
    (from, to, amount, reply.status == 200)
}

async fn check(class: &Class, made: &[Made]) {
    let mut expected = [BALANCE; ACCOUNTS];
    for (from, to, amount, _) in made.iter().filter(|made| made.3) {
        expected[*from] -= amount;
        expected[*to] += amount;
    }
    let mut found = Vec::new();
    for n in 0..ACCOUNTS {
        found.push(account(class, n).fields().await["balance"].as_i64().unwrap());
    }
    assert_eq!(found, expected, "{made:?}");
    assert_eq!(found.iter().sum::<i64>(), BALANCE * ACCOUNTS as i64);
    let counted: Value = account(class, 0).fields().await["transfers"].take();
    let touched = made.iter().filter(|made| made.3 && (made.0 == 0 || made.1 == 0)).count();
    assert_eq!(counted, touched + 1, "each was counted once, and the first deposit");
}
