//! A canary begins, grows, is promoted or ended: no call fails because of it, and whatever crashes, it happened or did not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use oprc_tests::{Class, Kind, Load, Server, both, eventually, guests, run};
use serde_json::{Value, json};

both!(no_call_fails, by_the_command_line);

const CLIENTS: usize = 8;

async fn described(class: &Class) -> Value {
    class.http.get(class.path()).send().await.expect(200).json()
}

/// Each client counts on objects of its own; it gives what it has counted by the end.
fn counting(class: &Class, load: &mut Load, calls: &Arc<AtomicU64>) {
    for client in 0..CLIENTS {
        let (class, calls) = (class.clone(), Arc::clone(calls));
        load.spawn(move |over| async move {
            let objects: Vec<_> = (0..6).map(|n| class.object(format!("o{client}-{n}"))).collect();
            let mut counted = vec![0_u64; objects.len()];
            for at in (0..objects.len()).cycle() {
                let stamped = objects[at].invoke("stamp", json!({})).await.expect(200).json();
                counted[at] += 1;
                assert_eq!(stamped["n"], counted[at], "each call counts once, whatever code ran");
                objects[at].method("generation").send().await.expect(200);
                calls.fetch_add(1, Ordering::SeqCst);
                if over.is_over() {
                    break;
                }
            }
        });
    }
}

async fn no_call_fails(server: Server) {
    let readonly = "readonly = [\"generation\"]";
    let class = Class::deploy(&server, "Hot", guests::prober_generation(1), readonly).await;
    let (mut load, calls) = (Load::default(), Arc::new(AtomicU64::new(0)));
    counting(&class, &mut load, &calls);
    let some_calls = || async {
        let before = calls.load(Ordering::SeqCst);
        eventually("calls answer", || async { (calls.load(Ordering::SeqCst) > before + 60).then_some(()) })
            .await;
    };
    for (generation, last) in [(2, false), (3, true), (4, false), (5, true)] {
        for share in [10, 60] {
            some_calls().await;
            class.canary(guests::prober_generation(generation), readonly, share).await.expect(201);
            // what is acknowledged holds for every call that begins now
            for id in (0..20).map(|n| format!("new-{generation}-{share}-{n}")) {
                let now = class.object(id.as_str()).method("generation").send().await.expect(200).json();
                assert_eq!(class.is_canary(&id, share), now == guests::generation(generation), "{id}: {now}");
            }
        }
        some_calls().await;
        let ended = if last { class.promote().await } else { class.roll_back(None).await };
        ended.expect(201);
        let runs = class.function("generation").send().await.expect(200).json();
        assert_eq!(runs == guests::generation(generation), last, "{runs}");
    }
    some_calls().await;
    load.stop().await;
}

async fn by_the_command_line(server: Server) {
    let class = Class::deploy(&server, "CliCanary", guests::prober_generation(1), "").await;
    let name = class.name.as_str();
    let wasm = format!("{name}.wasm");
    std::fs::write(server.scratch().join(&wasm), guests::prober_generation(2)).unwrap();
    let told = server.cli(&["deploy", &wasm, "--canary", "10"]).await.ok();
    assert!(told.contains("version 2 as a canary for 10% of its objects"), "{told}");
    let told = server.cli(&["deploy", &wasm, "--canary", "10"]).await.ok();
    assert!(told.contains("unchanged"), "{told}");
    for command in ["describe", "versions"] {
        let told = server.cli(&[command, name]).await.ok();
        assert!(told.contains("10%") && told.contains("canary"), "{told}");
    }
    assert!(server.cli(&["classes"]).await.ok().contains("2 (canary 10%)"));
    let document = server.cli(&["describe", name, "--output", "json"]).await.json();
    assert_eq!((&document["version"], &document["canary"]["share"]), (&json!(1), &json!(10)));
    for share in ["0", "100", "x", "-1", "0.5"] {
        server.cli(&["deploy", &wasm, "--canary", share]).await.fails(2);
    }
    let complaint = server.cli(&["deploy", &wasm]).await.fails(1);
    for part in ["conflict", "version 2 serves 10%", "oprc promote", "oprc rollback"] {
        assert!(complaint.contains(part), "{part} in {complaint}");
    }
    let told = server.cli(&["rollback", name]).await.ok();
    assert!(told.contains("ended the canary") && told.contains("version 1 serves all objects"), "{told}");
    assert!(server.cli(&["promote", name]).await.fails(1).contains("has no canary"));
    server.cli(&["deploy", &wasm, "--canary", "50"]).await.ok();
    let told = server.cli(&["promote", name]).await.ok();
    assert!(told.contains("version 3 now, for all objects"), "{told}");
    assert_eq!(server.cli(&["promote", name, "--output", "json"]).await.code, 1);
    assert!(!server.cli(&["describe", name]).await.ok().contains("canary"));
}

/// The steps of a deployment at which the host may die; before the last it has not happened, and then it has.
const STEPS: [(&str, bool); 3] =
    [("before-spread", false), ("before-revision", false), ("after-revision", true)];

/// The class's versions, as a host lists them (a gateway's own copy may lag when nobody told it), and which objects run the
/// second generation.
async fn seen(class: &Class) -> (Value, BTreeSet<String>) {
    let versions = class.http.get(format!("{}/versions", class.path())).send().await.expect(200).json();
    let mut second = BTreeSet::new();
    for id in (0..40).map(|n| format!("o{n}")) {
        let generation = class.object(id.as_str()).method("generation").send().await.expect(200).json();
        if generation != guests::generation(1) {
            second.insert(id);
        }
    }
    (versions["items"].clone(), second)
}

async fn cut_short(kind: Kind) {
    let server = Server::prepare(kind);
    let _shown = server.show_logs_on_panic();
    server.launch().await;
    for (step, happened) in STEPS {
        for share in [None, Some(50)] {
            let class = Class::deploy(&server, "Short", guests::prober_generation(1), "").await;
            let before = seen(&class).await;
            server.kill_host();
            server.start_host_with(&[("OPRC_TEST_CRASH", step)]);
            server.ready().await;
            let mut host = server.take_host();
            let path = share.map_or_else(String::new, |share| format!("?canary={share}"));
            while host.status().is_none() {
                let put = class.http.put(format!("{}{path}", class.path()));
                let put = put.body("application/wasm", guests::prober_generation(2));
                let told = put.header("x-request-timeout-ms", 20_000).try_send().await;
                let done = told.is_ok_and(|reply| matches!(reply.status, 200 | 201));
                assert!(!done, "{step} {share:?}: nobody was told that it is done");
            }
            drop(host);
            server.launch().await;
            let after = seen(&class).await;
            if !happened {
                assert_eq!(after, before, "{step} {share:?}");
                continue;
            }
            let expected = (0..40).map(|n| format!("o{n}"));
            let expected: BTreeSet<_> =
                expected.filter(|id| share.is_none_or(|share| class.is_canary(id, share))).collect();
            assert_eq!(after.1, expected, "{step} {share:?}");
            let current = after.0.as_array().unwrap().last().unwrap();
            let shown = share.map_or(&current["version"], |_| &current["canary"]["version"]);
            assert_eq!(shown, &json!(2), "{step} {share:?}");
        }
    }
}

#[test]
fn cut_short_embedded() {
    run(cut_short(Kind::Embedded));
}

#[test]
fn cut_short_apart() {
    run(cut_short(Kind::Apart));
}

/// An acknowledged canary is as durable as a deployment, and so is its end.
#[test]
fn a_canary_survives_a_crash() {
    run(async {
        let server = Server::start(Kind::Embedded).await;
        let _shown = server.show_logs_on_panic();
        let class = Class::deploy(&server, "Kept", guests::prober_generation(1), "").await;
        class.canary(guests::prober_generation(2), "", 30).await.expect(201);
        for ended in [false, true] {
            let before = seen(&class).await;
            server.kill_host();
            server.launch().await;
            assert_eq!(seen(&class).await, before);
            if !ended {
                class.roll_back(None).await.ok();
            }
        }
        assert_eq!(described(&class).await.get("canary"), None);
    });
}
