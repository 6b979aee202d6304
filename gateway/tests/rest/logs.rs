//! What guests print: asked of the hosts, and followed by so many at the most.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use oprc_mesh::wire::{Op, ReadLogs};
use reqwest::{RequestBuilder, Response};

use tokio::time::sleep;

use crate::running::{Running, check_problem, json, problem, start};

/// As many as the gateway takes.
const FOLLOWERS_MAX: usize = 128;

const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(20);
const PATH: &str = "/classes/Counter/logs";

fn following(server: &Running) -> RequestBuilder {
    server.get(PATH).header("accept", "text/html, text/event-stream;q=0.9")
}

#[tokio::test]
async fn lines_are_asked_of_the_hosts() {
    let server = start().await;
    let lines = json(server.get(&format!("{PATH}?tail=7&object=o")), 200).await;
    assert_eq!(lines["items"][0]["line"], "said by Counter");
    assert_eq!(lines["missing"], serde_json::json!([]));
    let (class, object) = ("Counter".to_owned(), Some("o".to_owned()));
    let asked = Op::ReadLogs(ReadLogs { class, object, tail: 7, ..ReadLogs::default() });
    assert!(server.fake.seen.lock().unwrap().contains(&asked));
    problem(server.get("/classes/Absent/logs"), 404, "not-found").await;
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_named() {
    let server = start().await;
    let gone = oprc_mesh::outcome::Problem::new(oprc_mesh::outcome::Code::Unavailable, "gone");
    server.fake.fail_with([gone]);
    let lines = json(server.get(PATH), 200).await;
    assert_eq!(lines["items"], serde_json::json!([]));
    assert_eq!(lines["missing"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn so_many_follow_and_one_more_is_refused() {
    let server = start().await;
    server.fake.forgetful.store(true, Ordering::Relaxed);
    let mut streams: Vec<Response> = Vec::new();
    for _ in 0..FOLLOWERS_MAX {
        let mut stream = following(&server).send().await.unwrap();
        assert_eq!(stream.status(), 200);
        assert_eq!(stream.headers()["content-type"], "text/event-stream");
        let opening = stream.chunk().await.unwrap().unwrap();
        assert!(opening.starts_with(b"retry: "), "{opening:?}");
        streams.push(stream);
    }
    check_problem(following(&server).send().await.unwrap(), 429, "overloaded").await;
    json(server.get(PATH), 200).await; // reading is no following
    streams.pop();
    let begun = Instant::now();
    // who goes makes room, once it is noticed that it went
    while following(&server).send().await.unwrap().status() != 200 {
        assert!(begun.elapsed() < PATIENCE, "who goes makes room");
        sleep(PAUSE).await;
    }
}
