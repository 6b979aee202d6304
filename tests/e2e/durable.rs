//! What was acknowledged survives SIGKILL at once, whatever kind of change it was; and what was deleted stays deleted.

use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Kind, Server, guests, run};
use serde_json::json;

#[test]
fn every_kind_of_change() {
    run(async {
        let server = Server::start(Kind::Embedded).await;
        let _shown = server.show_logs_on_panic();
        let class = Class::deploy(&server, "Durable", guests::prober(), "readonly = [\"value\"]").await;
        let own =
            Class::deploy(&server, "Own", guests::counter(), "grid = { partitions = 2, replicas = 1 }").await;
        let purged = Class::deploy(&server, "Purged", guests::counter(), "").await;
        let removed = Class::deploy(&server, "Removed", guests::counter(), "").await;

        let called = class.object("called");
        called.invoke("add", json!({ "by": 5 })).await.expect(200);
        let written = class.object("written");
        written.put(&json!({ "a": 1, "b": { "$base64": "/wA=" } })).send().await.ok();
        written.patch(&json!({ "c": "x", "a": { "$delete": true } })).send().await.ok();
        written.field("PUT", "d").octets(vec![0, 255]).send().await.ok();
        let deleted = class.object("deleted");
        deleted.put(&json!({ "a": 1 })).send().await.ok();
        deleted.delete().send().await.ok();
        let recreated = class.object("recreated");
        recreated.put(&json!({ "old": 1 })).send().await.ok();
        recreated.delete().send().await.ok();
        recreated.put(&json!({ "new": 1 })).send().await.ok();
        own.object("o").invoke("increment", json!({ "by": 7 })).await.expect(200);
        for class in [&purged, &removed] {
            class.object("o").invoke("increment", json!({ "by": 3 })).await.expect(200);
        }
        removed.http.delete(removed.path()).send().await.ok();
        purged.http.delete(format!("{}?purge=true", purged.path())).send().await.ok();
        class.redeploy(guests::prober_generation(2), "readonly = [\"value\"]").await.expect(201);

        let states =
            [called.get().await, written.get().await, recreated.get().await, own.object("o").get().await];
        let described = class.http.get(class.path()).send().await.expect(200).json();
        for _ in 0..2 {
            server.kill_host();
            server.launch().await;
            let objects = [called.clone(), written.clone(), recreated.clone(), own.object("o")];
            for (before, object) in states.iter().zip(objects) {
                let after = object.get().await.expect(200);
                assert_eq!((before.json(), before.etag()), (after.json(), after.etag()));
            }
            deleted.get().await.problem(Code::NotFound);
            assert_eq!(class.http.get(class.path()).send().await.expect(200).json(), described);
            assert_eq!(
                called.invoke("generation", json!({})).await.expect(200).json(),
                guests::generation(2)
            );
            for class in [&purged, &removed] {
                class.http.get(class.path()).send().await.problem(Code::NotFound);
            }
        }
        removed.redeploy(guests::counter(), "").await.expect(201);
        assert_eq!(removed.object("o").invoke("value", json!({})).await.expect(200).json(), 3);
        purged.redeploy(guests::counter(), "").await.expect(201);
        purged.object("o").get().await.problem(Code::NotFound);
        // incarnations stay unique over restarts
        let before = deleted.class.object("recreated").get().await.etag();
        recreated.delete().send().await.ok();
        recreated.put(&json!({ "new": 1 })).send().await.ok();
        assert!(oprc_tests::tag(&recreated.get().await.etag()).0 > oprc_tests::tag(&before).0);
    });
}

/// More than one checkpoint's worth of large values, killed while more come in: each is there as it was acknowledged.
#[test]
fn large_values() {
    run(async {
        let server = Server::start(Kind::Embedded).await;
        let _shown = server.show_logs_on_panic();
        let class = Class::deploy(&server, "Large", guests::prober(), "").await;
        let value =
            |n: usize| -> Vec<u8> { n.to_le_bytes().iter().copied().cycle().take(1024 * 1024).collect() };
        for round in 0..3 {
            let mut writers = tokio::task::JoinSet::new();
            for n in round * 30..round * 30 + 30 {
                let put = class.object(format!("o{n}")).field("PUT", "large").octets(value(n));
                writers.spawn(put.send());
            }
            for reply in writers.join_all().await {
                reply.ok();
            }
            // more is under way when it dies
            let last = class.object("last").field("PUT", "large").octets(value(round));
            let last = tokio::spawn(last.try_send());
            server.kill_host();
            let _ = last.await.unwrap();
            server.launch().await;
            for n in 0..round * 30 + 30 {
                let kept = class.object(format!("o{n}")).field("GET", "large").send().await.expect(200);
                assert!(kept.body == value(n), "o{n} is what was written");
            }
        }
    });
}

/// What lies on disk is read again from the log or the state, however often the process dies on the way.
#[test]
fn many_restarts() {
    run(async {
        let server = Server::start(Kind::Embedded).await;
        let _shown = server.show_logs_on_panic();
        let class = Class::deploy(&server, "Durable", guests::counter(), "").await;
        for round in 1..=8 {
            for n in 0..10 {
                let reply =
                    class.object(format!("o{n}")).invoke("increment", json!({ "by": 1 })).await.expect(200);
                assert_eq!((reply.json(), reply.version()), (json!(round), round));
            }
            if round % 2 == 0 {
                assert!(server.stop().await.success());
            } else {
                server.kill_host();
            }
            server.launch().await;
        }
    });
}
