//! A class through its life: rolled back, changed so that callers would break, purged across a crash.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Kind, Server, both, eventually, guests, run};
use serde_json::{Value, json};
use tokio::task::JoinSet;

both!(rolled_back, not_rolled_back, rolled_back_under_load, callers_would_break, by_the_command_line);

async fn generation(class: &Class) -> String {
    class.function("generation").send().await.expect(200).json().as_str().unwrap().to_owned()
}

async fn versions(class: &Class) -> Vec<Value> {
    let listed = class.http.get(format!("{}/versions", class.path())).send().await.expect(200).json();
    listed["items"].as_array().unwrap().clone()
}

/// A rollback is a new version with what an earlier one had: component, methods, manifest. Objects stay.
async fn rolled_back(server: Server) {
    let class = Class::deploy(&server, "Back", guests::prober_generation(1), "readonly = [\"value\"]").await;
    let object = class.object("o");
    object.invoke("add", json!({ "by": 5 })).await.expect(200);
    class.redeploy(guests::prober_generation(2), "[class.limits]\nwrite_keys = 7").await.expect(201);
    class.redeploy(guests::counter(), "").await.expect(201);
    let back = class.roll_back(None).await.expect(201).json();
    assert_eq!((&back["version"], &back["class"]), (&json!(4), &json!(class.name)));
    assert_eq!(generation(&class).await, guests::generation(2));
    let described = class.http.get(class.path()).send().await.expect(200).json();
    assert_eq!((&described["version"], &described["limits"]["write_keys"]), (&json!(4), &json!(7)));
    assert_eq!(class.roll_back(Some(1)).await.expect(201).json()["version"], 5);
    assert_eq!(generation(&class).await, guests::generation(1));
    let described = class.http.get(class.path()).send().await.expect(200).json();
    assert_eq!(described["readonly"], json!(["value"]));
    // what is so already stays so
    assert_eq!(class.roll_back(Some(5)).await.expect(200).json()["version"], 5);
    assert_eq!(class.roll_back(Some(1)).await.expect(200).json()["version"], 5);
    let versions = versions(&class).await;
    let digests: Vec<_> = versions.iter().map(|version| version["digest"].clone()).collect();
    assert_eq!(digests.len(), 5);
    assert_eq!((&digests[3], &digests[4]), (&digests[1], &digests[0]));
    assert_eq!(object.invoke("add", json!({ "by": 1 })).await.expect(200).json(), 6);
}

async fn not_rolled_back(server: Server) {
    let class = Class::deploy(&server, "Back", guests::counter(), "").await;
    class.roll_back(None).await.problem(Code::Conflict);
    let problem = class.roll_back(Some(2)).await.problem(Code::NotFound);
    assert!(problem["detail"].as_str().unwrap().contains("no version 2"), "{problem}");
    let rollback = || class.http.post(format!("{}/rollback", class.path()));
    for body in ["{\"to\": 0}", "{\"to\": \"1\"}", "{\"version\": 1}", "1", "{"] {
        rollback().json_text(body).send().await.problem(Code::Invalid);
    }
    let absent = Class { http: class.http.clone(), name: "NoSuchClass".into() };
    absent.roll_back(None).await.problem(Code::NotFound);
    assert_eq!(versions(&class).await.len(), 1);
    class.http.delete(class.path()).send().await.ok();
    class.roll_back(Some(1)).await.problem(Code::NotFound);
}

const GENERATIONS: u32 = 6;

/// As a deployment: no call fails, and every call that begins after the rollback was acknowledged runs what it brought back.
async fn rolled_back_under_load(server: Server) {
    let class = Class::deploy(&server, "Back", guests::prober_generation(1), "").await;
    for generation in 2..=GENERATIONS {
        class.redeploy(guests::prober_generation(generation), "").await.expect(201);
    }
    let most = Arc::new(AtomicU32::new(GENERATIONS));
    let (over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let object = class.object(format!("o{client}"));
        let (most, over, calls) = (Arc::clone(&most), Arc::clone(&over), Arc::clone(&calls));
        clients.spawn(async move {
            let mut done = 0;
            while !over.load(Ordering::SeqCst) {
                let most = most.load(Ordering::SeqCst);
                let stamped = object.invoke("stamp", json!({})).await.expect(200).json();
                let generation: u32 = stamped["generation"].as_str().unwrap()[16..].parse().unwrap();
                assert!(generation <= most, "generation {generation} ran after {most} was brought back");
                done += 1;
                calls.fetch_add(1, Ordering::SeqCst);
            }
            assert_eq!(object.fields().await["n"], done, "each call counts once");
        });
    }
    for version in (1..GENERATIONS).rev() {
        let before = calls.load(Ordering::SeqCst);
        eventually("calls answer", || async {
            assert_eq!(clients.len(), 8, "a client failed");
            (calls.load(Ordering::SeqCst) > before + 50).then_some(())
        })
        .await;
        class.roll_back(Some(version.into())).await.expect(201);
        most.store(version, Ordering::SeqCst);
    }
    over.store(true, Ordering::SeqCst);
    clients.join_all().await;
    assert_eq!(generation(&class).await, guests::generation(1));
}

/// A deployment that callers would notice is refused with what they would notice, unless it is forced.
async fn callers_would_break(server: Server) {
    let readonly = "readonly = [\"value\"]";
    let class = Class::deploy(&server, "Broken", guests::counter(), readonly).await;
    let object = class.object("o");
    object.invoke("increment", json!({ "by": 5 })).await.expect(200);
    let problem = class.redeploy_carefully(guests::account(), "").await.problem(Code::Conflict);
    let detail = problem["detail"].as_str().unwrap();
    for part in ["increment: func(by: u64) -> u64 is gone", "value: func() -> u64 is gone", "version 1"] {
        assert!(detail.contains(part), "{part} in {detail}");
    }
    assert!(problem["hint"].as_str().unwrap().contains("force"), "{problem}");
    let problem = class.redeploy_carefully(guests::counter(), "").await.problem(Code::Conflict);
    assert!(problem["detail"].as_str().unwrap().contains("value is no longer read-only"), "{problem}");
    class.redeploy_carefully(guests::kv(), "").await.problem(Code::Conflict);
    // nothing came of any of them
    assert_eq!(versions(&class).await.len(), 1);
    assert_eq!(object.invoke("value", json!({})).await.expect(200).json(), 5);
    let limits = format!("{readonly}\n[class.limits]\ncpu_ms = 400");
    class.redeploy_carefully(guests::counter(), &limits).await.expect(201);
    class.redeploy(guests::account(), "").await.expect(201);
    object.invoke("value", json!({})).await.problem(Code::NotFound);
    // back again, although callers of the account break
    class.roll_back(Some(1)).await.expect(201);
    assert_eq!(object.invoke("value", json!({})).await.expect(200).json(), 5);
    // in the query of a plain body too
    let plain = |query: &str| {
        let call = class.http.put(format!("{}?{query}", class.path()));
        call.body("application/wasm", guests::account())
    };
    plain("readonly=balance").send().await.problem(Code::Conflict);
    plain("readonly=balance&force=no").send().await.problem(Code::Invalid);
    plain("readonly=balance&force=true").send().await.expect(201);
    // nobody calls a class that was removed
    class.http.delete(class.path()).send().await.ok();
    class.redeploy_carefully(guests::counter(), "").await.expect(201);
}

async fn by_the_command_line(server: Server) {
    let class = Class::deploy(&server, "Cli", guests::counter(), "").await;
    let name = class.name.as_str();
    std::fs::write(server.scratch().join(format!("{name}.wasm")), guests::account()).unwrap();
    let wasm = format!("{name}.wasm");
    let complaint = server.cli(&["deploy", &wasm]).await.fails(1);
    for part in ["conflict", "increment: func(by: u64) -> u64 is gone", "--force"] {
        assert!(complaint.contains(part), "{part} in {complaint}");
    }
    let complaint = server.cli(&["deploy", &wasm, "--output", "json"]).await.fails(1);
    let problem: Value = serde_json::from_str(&complaint).unwrap();
    assert_eq!(problem["code"], "conflict");
    let deployed = server.cli(&["deploy", &wasm, "--force"]).await.ok();
    assert!(deployed.contains("version 2") && deployed.contains("withdraw"), "{deployed}");
    let told = server.cli(&["rollback", name]).await.ok();
    assert!(told.contains("version 3") && told.contains("increment: func(by: u64) -> u64"), "{told}");
    let back = server.cli(&["rollback", name, "--to", "2", "--output", "json"]).await.json();
    assert_eq!((&back["version"], &back["class"]), (&json!(4), &json!(name)));
    let told = server.cli(&["rollback", name, "--to", "4"]).await.ok();
    assert!(told.contains("unchanged"), "{told}");
    assert!(server.cli(&["rollback", name, "--to", "9"]).await.fails(1).contains("no version 9"));
    server.cli(&["rollback", name, "--to", "0"]).await.fails(2);
    server.cli(&["rollback"]).await.fails(2);
    let described = server.cli(&["describe", name]).await.ok();
    assert!(described.contains("version 4") && described.contains("withdraw: func("), "{described}");
    assert!(server.cli(&["rm", name, "--purge"]).await.ok().contains(name));
    assert!(server.cli(&["rm", name, "--purge"]).await.fails(1).contains("not-found"));
}

/// A purge that a SIGKILL may have cut short happened or did not: the class has all its objects or is gone, and what is
/// deployed afterwards has none. Rollbacks survive it as deployments do.
async fn purged_in_a_crash(kind: Kind) {
    let server = Server::start(kind).await;
    let _shown = server.show_logs_on_panic();
    let mut purges = 0;
    for round in 0..6_u64 {
        let class = Class::deploy(&server, "Purged", guests::counter(), "").await;
        let mut filling = JoinSet::new();
        for client in 0..8 {
            let class = class.clone();
            filling.spawn(async move {
                for n in (client..80).step_by(8) {
                    class.object(format!("o{n}")).invoke("increment", json!({ "by": 1 })).await.expect(200);
                }
            });
        }
        filling.join_all().await;
        let purge = class.http.delete(format!("{}?purge=true", class.path()));
        let purging =
            tokio::spawn(async move { purge.try_send().await.is_ok_and(|reply| reply.status == 204) });
        // anywhere between before it came and after it was done
        tokio::time::sleep(std::time::Duration::from_millis(round * 2)).await;
        server.kill_host();
        let acknowledged = purging.await.unwrap();
        server.launch().await;
        // a host says: a gateway's own copy may lag for a moment when nobody told it
        let status = class.http.get(format!("{}/versions", class.path())).send().await.status;
        assert!(status == 404 || (status == 200 && !acknowledged), "round {round}: {status}, {acknowledged}");
        purges += u32::from(status == 404);
        if status == 200 {
            for n in 0..80 {
                class.object(format!("o{n}")).get().await.expect(200);
            }
            class.http.delete(format!("{}?purge=true", class.path())).send().await.expect(204);
            server.kill_host();
            server.launch().await;
        }
        class.redeploy(guests::counter(), "").await.expect(201);
        let listed = class.http.get(format!("{}/objects", class.path())).send().await.expect(200).json();
        assert_eq!(listed["items"], json!([]), "round {round}");
        class.object("o1").get().await.problem(Code::NotFound);
        assert_eq!(versions(&class).await.len(), 1, "a purged class begins anew");
    }
    println!("{purges} of 6 purges happened before the kill");
}

#[test]
fn purged_in_a_crash_embedded() {
    run(purged_in_a_crash(Kind::Embedded));
}

#[test]
fn purged_in_a_crash_apart() {
    run(purged_in_a_crash(Kind::Apart));
}

/// An acknowledged rollback is as durable as a deployment.
#[test]
fn a_rollback_survives_a_crash() {
    run(async {
        let server = Server::start(Kind::Embedded).await;
        let class = Class::deploy(&server, "Back", guests::prober_generation(1), "").await;
        class.redeploy(guests::prober_generation(2), "").await.expect(201);
        class.roll_back(None).await.expect(201);
        let before = class.http.get(class.path()).send().await.expect(200).json();
        server.kill_host();
        server.launch().await;
        assert_eq!(class.http.get(class.path()).send().await.expect(200).json(), before);
        assert_eq!(generation(&class).await, guests::generation(1));
    });
}
