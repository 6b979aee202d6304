//! Durable messages: sent with the turn or not at all, run once and in order per pair, timers, failures, dead letters.

use std::time::{Duration, Instant};

use oprc_mesh::clock::now_ms;
use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Object, Server, both, eventually, guests};
use serde_json::{Value, json};

both!(
    messages_arrive_in_order_and_once,
    a_turn_that_fails_sends_nothing,
    timers_are_replaced_and_cancelled,
    a_timer_may_set_the_next,
    a_message_that_fails_blocks_its_pair_only_and_is_tried_again,
    dead_letters_are_listed_retried_and_purged,
    functions_may_be_called,
    messages_to_a_class_that_is_not_there,
    sends_are_limited,
    only_a_method_that_may_write_sends,
);

async fn deploy(server: &Server, manifest: &str) -> Class {
    Class::deploy(server, "Mail", guests::mailer(), manifest).await
}

/// The field `count` of an object that may not be there.
async fn count(object: &Object) -> u64 {
    let reply = object.get().await;
    if reply.status == 404 { 0 } else { reply.expect(200).json()["fields"]["count"].as_u64().unwrap_or(0) }
}

async fn counts_to(object: &Object, expected: u64) {
    eventually(&format!("{} has got {expected} messages", object.id), || async {
        let count = count(object).await;
        assert!(count <= expected, "{count} messages came, {expected} were sent");
        (count == expected).then_some(())
    })
    .await;
}

/// The numbers that an object has noted, in the order in which they came.
async fn notes(object: &Object) -> Vec<u64> {
    let fields = object.fields().await;
    let notes = fields.as_object().unwrap().iter().filter(|(key, _)| key.starts_with("note/"));
    notes.map(|(_, value)| value.as_u64().unwrap()).collect()
}

fn note(class: &Class, to: &Object, n: u64, delay: u64, key: Option<&str>) -> Value {
    let payload = json!({ "n": n }).to_string();
    json!({ "class": class.name, "id": to.id, "method": "note", "payload": payload, "delay": delay, "key": key })
}

async fn messages_arrive_in_order_and_once(server: Server) {
    let class = deploy(&server, "").await;
    let receivers: Vec<Object> = (0..8).map(|n| class.object(format!("r{n}"))).collect();
    let ids: Vec<&str> = receivers.iter().map(|object| object.id.as_str()).collect();
    for sender in ["s0", "s1"] {
        for first in [0, 20] {
            let arguments = json!({ "class": class.name, "ids": ids, "first": first, "count": 20 });
            class.object(sender).invoke("send-many", arguments).await.expect(204);
        }
    }
    for receiver in &receivers {
        counts_to(receiver, 80).await;
        let notes = notes(receiver).await;
        // of each sender in order: every number comes twice, and nothing comes before what was sent before it
        let mut next = [0_u64; 2];
        for n in &notes {
            let of = next.iter().position(|next| next == n);
            let of = of.unwrap_or_else(|| panic!("{n} is out of order in {notes:?}"));
            next[of] += 1;
        }
        assert_eq!(next, [40, 40], "{notes:?}");
        assert_eq!(receiver.version().await, 80, "one turn each");
    }
    assert_eq!(class.object("s0").version().await, 2, "being run changes the receiver only");
}

async fn a_turn_that_fails_sends_nothing(server: Server) {
    let class = deploy(&server, "").await;
    let arguments = json!({ "class": class.name, "id": "r" });
    class.object("s").invoke("send-and-fail", arguments).await.problem(Code::FunctionError);
    // what is sent afterwards by the same sender comes after it
    let receiver = class.object("r");
    class.object("s").invoke("post", note(&class, &receiver, 7, 0, None)).await.expect(204);
    counts_to(&receiver, 1).await;
    assert_eq!(notes(&receiver).await, [7]);
}

async fn timers_are_replaced_and_cancelled(server: Server) {
    let class = deploy(&server, "").await;
    let (sender, receiver) = (class.object("s"), class.object("r"));
    let begin = Instant::now();
    for (n, delay, key) in [(1, 60_000, "a"), (2, 60_000, "b"), (3, 3_000, "c")] {
        sender.invoke("post", note(&class, &receiver, n, delay, Some(key))).await.expect(204);
    }
    sender.invoke("post", note(&class, &receiver, 4, 300, Some("a"))).await.expect(204);
    assert_eq!(sender.invoke("cancel", json!({ "key": "b" })).await.expect(200).json(), true);
    assert_eq!(sender.invoke("cancel", json!({ "key": "b" })).await.expect(200).json(), false);
    let other = class.object("other");
    assert_eq!(other.invoke("cancel", json!({ "key": "a" })).await.expect(200).json(), false, "not its own");
    counts_to(&receiver, 2).await;
    assert!(begin.elapsed() >= Duration::from_secs(3), "a timer is never early");
    assert_eq!(notes(&receiver).await, [4, 3]);
    assert_eq!(
        sender.invoke("cancel", json!({ "key": "c" })).await.expect(200).json(),
        false,
        "it has gone off"
    );
    // a time that has passed is now
    let payload = json!({ "n": 5 }).to_string();
    let past = json!({
        "class": class.name, "id": "r", "method": "note", "payload": payload, "at": now_ms() - 5_000, "key": null,
    });
    sender.invoke("post-at", past).await.expect(204);
    counts_to(&receiver, 3).await;
}

async fn a_timer_may_set_the_next(server: Server) {
    let class = deploy(&server, "").await;
    let object = class.object("clock");
    object.invoke("tick", json!({ "left": 30, "delay": 5 })).await.expect(204);
    counts_to(&object, 31).await;
    assert_eq!(object.version().await, 31);
}

async fn a_message_that_fails_blocks_its_pair_only_and_is_tried_again(server: Server) {
    let class = deploy(&server, "").await;
    let receiver = class.object("r");
    let stubborn = json!({
        "class": class.name, "id": "r", "method": "stubborn", "payload": "{\"n\": 1}", "delay": 0, "key": null,
    });
    class.object("s").invoke("post", stubborn).await.expect(204);
    class.object("s").invoke("post", note(&class, &receiver, 2, 0, None)).await.expect(204);
    class.object("other").invoke("post", note(&class, &receiver, 3, 0, None)).await.expect(204);
    counts_to(&receiver, 1).await;
    assert_eq!(notes(&receiver).await, [3], "another sender's goes ahead");
    receiver.patch(&json!({ "ok": true })).send().await.ok();
    counts_to(&receiver, 3).await;
    assert_eq!(notes(&receiver).await, [3, 1, 2]);
}

async fn letters(class: &Class) -> Vec<Value> {
    let path = format!("{}/dead-letters", class.path());
    class.http.get(path).send().await.expect(200).json()["items"].as_array().unwrap().clone()
}

async fn dies(class: &Class, count: usize) -> Vec<Value> {
    eventually(&format!("{count} dead letters"), || async {
        let letters = letters(class).await;
        assert!(letters.len() <= count, "{letters:?}");
        (letters.len() == count).then_some(letters)
    })
    .await
}

async fn dead_letters_are_listed_retried_and_purged(server: Server) {
    let class = deploy(&server, "[class.messages]\nattempts = 2").await;
    let receiver = class.object("r");
    for n in 1..=3 {
        let payload = json!({ "n": n }).to_string();
        let stubborn = json!({
            "class": class.name, "id": "r", "method": "stubborn", "payload": payload, "delay": 0, "key": null,
        });
        class.object("s").invoke("post", stubborn).await.expect(204);
    }
    class.object("s").invoke("post", note(&class, &receiver, 4, 0, None)).await.expect(204);
    let dead = dies(&class, 3).await;
    counts_to(&receiver, 1).await;
    let first = &dead[0];
    assert_eq!((&first["object"], &first["method"]), (&json!("r"), &json!("stubborn")));
    assert_eq!((&first["attempts"], &first["payload"]), (&json!(2), &json!({ "n": 1 })));
    assert_eq!(first["problem"]["code"], "function-error");
    assert_eq!(first["problem"]["error"], "not yet");
    assert_eq!(first["sender"], json!({ "class": class.name, "object": "s" }));
    // page by page
    let path = format!("{}/dead-letters?limit=2", class.path());
    let page = class.http.get(&path).send().await.expect(200).json();
    let next = format!("{path}&cursor={}", page["next"].as_str().unwrap());
    let rest = class.http.get(next).send().await.expect(200).json();
    assert_eq!(
        (page["items"].as_array().unwrap().len(), rest["items"][0]["id"].clone()),
        (2, dead[2]["id"].clone())
    );
    // the command line: one is forgotten, one is tried again and fails again, then all succeed
    let id = |n: usize| dead[n]["id"].as_str().unwrap().to_owned();
    let shown = server.cli(&["dead", "ls", &class.name]).await;
    let shown = shown.ok();
    assert!(shown.contains(&id(0)) && shown.contains("r.stubborn"), "{shown}");
    let purged = server.cli(&["dead", "purge", &class.name, &id(0)]).await;
    assert_eq!(purged.ok().trim(), "1 message forgotten");
    server.cli(&["dead", "retry", &class.name, &id(1)]).await.ok();
    eventually("it fails again", || async {
        let again = letters(&class).await;
        (again.len() == 2 && again.iter().all(|letter| letter["id"] != dead[1]["id"])).then_some(())
    })
    .await;
    receiver.patch(&json!({ "ok": true })).send().await.ok();
    let all = class.http.post(format!("{}/dead-letters/retry", class.path())).send().await.expect(200).json();
    assert_eq!(all["count"], 2);
    counts_to(&receiver, 3).await;
    let mut noted = notes(&receiver).await;
    noted.sort_unstable();
    assert_eq!((noted, letters(&class).await), (vec![2, 3, 4], vec![]));
    let bad = class.http.post(format!("{}/dead-letters/purge?id=x", class.path())).send().await;
    bad.problem(Code::Invalid);
}

async fn functions_may_be_called(server: Server) {
    let class = deploy(&server, "").await;
    let payload = format!("{{\"text\": \"hello {}\"}}", class.name);
    let arguments = json!({ "class": class.name, "function": "shout", "payload": payload });
    class.object("s").invoke("send-to-function", arguments).await.expect(204);
    server.logged(&[&format!("shouted hello {}", class.name)]).await;
}

/// They wait for it a little, and then they are dead letters, which can be tried again once it is there.
async fn messages_to_a_class_that_is_not_there(server: Server) {
    let class = deploy(&server, "").await;
    let late = Class { http: class.http.clone(), name: format!("{}-late", class.name) };
    let receiver = late.object("r");
    class.object("s").invoke("post", note(&late, &receiver, 1, 0, None)).await.expect(204);
    let dead = dies(&late, 1).await;
    assert_eq!(dead[0]["problem"]["code"], "not-found");
    late.redeploy(guests::mailer(), "").await.expect(201);
    late.http.post(format!("{}/dead-letters/retry", late.path())).send().await.expect(200);
    counts_to(&receiver, 1).await;
}

async fn sends_are_limited(server: Server) {
    let class = deploy(&server, "[class.limits]\nsends = 50").await;
    let send = |ids: &[&str], count: u32| {
        let arguments = json!({ "class": class.name, "ids": ids, "first": 0, "count": count });
        let sender = class.object("s");
        async move { sender.invoke("send-many", arguments).await }
    };
    send(&["r"], 50).await.expect(204);
    counts_to(&class.object("r"), 50).await;
    let problem = send(&["q"], 51).await.problem(Code::WriteLimit);
    assert!(problem["detail"].as_str().unwrap().contains("sends = 50"), "{problem}");
    class.object("q").get().await.problem(Code::NotFound);
    let usual = deploy(&server, "").await;
    let arguments = json!({ "class": class.name, "ids": ["q"], "first": 0, "count": 1_001 });
    usual.object("s").invoke("send-many", arguments).await.problem(Code::WriteLimit);
    usual.redeploy(guests::mailer(), "[class.limits]\nsends = 10001").await.problem(Code::Invalid);
    let most = "[class.limits]\nsends = 10000\ncpu_ms = 10000\nwall_ms = 60000";
    usual.redeploy(guests::mailer(), most).await.ok();
    let arguments = json!({ "class": class.name, "ids": ["q"], "first": 0, "count": 10_000 });
    let call = usual.object("s").method("send-many").json(&arguments).header("x-request-timeout-ms", 60_000);
    call.send().await.expect(204);
}

async fn only_a_method_that_may_write_sends(server: Server) {
    let class = deploy(&server, "readonly = [\"post\", \"cancel\"]").await;
    let receiver = class.object("r");
    let sent = class.object("s").invoke("post", note(&class, &receiver, 1, 0, None)).await;
    let problem = sent.problem(Code::Invalid);
    assert!(problem["detail"].as_str().unwrap().contains("read-only"), "{problem}");
    class.object("s").invoke("cancel", json!({ "key": "k" })).await.problem(Code::Invalid);
    let function =
        class.function("send-many").json(&json!({ "class": "A", "ids": ["r"], "first": 0, "count": 1 }));
    let problem = function.send().await.problem(Code::Invalid);
    assert!(problem["detail"].as_str().unwrap().contains("no object is bound"), "{problem}");
    let misused = deploy(&server, "").await;
    for (id, method) in [(".bad", "note"), ("r", "9"), ("r", "")] {
        let arguments = json!({
            "class": "A", "id": id, "method": method, "payload": "", "delay": 0, "key": null,
        });
        misused.object("s").invoke("post", arguments).await.problem(Code::Invalid);
    }
}
