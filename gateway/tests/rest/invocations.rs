//! Calls that are answered before they have run.

use oprc_mesh::outcome::{Code, Effect};
use oprc_mesh::wire::{Op, ReadInvocation, Submit};
use reqwest::header::LOCATION;

use crate::fake::{FINGERPRINT, not_run, unknown};
use crate::running::{problem, start};

fn submitted(ops: &[Op]) -> Vec<&Submit> {
    ops.iter().filter_map(|op| if let Op::Submit(submit) = op { Some(submit) } else { None }).collect()
}

#[tokio::test]
async fn a_call_is_accepted_and_found_by_what_its_answer_says() {
    let server = start().await;
    for path in ["/classes/Counter/objects/alice/invoke/increment", "/classes/Counter/functions/increment"] {
        let call = server.post(path, "{\"by\": 5}").header("prefer", "respond-async");
        let response = call.header("idempotency-key", "k").send().await.unwrap();
        assert_eq!(response.status(), 202);
        assert_eq!(response.headers()["preference-applied"], "respond-async");
        assert_eq!(response.headers()["oprc-invocation-id"], "k");
        let location = response.headers()[LOCATION].to_str().unwrap().to_owned();
        let body: serde_json::Value = response.json().await.unwrap();
        assert_eq!(body["state"], "pending");
        assert_eq!(location, format!("/api/v1/invocations/{}", body["id"].as_str().unwrap()));
        let found = server.get(&location["/api/v1".len()..]).query(&[("wait", "0s")]).send().await.unwrap();
        assert_eq!((found.status().as_u16(), found.json::<serde_json::Value>().await.unwrap()), (200, body));
        let seen = server.fake.seen.lock().unwrap();
        let read = seen.iter().rev().find_map(|op| match op {
            Op::ReadInvocation(read) => Some(read),
            _ => None,
        });
        let ReadInvocation { class, object, invocation, fingerprint, .. } = read.unwrap();
        let invoke = &submitted(&seen).last().unwrap().invoke;
        assert_eq!((class, object, invocation.as_str()), (&invoke.class, &invoke.object, "k"));
        assert_eq!(*fingerprint, FINGERPRINT[..]);
    }
}

#[tokio::test]
async fn what_may_have_been_accepted_is_sent_again_under_the_same_id() {
    let server = start().await;
    server.fake.fail_with([unknown(Code::Unavailable), not_run(Code::NotLeader)]);
    let call = server.post("/classes/Counter/objects/alice/invoke/increment", "{\"by\": 5}");
    let response = call.header("prefer", "respond-async").send().await.unwrap();
    assert_eq!(response.status(), 202);
    let seen = server.fake.seen.lock().unwrap();
    let tries = submitted(&seen);
    assert_eq!(tries.len(), 3);
    assert!(tries.iter().all(|submit| submit.invoke.invocation == tries[0].invoke.invocation));
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let server = start().await;
    let path = "/classes/Counter/objects/alice/invoke/increment?consistency=stale";
    let call = server.post(path, "").header("prefer", "respond-async");
    problem(call, 400, "invalid").await;
    for path in ["/invocations/garbage", "/invocations/ATEyMzQ1Njc4Q291bnRlcgBvAGs?wait=5"] {
        problem(server.get(path), 400, "invalid").await;
    }
    // well-formed, and of a class that is not there
    problem(server.get("/invocations/ATEyMzQ1Njc4QwBvAGs"), 404, "not-found").await;
    let overloaded = not_run(Code::Overloaded);
    assert_eq!(overloaded.effect(), Effect::NotRun);
    server.fake.fail_with([overloaded]);
    let call = server.post("/classes/Counter/objects/alice/invoke/increment", "");
    problem(call.header("prefer", "respond-async"), 429, "overloaded").await;
}
