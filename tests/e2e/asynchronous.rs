//! Asynchronous calls: accepted at once, run later as any other call, looked at and waited for by their ids.

use std::time::{Duration, Instant};

use oprc_mesh::outcome::Code;
use oprc_tests::{Call, Class, Object, Reply, Server, both, eventually, guests};
use serde_json::{Value, json};

both!(
    what_it_comes_to_is_what_the_call_comes_to,
    functions_and_readers,
    what_the_function_says_is_final,
    a_trap_is_tried_again_and_then_given_up,
    one_key_is_one_call,
    it_waits_for_what_runs_before_it,
    a_call_under_the_same_key_joins_it,
    ids_that_are_none,
    refused_at_once,
    a_result_that_is_too_large_to_be_kept,
    the_function_sees_its_caller,
    from_the_command_line,
);

/// The call, to be answered before it has run.
pub(crate) fn later(call: Call) -> Call {
    call.header("prefer", "respond-async")
}

/// Where an accepted call is to be looked for.
#[track_caller]
pub(crate) fn accepted(reply: &Reply) -> String {
    assert_eq!(reply.status, 202, "{reply:?}");
    assert_eq!(reply.header("preference-applied"), Some("respond-async"));
    let location = reply.header("location").unwrap().to_owned();
    assert_eq!(location, format!("/api/v1/invocations/{}", reply.json()["id"].as_str().unwrap()));
    location
}

async fn look(class: &Class, location: &str) -> Value {
    class.http.get(location).send().await.expect(200).json()
}

/// Waits until the call is decided, and gives what it came to.
pub(crate) async fn decided(class: &Class, location: &str) -> Value {
    eventually("the call is decided", || async {
        let reply = class.http.get(format!("{location}?wait=5s")).try_send().await.ok()?;
        let invocation = if reply.status == 503 { return None } else { reply.expect(200).json() };
        ["done", "failed"].contains(&invocation["state"].as_str().unwrap()).then_some(invocation)
    })
    .await
}

async fn fresh(server: &Server, manifest: &str) -> Object {
    Class::deploy(server, "Later", guests::prober(), manifest).await.object("o")
}

fn add(object: &Object, by: i64) -> Call {
    object.method("add").json(&json!({ "by": by }))
}

fn keyed(call: Call, key: &str) -> Call {
    call.header("idempotency-key", key)
}

async fn what_it_comes_to_is_what_the_call_comes_to(server: Server) {
    let object = fresh(&server, "").await;
    let reply = later(keyed(add(&object, 5), "k")).send().await;
    assert_eq!(reply.header("oprc-invocation-id"), Some("k"));
    let location = accepted(&reply);
    let invocation = decided(&object.class, &location).await;
    let id = invocation["id"].as_str().unwrap();
    assert_eq!(invocation, json!({ "id": id, "state": "done", "result": 5, "version": 1 }));
    assert_eq!(object.fields().await, json!({ "n": 5 }));
    // the same call, waited for, is the same call
    let again = keyed(add(&object, 5), "k").send().await.expect(200);
    assert_eq!((again.json(), again.header("idempotency-replayed")), (json!(5), Some("true")));
    // without a key the gateway makes one; many calls of an object run in the order in which they were accepted
    let mut locations = Vec::new();
    for _ in 0..10 {
        locations.push(accepted(&later(add(&object, 1)).send().await));
    }
    for (location, sum) in locations.iter().zip(6..) {
        assert_eq!(decided(&object.class, location).await["result"], sum);
    }
    // bytes, and nothing at all
    let class = Class::deploy(&server, "Later", guests::echo(), "").await;
    let echo = class.function("echo").octets(vec![0, 255]).header("accept", "application/octet-stream");
    let location = accepted(&later(echo).send().await);
    assert_eq!(decided(&class, &location).await["result"], json!({ "$base64": "AP8=" }));
    let location = accepted(&later(class.function("nothing")).send().await);
    let invocation = decided(&class, &location).await;
    assert_eq!((&invocation["state"], invocation.get("result")), (&json!("done"), None));
}

async fn functions_and_readers(server: Server) {
    let object = fresh(&server, "readonly = [\"value\"]\n").await;
    add(&object, 3).send().await.expect(200);
    let location = accepted(&later(keyed(object.method("value"), "r")).send().await);
    assert_eq!(decided(&object.class, &location).await["result"], 3);
    object.class.http.get(location).send().await.expect(200);
    assert_eq!(object.version().await, 1, "a look is no version");
    let call = || later(keyed(object.class.function("generation"), "g"));
    let location = accepted(&call().send().await);
    let result = decided(&object.class, &location).await["result"].clone();
    assert_eq!(result, object.class.function("generation").send().await.expect(200).json());
    let again = call().send().await;
    assert_eq!(accepted(&again), location);
    assert_eq!(
        (again.json()["state"].as_str(), again.header("idempotency-replayed")),
        (Some("done"), Some("true"))
    );
    // addressed in the body
    let body = json!({ "class": object.class.name, "object": "o", "function": "add", "payload": [4] });
    let location = accepted(&later(object.class.http.post("/api/v1/invoke").json(&body)).send().await);
    assert_eq!(decided(&object.class, &location).await["result"], 7);
}

async fn what_the_function_says_is_final(server: Server) {
    let object = fresh(&server, "").await;
    let refuse = object.method("refuse").json(&json!({ "reason": "poor", "balance": 1 }));
    let location = accepted(&later(refuse.clone()).send().await);
    let invocation = decided(&object.class, &location).await;
    assert_eq!(invocation["state"], "failed");
    let waited_for = refuse.send().await.problem(Code::FunctionError);
    for member in ["code", "status", "detail", "error", "operation", "subject", "hint", "title"] {
        assert_eq!(invocation["problem"][member], waited_for[member], "{member}");
    }
    assert_eq!(invocation.get("attempts"), None, "it was run once: {invocation}");
    // and so are arguments that do not fit
    let wrong = object.method("add").json(&json!({ "by": "x" }));
    let location = accepted(&later(keyed(wrong, "w")).send().await);
    let invocation = decided(&object.class, &location).await;
    assert_eq!((&invocation["state"], &invocation["problem"]["code"]), (&json!("failed"), &json!("invalid")));
    // they held up nobody
    let location = accepted(&later(add(&object, 1)).send().await);
    assert_eq!(decided(&object.class, &location).await["result"], 1);
    object.class.http.get(format!("{}/dead-letters", object.class.path())).send().await.expect(200);
}

async fn a_trap_is_tried_again_and_then_given_up(server: Server) {
    let object = fresh(&server, "[class.messages]\nattempts = 2\n").await;
    let class = &object.class;
    let call = || keyed(object.method("explode"), "boom");
    let location = accepted(&later(call()).send().await);
    let invocation = decided(class, &location).await;
    assert_eq!(
        (&invocation["state"], &invocation["attempts"], &invocation["problem"]["code"]),
        (&json!("failed"), &json!(2), &json!("trap")),
        "{invocation}"
    );
    let detail = invocation["problem"]["detail"].as_str().unwrap();
    assert!(detail.contains("given up after 2 attempts"), "{detail}");
    let again = later(call()).send().await;
    assert_eq!((accepted(&again), again.json()["state"].as_str()), (location.clone(), Some("failed")));
    // whoever makes the same call and waits is told so, and does not run it
    call().send().await.problem(Code::Trap);
    later(keyed(add(&object, 1), "boom")).send().await.problem(Code::IdempotencyMismatch);
    let letters = class.http.get(format!("{}/dead-letters", class.path())).send().await.expect(200).json();
    let letter = &letters["items"][0];
    assert_eq!(
        (&letter["object"], &letter["method"], &letter["sender"]),
        (&json!("o"), &json!("explode"), &Value::Null)
    );
    let change = |wish: &str| class.http.post(format!("{}/dead-letters/{wish}", class.path()));
    assert_eq!(change("retry").send().await.expect(200).json()["count"], 1);
    let invocation = decided(class, &location).await;
    assert_eq!(invocation["attempts"], 2, "it was tried anew: {invocation}");
    assert_eq!(change("purge").send().await.expect(200).json()["count"], 1);
    class.http.get(location).send().await.problem(Code::NotFound);
}

async fn one_key_is_one_call(server: Server) {
    let object = fresh(&server, "").await;
    let call = || later(keyed(add(&object, 5), "k"));
    let location = accepted(&call().send().await);
    for _ in 0..3 {
        assert_eq!(accepted(&call().send().await), location);
    }
    let others = [
        later(keyed(add(&object, 6), "k")),
        later(keyed(object.method("append").json(&json!({ "token": "t" })), "k")),
        keyed(add(&object, 6), "k"),
        keyed(object.put(&json!({ "n": 9 })), "k"),
    ];
    for other in others.clone() {
        other.send().await.problem(Code::IdempotencyMismatch);
    }
    assert_eq!(decided(&object.class, &location).await["result"], 5);
    for other in others {
        other.send().await.problem(Code::IdempotencyMismatch);
    }
    assert_eq!(accepted(&call().send().await), location);
    assert_eq!(object.fields().await, json!({ "n": 5 }));
    // another object's key is another
    let other = object.class.object("p");
    assert_ne!(accepted(&later(keyed(add(&other, 5), "k")).send().await), location);
}

/// Runs `nap` and waits until it has begun.
async fn nap(
    server: &Server,
    object: &Object,
    ms: u64,
    call: impl Fn(Call) -> Call,
) -> tokio::task::JoinHandle<Reply> {
    let key = oprc_tests::unique("nap");
    let call = call(keyed(object.method("nap").json(&json!({ "ms": ms })), &key));
    let napping = tokio::spawn(call.send());
    server.logged(&["napping", &key]).await;
    napping
}

async fn it_waits_for_what_runs_before_it(server: Server) {
    let object = fresh(&server, "[class.limits]\nwall_ms = 60000").await;
    let class = &object.class;
    let napping = nap(&server, &object, 5_000, |call| call.header("x-request-timeout-ms", 60_000)).await;
    let begin = Instant::now();
    let location = accepted(&later(add(&object, 2)).send().await);
    assert_eq!(look(class, &location).await["state"], "pending");
    // a wait that is too short says how far it is, and not before its time
    let reply = class.http.get(format!("{location}?wait=300ms")).send().await.expect(200);
    assert_eq!(reply.json()["state"], "pending", "it waits for its turn");
    assert!(begin.elapsed() >= Duration::from_millis(300));
    let reply = class.http.get(format!("{location}?wait=30s")).send().await.expect(200);
    assert_eq!(reply.json()["result"], 2);
    assert!(begin.elapsed() < Duration::from_secs(20), "it is answered once it is done");
    napping.await.unwrap().expect(204);
    // one that has its turn is running, and the next one waits
    let napping = nap(&server, &object, 5_000, later).await.await.unwrap();
    let next = accepted(&later(add(&object, 2)).send().await);
    let napping = accepted(&napping);
    assert_eq!(look(class, &napping).await["state"], "running");
    assert_eq!(look(class, &next).await["state"], "pending");
    assert_eq!(decided(class, &next).await["result"], 4);
    assert_eq!(look(class, &napping).await["state"], "done");
}

async fn a_call_under_the_same_key_joins_it(server: Server) {
    let object = fresh(&server, "").await;
    let napping = nap(&server, &object, 700, |call| call).await;
    let call = || keyed(add(&object, 5), "k");
    let location = accepted(&later(call()).send().await);
    let waited_for = call().send().await.expect(200);
    assert_eq!(waited_for.json(), 5);
    assert_eq!(decided(&object.class, &location).await["result"], 5);
    // and the other way round: what has run is not run again
    assert_eq!(call().send().await.expect(200).json(), 5);
    keyed(add(&object, 1), "first").send().await.expect(200);
    let location = accepted(&later(keyed(add(&object, 1), "first")).send().await);
    assert_eq!(look(&object.class, &location).await["result"], 6);
    assert_eq!(object.fields().await["n"], 6);
    napping.await.unwrap().expect(204);
}

async fn ids_that_are_none(server: Server) {
    let object = fresh(&server, "").await;
    let http = &object.class.http;
    let location = accepted(&later(add(&object, 1)).send().await);
    for garbage in ["garbage", "%00", "AQ", &format!("{}!", location.rsplit('/').next().unwrap())] {
        http.get(format!("/api/v1/invocations/{garbage}")).send().await.problem(Code::Invalid);
    }
    for wait in ["5", "61s", "-1s", "soon"] {
        http.get(format!("{location}?wait={wait}")).send().await.problem(Code::Invalid);
    }
    http.get(format!("{location}?wait=1s&wait=1s")).send().await.problem(Code::Invalid);
    http.post(&location).send().await.problem_with(Code::Invalid, 405);
    decided(&object.class, &location).await;
    // well-formed, but nobody made the call: the id of another object's
    let other = object.class.object("p");
    let known = accepted(&later(keyed(add(&other, 1), "k")).send().await);
    let encoded = known.rsplit('/').next().unwrap();
    let (first, rest) = encoded.split_at(4);
    let forged = format!("{first}{}{}", if rest.starts_with('A') { 'B' } else { 'A' }, &rest[1..]);
    http.get(format!("/api/v1/invocations/{forged}")).send().await.problem(Code::NotFound);
}

async fn refused_at_once(server: Server) {
    let object = fresh(&server, "[class.limits]\npayload_kib = 4\n").await;
    later(object.method("no-such")).send().await.problem(Code::NotFound);
    later(object.class.function("no-such")).send().await.problem(Code::NotFound);
    let absent = Class { http: object.class.http.clone(), name: "NotThere".into() };
    later(absent.object("o").method("add")).send().await.problem(Code::NotFound);
    let letters = |bytes: usize| {
        let token = "x".repeat(bytes - "{\"token\":\"\"}".len());
        later(object.method("append").json(&json!({ "token": token })))
    };
    letters(4 * 1024 + 1).send().await.problem(Code::PayloadTooLarge);
    // at the limit it is taken; that the function fails on so long a key is its own affair
    accepted(&letters(4 * 1024).send().await);
    let query = format!("{}/invoke/value?consistency=linearizable", object.path());
    later(object.class.http.post(query)).send().await.problem(Code::Invalid);
}

async fn a_result_that_is_too_large_to_be_kept(server: Server) {
    let object = fresh(&server, "[class.limits]\npayload_kib = 4096\n").await;
    let letters = |bytes: usize| later(object.method("letters").json(&json!({ "bytes": bytes })));
    let location = accepted(&letters(1024 * 1024 + 1).send().await);
    let invocation = decided(&object.class, &location).await;
    assert_eq!((&invocation["state"], invocation.get("result")), (&json!("done"), None));
    assert_eq!(invocation["problem"]["code"], "payload-too-large");
    let detail = invocation["problem"]["detail"].as_str().unwrap();
    assert!(detail.contains("1048579 bytes") && detail.contains("too large to be kept"), "{detail}");
    assert_eq!(object.fields().await, json!({ "dirty": 1 }), "it took effect");
    let location = accepted(&letters(1024 * 1024 - 64).send().await);
    assert_eq!(decided(&object.class, &location).await["result"].as_str().unwrap().len(), 1024 * 1024 - 64);
}

async fn the_function_sees_its_caller(server: Server) {
    let object = fresh(&server, "").await;
    let call = keyed(object.method("circumstances-of-call"), "k").header("x-tenant", "blue");
    let location = accepted(&later(call).send().await);
    let seen = &decided(&object.class, &location).await["result"];
    assert_eq!(seen["invocation-id"], "k");
    assert!(seen["headers"].as_array().unwrap().contains(&json!(["x-tenant", "blue"])), "{seen}");
}

async fn from_the_command_line(server: Server) {
    let object = fresh(&server, "").await;
    let target = format!("{}/o", object.class.name);
    let id = server.cli(&["invoke", &target, "add", "{\"by\": 5}", "--async"]).await.ok();
    let id = id.trim();
    assert_eq!(server.cli(&["invocation", id, "--wait", "30s"]).await.ok(), "done\n5\n");
    let told = server.cli(&["invocation", id, "--output", "json"]).await.json();
    assert_eq!((&told["id"], &told["state"], &told["result"]), (&json!(id), &json!("done"), &json!(5)));
    let arguments = "{\"reason\": \"poor\", \"balance\": 1}";
    let asked =
        ["invoke", &target, "refuse", arguments, "--async", "--idempotency-key", "k", "--output", "json"];
    let told = server.cli(&asked).await.json();
    let failed = server.cli(&["invocation", told["id"].as_str().unwrap(), "--wait", "90s"]).await;
    assert_eq!((failed.code, failed.out.as_str()), (1, "failed\n"));
    assert!(failed.err.contains("poor"), "{}", failed.err);
    assert_eq!(server.cli(&["invocation", "garbage"]).await.code, 1);
    assert_eq!(server.cli(&["invoke", &target, "add", "--async", "--consistency", "stale"]).await.code, 2);
}
