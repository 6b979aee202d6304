//! What is tried again, and what never is.

use oprc_mesh::id::NodeId;
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::Leads;
use reqwest::Method;
use serde_json::Value;

use crate::fake::{NODE, not_run, unknown};
use crate::running::{problem, start, text};

const FUNCTION: &str = "/classes/Counter/functions/echo";
const ECHO: &str = "/classes/Counter/objects/alice/invoke/echo";

#[tokio::test]
async fn what_did_not_run_is_tried_again() {
    let server = start().await;
    let moved = Problem::new(Code::NotLeader, "moved");
    let here = Problem { leader: NODE.0, ..moved.clone() };
    let stale = Problem::new(Code::StaleClass, "not yet");
    server.fake.fail_with([moved, here, stale, not_run(Code::Unavailable), not_run(Code::NoQuorum)]);
    assert_eq!(text(server.post(ECHO, "5"), 200).await, "5");
    let invocations = server.fake.invocations();
    assert_eq!(invocations.len(), 6);
    // one call, one id, however often it is tried
    assert!(invocations.iter().all(|invoke| invoke.invocation == invocations[0].invocation));
}

#[tokio::test]
async fn a_function_that_may_have_run_is_never_run_again() {
    let server = start().await;
    server.fake.fail_with([unknown(Code::Unavailable)]);
    let lost = problem(server.post(FUNCTION, "5"), 503, "unavailable").await;
    assert_eq!(lost["outcome"], "unknown");
    server.fake.fail_with([Problem::new(Code::NoQuorum, "nothing said")]);
    let lost = problem(server.post(FUNCTION, "5"), 503, "no-quorum").await;
    assert_eq!(lost["outcome"], "unknown");
    assert_eq!(server.fake.invocations().len(), 2);
}

/// The host tells by the id whether it took effect already.
#[tokio::test]
async fn what_takes_effect_once_is_tried_again_under_its_id() {
    let server = start().await;
    server.fake.fail_with([unknown(Code::Unavailable), unknown(Code::NoQuorum)]);
    assert_eq!(text(server.post(ECHO, "5"), 200).await, "5");
    let invocations = server.fake.invocations();
    assert_eq!(invocations.len(), 3);
    assert!(invocations.iter().all(|invoke| invoke.invocation == invocations[0].invocation && !invoke.keyed));
    let keyed = server.post(ECHO, "5").header("Idempotency-Key", "mine");
    assert_eq!(text(keyed, 200).await, "5");
    let last = server.fake.invocations().pop().unwrap();
    assert_eq!((last.invocation.as_str(), last.keyed), ("mine", true));
    server.fake.fail_with([unknown(Code::Unavailable)]);
    let request = server.request(Method::PUT, "/classes/Counter/objects/alice").body(r#"{"fields":{}}"#);
    text(request, 201).await;
    // and when it stays open, that is what is told, whatever was said last
    let refusals =
        std::iter::once(unknown(Code::Unavailable)).chain((0..10_000).map(|_| not_run(Code::Unavailable)));
    server.fake.fail_with(refusals);
    let request = server.post(ECHO, "5").header("X-Request-Timeout-Ms", "500");
    assert_eq!(problem(request, 503, "unavailable").await["outcome"], "unknown");
}

#[tokio::test]
async fn reads_are_tried_again_whatever_became_of_them() {
    let server = start().await;
    server.fake.put_object("Counter", "alice", &[("k", b"1")]);
    for path in ["", "/fields", "/fields/k"] {
        server.fake.fail_with([unknown(Code::Unavailable), unknown(Code::NoQuorum)]);
        text(server.get(&format!("/classes/Counter/objects/alice{path}")), 200).await;
    }
    server.fake.fail_with([unknown(Code::Unavailable)]);
    text(server.get("/classes/Counter/objects"), 200).await;
}

#[tokio::test]
async fn a_method_that_only_reads_is_tried_again_too() {
    let server = start().await;
    text(server.put("/classes/Counter?readonly=echo", "component"), 201).await;
    server.fake.fail_with([unknown(Code::Unavailable)]);
    text(server.post(ECHO, "5"), 200).await;
    assert_eq!(server.fake.invocations().len(), 2);
}

#[tokio::test]
async fn other_problems_are_answered_as_they_are() {
    let server = start().await;
    for &code in Code::ALL {
        if matches!(code, Code::NotLeader | Code::StaleClass | Code::NoQuorum | Code::Unavailable) {
            continue;
        }
        server.fake.fail_with([not_run(code)]);
        problem(server.post(ECHO, "5"), code.http_status(), code.as_str()).await;
    }
    assert_eq!(server.fake.invocations().len(), Code::ALL.len() - 4);
}

#[tokio::test]
async fn without_a_leader_the_call_waits_until_its_deadline() {
    let server = start().await;
    server.fake.fail_with((0..10_000).map(|_| Problem::new(Code::NotLeader, "nobody leads")));
    let request = server.post(ECHO, "5").header("X-Request-Timeout-Ms", "500");
    let refused: Value = request.send().await.unwrap().json().await.unwrap();
    // the second when the last pause was a little too long
    assert!(["no-quorum", "deadline"].contains(&refused["code"].as_str().unwrap()), "{refused}");
    assert_eq!(refused["outcome"], "not-run");
    server.fake.failing.lock().unwrap().clear();
    text(server.post(ECHO, "5"), 200).await;
}

#[tokio::test]
async fn a_leader_that_is_out_of_reach_is_not_asked_for_ever() {
    let server = start().await;
    for group in 1..=4 {
        // a later term names a host that nobody can reach
        server.mesh.directory().learn_leader(Leads { group, term: 9, node: 0xdead });
    }
    text(server.post(ECHO, "5"), 200).await;
    let leader =
        (1..=4).filter_map(|group| server.mesh.directory().leader(group)).find(|leader| *leader == NODE);
    assert_eq!(leader, Some(NODE), "who answered is remembered");
    server.mesh.directory().lose_node(NODE);
    server.mesh.directory().lose_node(NodeId(0xdead));
    let request = server.post(ECHO, "5").header("X-Request-Timeout-Ms", "500");
    assert_eq!(problem(request, 503, "unavailable").await["outcome"], "not-run");
    let request = server.put("/classes/New", "component").header("X-Request-Timeout-Ms", "500");
    assert_eq!(problem(request, 503, "unavailable").await["outcome"], "not-run");
}
