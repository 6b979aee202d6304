//! An asynchronous call that was accepted is as durable as a write: it survives SIGKILL and is run exactly once. And no more
//! are accepted than may wait.

use std::time::Duration;

use oprc_mesh::outcome::Code;
use oprc_tests::{Call, Class, Kind, Server, both, guests, run};
use serde_json::json;
use tokio::task::JoinSet;

use crate::asynchronous::{accepted, decided, later};
use crate::message_crashes::ready;

both!(as_many_as_may_wait);

const OBJECTS: usize = 8;
const CALLS: usize = 48;
const ROUNDS: u64 = 3;

#[test]
fn through_a_crash_of_everything() {
    run(through_crashes(Kind::Embedded));
}

#[test]
fn through_a_crash_of_the_host() {
    run(through_crashes(Kind::Apart));
}

/// Calls are accepted until the host dies, at some moment of their way; after the restart each of them has one result, and
/// every sum from the first to the last is somebody's.
async fn through_crashes(kind: Kind) {
    let server = Server::start(kind).await;
    let _shown = server.show_logs_on_panic();
    let class = Class::deploy(&server, "Kept", guests::prober(), "").await;
    let mut all: Vec<Vec<String>> = vec![Vec::new(); OBJECTS];
    for round in 0..ROUNDS {
        let mut calls = JoinSet::new();
        for number in 0..CALLS {
            let class = class.clone();
            calls.spawn(async move {
                let object = class.object(format!("o{}", number % OBJECTS));
                let call = object.method("add").json(&json!({ "by": 1 }));
                let call = later(call.header("idempotency-key", format!("{round}-{number}")));
                let call = call.header("x-request-timeout-ms", 30_000);
                let reply = call.try_send().await.ok().filter(|reply| reply.status == 202)?;
                Some((number % OBJECTS, accepted(&reply)))
            });
        }
        let mut some = calls.join_next().await.unwrap().unwrap().into_iter().collect::<Vec<_>>();
        tokio::time::sleep(Duration::from_millis(7 * round)).await;
        server.kill_host();
        some.extend(calls.join_all().await.into_iter().flatten());
        server.launch().await;
        for (object, location) in some {
            all[object].push(location);
        }
    }
    assert!(all.iter().map(Vec::len).sum::<usize>() >= ROUNDS as usize, "too few were accepted: {all:?}");
    check(&class, &all).await;
}

async fn check(class: &Class, all: &[Vec<String>]) {
    for (n, locations) in all.iter().enumerate() {
        let mut sums = Vec::new();
        for location in locations {
            sums.push(decided(class, location).await["result"].as_u64().unwrap());
        }
        sums.sort_unstable();
        sums.dedup();
        assert_eq!(sums.len(), locations.len(), "o{n}: each has a sum of its own");
        // the last ones may have been taken in without anybody being told
        let object = class.object(format!("o{n}"));
        let reply = object.get().await;
        if locations.is_empty() && reply.status == 404 {
            continue;
        }
        let document = reply.expect(200).json();
        assert_eq!(document["fields"]["n"], document["version"], "o{n}: a turn each, once");
        assert!(document["version"].as_u64() >= sums.last().copied(), "o{n}: {document} {sums:?}");
    }
}

/// Every step of a call's way after it was accepted; those that commit nothing pass the last two.
const STEPS: [&str; 5] = ["before-turn", "before-commit", "after-turn", "before-settle", "after-settle"];

#[test]
fn the_host_dies_at_each_step() {
    run(async {
        let server = Server::prepare(Kind::Embedded);
        let _shown = server.show_logs_on_panic();
        server.launch().await;
        let class = Class::deploy(&server, "Steps", guests::prober(), "readonly = [\"value\"]\n").await;
        let mut sum = 0;
        for step in STEPS {
            for times in [1, 3] {
                assert!(server.stop().await.success());
                server.start_host_with(&[("OPRC_TEST_CRASH", &format!("{step}:{times}"))]);
                let mut host = server.take_host();
                assert!(ready(&server, &mut host).await, "nothing is left over that could meet the step");
                let calls = calls(&class, &format!("{step}-{times}"));
                for call in &calls {
                    let _ = call.clone().try_send().await; // it may be the one at which the host dies
                }
                let ended = host.ended(Duration::from_mins(1)).await;
                assert!(!ended.success(), "{step}:{times} was met: {ended}");
                drop(host);
                server.launch().await;
                for call in calls {
                    let location = accepted(&call.send().await);
                    assert_eq!(decided(&class, &location).await["state"], "done", "{step}:{times}");
                }
                sum += ADDS;
                assert_eq!(class.object("o").fields().await, json!({ "n": sum }), "{step}:{times}");
            }
        }
    });
}

/// What each step is met by.
const ADDS: u64 = 3;

/// Calls of a method that writes, of one that reads, and of a function, under keys of their own.
fn calls(class: &Class, stem: &str) -> Vec<Call> {
    let object = class.object("o");
    let add = || object.method("add").json(&json!({ "by": 1 }));
    let all = (0..ADDS).flat_map(|_| [add(), object.method("value"), class.function("generation")]);
    let keyed = |(n, call): (usize, Call)| call.header("idempotency-key", format!("{stem}-{n}"));
    all.enumerate().map(keyed).map(|call| later(call).header("x-request-timeout-ms", 30_000)).collect()
}

/// The first one traps and is tried again for long: all others wait behind it.
async fn as_many_as_may_wait(server: Server) {
    let manifest = "[class.messages]\nattempts = 100\n";
    let class = Class::deploy(&server, "Many", guests::prober(), manifest).await;
    let object = class.object("o");
    accepted(&later(object.method("explode")).send().await);
    let mut calls = JoinSet::new();
    for client in 0..16 {
        let object = object.clone();
        calls.spawn(async move {
            for number in (client..1_023).step_by(16) {
                let call = object.method("add").json(&json!({ "by": 1 }));
                accepted(&later(call.header("idempotency-key", number)).send().await);
            }
        });
    }
    calls.join_all().await;
    let one_more = || later(object.method("add").json(&json!({ "by": 1 })));
    let refused = one_more().send().await;
    assert_eq!(refused.header("retry-after"), Some("1"));
    refused.problem(Code::Overloaded);
    // one that is known already is no further one
    let known = object.method("add").json(&json!({ "by": 1 })).header("idempotency-key", 7);
    accepted(&later(known).send().await);
    // others are not held up, and a call that is waited for goes past them
    let location = accepted(&later(class.object("p").method("add").json(&json!({ "by": 1 }))).send().await);
    assert_eq!(decided(&class, &location).await["result"], 1);
    object.invoke("add", json!({ "by": 1 })).await.expect(200);
    // a deploy that mends it lets all of them through
    class.redeploy(guests::prober(), "[class.messages]\nattempts = 1\n").await.expect(201);
    let last = eventually_accepted(&one_more).await;
    assert_eq!(decided(&class, &last).await["result"], 1_025);
}

async fn eventually_accepted(call: &impl Fn() -> Call) -> String {
    oprc_tests::eventually("there is room", || async {
        let reply = call().send().await;
        (reply.status == 202).then(|| accepted(&reply))
    })
    .await
}
