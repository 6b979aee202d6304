//! A canary serves its share of a class's objects: always the same ones, by whatever way they are reached.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Server, both, eventually, guests};
use serde_json::{Value, json};

use crate::asynchronous::{accepted, decided, later};

both!(
    a_share_of_the_objects,
    every_way_leads_to_the_same_code,
    calls_of_functions_are_shared_out,
    each_has_its_own_manifest,
    refused,
);

const OBJECTS: usize = 1_000;
const AT_ONCE: usize = 16;
const READONLY: &str = "readonly = [\"generation\"]";

fn ids(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("user-{n}"))
}

fn of_canary(class: &Class, count: usize, share: u32) -> BTreeSet<String> {
    ids(count).filter(|id| class.is_canary(id, share)).collect()
}

/// The objects that answer `method` with the second generation. The version that the answer names is the one that ran.
async fn second(class: &Class, method: &str, versions: (u64, u64)) -> BTreeSet<String> {
    let asked = stream::iter(ids(OBJECTS)).map(|id| async move {
        let reply = class.object(id.as_str()).invoke(method, json!({})).await.expect(200);
        let value = reply.json();
        let generation = value.as_str().or_else(|| value["generation"].as_str()).unwrap().to_owned();
        let is_second = generation == guests::generation(2);
        let version = if is_second { versions.1 } else { versions.0 };
        assert_eq!(reply.header("oprc-class-version"), Some(version.to_string().as_str()), "{reply:?}");
        Ok::<_, ()>(is_second.then_some(id))
    });
    let found: Vec<_> = asked.buffer_unordered(AT_ONCE).try_collect().await.unwrap();
    found.into_iter().flatten().collect()
}

async fn described(class: &Class) -> Value {
    class.http.get(class.path()).send().await.expect(200).json()
}

async fn a_share_of_the_objects(server: Server) {
    let class = Class::deploy(&server, "Share", guests::prober_generation(1), READONLY).await;
    let begun = class.canary_carefully(guests::prober_generation(2), READONLY, 10).await.expect(201).json();
    assert_eq!((&begun["version"], &begun["canary"]), (&json!(2), &json!(10)));
    let canary = described(&class).await["canary"].take();
    assert_eq!((&canary["version"], &canary["share"]), (&json!(2), &json!(10)));
    assert_eq!(canary["digest"], begun["digest"]);
    let versions = class.http.get(format!("{}/versions", class.path())).send().await.expect(200).json();
    assert_eq!(versions["items"].as_array().unwrap().len(), 1);
    assert_eq!(versions["items"][0]["canary"], canary);
    let ten = second(&class, "stamp", (1, 2)).await;
    assert!((60..=140).contains(&ten.len()), "{} of {OBJECTS}", ten.len());
    assert_eq!(ten, of_canary(&class, OBJECTS, 10));
    assert_eq!(second(&class, "generation", (1, 2)).await, ten, "the same ones every time");
    // a larger share has them all, and others
    let more = class.canary_carefully(guests::prober_generation(2), READONLY, 40).await.expect(201).json();
    assert_eq!((&more["version"], &more["canary"]), (&json!(2), &json!(40)));
    assert_eq!(described(&class).await["canary"]["deployed_at_ms"], canary["deployed_at_ms"]);
    let forty = second(&class, "generation", (1, 2)).await;
    assert!(forty.is_superset(&ten) && (320..=480).contains(&forty.len()), "{} of {OBJECTS}", forty.len());
    let same = class.canary_carefully(guests::prober_generation(2), READONLY, 40).await.expect(200).json();
    assert_eq!(same, more);
    // promoted it keeps its number, and objects keep what they were written
    let promoted = class.promote().await.expect(201).json();
    assert_eq!((&promoted["version"], promoted.get("canary")), (&json!(2), None));
    assert_eq!(second(&class, "stamp", (1, 2)).await.len(), OBJECTS);
    for id in ids(20) {
        let fields = class.object(id.as_str()).fields().await;
        assert_eq!(fields, json!({ "n": 2, "generation": { "$text": guests::generation(2) } }), "{id}");
    }
    assert_eq!(described(&class).await.get("canary"), None);
}

/// Turns, readers, also stale ones, asynchronous calls, messages and nested calls.
async fn every_way_leads_to_the_same_code(server: Server) {
    const SOME: usize = 40;
    let caller = Class::deploy(&server, "Caller", guests::caller(), "").await.object("c");
    let mailer = Class::deploy(&server, "Mailer", guests::mailer(), "").await.object("m");
    let class = Class::deploy(&server, "Ways", guests::prober_generation(1), READONLY).await;
    class.canary(guests::prober_generation(2), READONLY, 50).await.expect(201);
    let canary = of_canary(&class, SOME, 50);
    assert!(canary.len() > 5 && canary.len() < SOME - 5);
    for id in ids(SOME) {
        let object = class.object(id.as_str());
        let expected = json!(guests::generation(if canary.contains(&id) { 2 } else { 1 }));
        assert_eq!(
            object.invoke("stamp", json!({})).await.expect(200).json()["generation"],
            expected,
            "{id}"
        );
        assert_eq!(object.method("generation").send().await.expect(200).json(), expected, "{id}");
        let stale = class.http.post(format!("{}/invoke/generation?consistency=stale", object.path()));
        assert_eq!(stale.send().await.expect(200).json(), expected, "{id}");
        for method in ["generation", "stamp"] {
            let location = accepted(&later(object.method(method)).send().await);
            let result = decided(&class, &location).await["result"].take();
            assert_eq!(result.get("generation").unwrap_or(&result), &expected, "{id}");
        }
        let nested = json!({ "class": class.name, "id": id, "method": "stamp", "payload": "" });
        let told = caller.invoke("ask", nested).await.expect(200).json();
        assert!(told.as_str().unwrap().contains(expected.as_str().unwrap()), "{id}: {told}");
        // the message writes over what is written here
        object.patch(&json!({ "generation": "before" })).send().await.ok();
        let letter = json!({ "class": class.name, "id": id, "method": "stamp", "payload": "", "delay": 0, "key": null });
        mailer.invoke("post", letter).await.expect(204);
        eventually("the message arrives", || async {
            let generation = object.fields().await["generation"].take();
            (generation != "before").then(|| assert_eq!(generation, json!({ "$text": expected }), "{id}"))
        })
        .await;
    }
}

/// A function has no object: its calls are shared out by their ids, so that one that is tried again meets the same code.
async fn calls_of_functions_are_shared_out(server: Server) {
    let class = Class::deploy(&server, "Functions", guests::prober_generation(1), "").await;
    class.canary(guests::prober_generation(2), "", 30).await.expect(201);
    let ran = |key: String| {
        let call = class.function("generation").header("idempotency-key", key);
        async move { call.send().await.expect(200).json() == guests::generation(2) }
    };
    let mut canary = 0;
    for n in 0..200 {
        let first = ran(format!("call-{n}")).await;
        assert_eq!(ran(format!("call-{n}")).await, first, "call-{n}");
        canary += u32::from(first);
    }
    assert!((25..=95).contains(&canary), "{canary} of 200");
}

/// Limits, triggers and read-only methods are those of the code that serves the object, also for writes from outside.
async fn each_has_its_own_manifest(server: Server) {
    const SOME: usize = 24;
    let audit = Class::deploy(&server, "Audit", guests::mailer(), "").await;
    let log = audit.object("log");
    let class = Class::deploy(&server, "Manifest", guests::prober_generation(1), "").await;
    let manifest = format!(
        "readonly = [\"value\"]\n[class.limits]\nwrite_keys = 2\n[[class.trigger]]\non = [\"create\"]\nfield = \"told\"\n\
         call = {{ class = \"{}\", object = \"log\", method = \"record\" }}",
        audit.name
    );
    class.canary_carefully(guests::prober_generation(1), &manifest, 50).await.expect(201);
    let canary = of_canary(&class, SOME, 50);
    assert!(!canary.is_empty() && canary.len() < SOME);
    for id in ids(SOME) {
        let (object, of_canary) = (class.object(id.as_str()), canary.contains(&id));
        object.put(&json!({ "told": 1 })).send().await.ok();
        let many = object.invoke("write-many", json!({ "count": 3, "bytes": 1, "at-once": true })).await;
        let patched = object.patch(&json!({ "a": 1, "b": 2, "c": 3 })).send().await;
        if of_canary {
            many.problem(Code::WriteLimit);
            patched.problem(Code::WriteLimit);
        } else {
            many.expect(204);
            patched.ok();
        }
        // a turn that only reads may be stale, another one may not
        let stale = class.http.post(format!("{}/invoke/value?consistency=stale", object.path())).send().await;
        assert_eq!(stale.status, if of_canary { 200 } else { 400 }, "{id}");
    }
    eventually("all of the canary's objects have told", || async {
        let count = log.get().await;
        let count =
            if count.status == 404 { 0 } else { count.json()["fields"]["count"].as_u64().unwrap_or(0) };
        assert!(count <= canary.len() as u64, "{count} of {}", canary.len());
        (count == canary.len() as u64).then_some(())
    })
    .await;
}

/// What is refused changes nothing.
async fn refused(server: Server) {
    let class = Class::deploy(&server, "Refused", guests::counter(), "readonly = [\"value\"]").await;
    let absent = Class { http: class.http.clone(), name: "NoSuchClass".into() };
    absent.canary(guests::counter(), "", 10).await.problem(Code::NotFound);
    absent.promote().await.problem(Code::NotFound);
    class.promote().await.problem(Code::Conflict);
    let before = described(&class).await;
    for share in [0, 100] {
        let problem = class.canary(guests::account(), "", share).await.problem(Code::Invalid);
        assert!(problem["detail"].as_str().unwrap().contains("1 to 99"), "{problem}");
    }
    class.canary(guests::counter(), "readonly = [\"value\"]", 10).await.problem(Code::Conflict);
    class.canary_carefully(guests::account(), "", 10).await.problem(Code::Conflict);
    class.canary_carefully(guests::counter(), "", 10).await.problem(Code::Conflict);
    let grid = "grid = { partitions = 2, replicas = 1 }";
    class.canary(guests::account(), grid, 10).await.problem(Code::Conflict);
    class.canary(b"\0asm no component".as_slice().into(), "", 10).await.problem(Code::InvalidComponent);
    class.canary(guests::account(), "readonly = [\"nothing\"]", 10).await.problem(Code::InvalidComponent);
    assert_eq!(described(&class).await, before);
    class.canary(guests::account(), "", 10).await.expect(201);
    let begun = described(&class).await;
    // what is to become of the canary is not for a deployment to guess
    for component in [guests::counter(), guests::account(), guests::echo()] {
        let problem = class.redeploy(component, "").await.problem(Code::Conflict);
        let hint = problem["hint"].as_str().unwrap();
        assert!(hint.contains("promote") && hint.contains("rollback"), "{problem}");
    }
    class.roll_back(Some(2)).await.problem(Code::Conflict);
    assert_eq!(described(&class).await, begun);
    let back = class.roll_back(None).await.expect(201).json();
    assert_eq!((&back["version"], &back["ended_canary"]), (&json!(1), &json!(2)));
    assert_eq!(described(&class).await, before);
    class.roll_back(None).await.problem(Code::Conflict);
}
