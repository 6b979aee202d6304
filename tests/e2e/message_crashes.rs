//! The host dies between any two steps of a message's way, comes back, and each message has taken effect exactly once.

use std::collections::BTreeMap;
use std::time::Duration;

use oprc_tests::{Class, Kind, Object, Process, Server, eventually, guests, run};
use serde_json::{Value, json};

/// Every step of the way; each is met several times with what the test sends.
const STEPS: [&str; 12] = [
    "before-deliver",
    "before-take",
    "after-take",
    "before-trim",
    "after-trim",
    "before-turn",
    "before-commit",
    "after-turn",
    "before-tick",
    "after-tick",
    "before-settle",
    "after-settle",
];
/// Messages from each sender to each receiver, at once and by a timer.
const MESSAGES: u32 = 3;
const OBJECTS: usize = 6;

#[test]
fn the_host_dies_at_each_step() {
    run(async {
        let server = Server::prepare(Kind::Embedded);
        let _shown = server.show_logs_on_panic();
        server.launch().await;
        let class = Class::deploy(&server, "Crash", guests::mailer(), "").await;
        let mut expected = BTreeMap::new();
        let mut first = 0;
        for step in STEPS {
            for times in [1, 4] {
                assert!(server.stop().await.success());
                server.start_host_with(&[("OPRC_TEST_CRASH", &format!("{step}:{times}"))]);
                let mut host = server.take_host();
                if ready(&server, &mut host).await {
                    send(&class, first, &mut expected).await;
                    first += MESSAGES + 1;
                }
                let ended = host.ended(Duration::from_mins(1)).await;
                assert!(!ended.success(), "{step}:{times} was met: {ended}");
                drop(host);
                server.launch().await;
                // what the crash kept from being sent is sent now; what was sent is not sent again
                check(&class, &expected, &format!("{step}:{times}")).await;
            }
        }
    });
}

/// Waits until the host is ready; false when it dies before: what was left over has met the step.
pub(crate) async fn ready(server: &Server, host: &mut Process) -> bool {
    let http = server.http();
    loop {
        if host.status().is_some() {
            return false;
        }
        if http.get("/readyz").try_send().await.is_ok_and(|reply| reply.status == 200) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn object(class: &Class, n: usize) -> Object {
    class.object(format!("o{n}"))
}

/// Each object sends to the others. A call that failed may have been committed: then its field `sent` tells.
async fn send(class: &Class, first: u32, expected: &mut BTreeMap<(usize, usize), Vec<u64>>) {
    for from in 0..OBJECTS {
        let to = (from + 1) % OBJECTS;
        let id = format!("o{to}");
        let many = json!({ "class": class.name, "ids": [id], "first": first, "count": MESSAGES });
        let payload = json!({ "n": first + MESSAGES }).to_string();
        let later = json!({
            "class": class.name, "id": id, "method": "note", "payload": payload, "delay": 20, "key": null,
        });
        let shout = json!({ "class": class.name, "function": "shout", "payload": "{\"text\": \"x\"}" });
        for (method, arguments, numbers) in [
            ("send-to-function", shout, vec![]),
            ("send-many", many, (first..first + MESSAGES).collect::<Vec<_>>()),
            ("post", later, vec![first + MESSAGES]),
        ] {
            let call =
                object(class, from).method(method).json(&arguments).header("x-request-timeout-ms", 30_000);
            let sent = expected.entry((from, to)).or_default();
            match call.try_send().await {
                Ok(reply) if reply.status == 204 => sent.extend(numbers.iter().map(|n| u64::from(*n))),
                // it is looked up after the restart whether it was
                _ => return,
            }
        }
    }
}

/// What was acknowledged has come, once and in order; what was not may have.
async fn check(class: &Class, expected: &BTreeMap<(usize, usize), Vec<u64>>, step: &str) {
    for to in 0..OBJECTS {
        let from = (to + OBJECTS - 1) % OBJECTS;
        let sent = expected.get(&(from, to)).cloned().unwrap_or_default();
        let object = object(class, to);
        let notes = eventually(&format!("{step}: all messages have come to o{to}"), || async {
            let notes = notes(&object.get().await.json());
            let acknowledged: Vec<u64> = notes.iter().copied().filter(|n| sent.contains(n)).collect();
            (acknowledged.len() >= sent.len()).then_some(notes)
        })
        .await;
        assert!(notes.windows(2).all(|pair| pair[0] < pair[1]), "{step}: o{to} has seen {notes:?}");
        assert!(sent.iter().all(|n| notes.contains(n)), "{step}: o{to} has seen {notes:?} of {sent:?}");
    }
}

fn notes(document: &Value) -> Vec<u64> {
    let Some(fields) = document["fields"].as_object() else { return Vec::new() };
    let notes = fields.iter().filter(|(key, _)| key.starts_with("note/"));
    notes.map(|(_, value)| value.as_u64().unwrap()).collect()
}
