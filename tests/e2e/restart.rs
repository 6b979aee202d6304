//! Stopping and starting the parts on their own: order does not matter, and each finds the others again.

use std::time::Duration;

use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Kind, Server, eventually, guests, run};
use serde_json::json;

#[test]
fn the_gateway_may_come_first() {
    run(async {
        let server = Server::prepare(Kind::Apart);
        let _shown = server.show_logs_on_panic();
        server.start_gateway();
        let http = server.http();
        eventually("the gateway is alive, and not ready", || async {
            let health = http.get("/healthz").try_send().await.ok()?;
            health.expect(200);
            let ready = http.get("/readyz").try_send().await.ok()?;
            assert_eq!(ready.status, 503, "{ready:?}");
            Some(())
        })
        .await;
        let early = http.get("/api/v1/classes/A/objects/o").send().await;
        assert_eq!(early.problem(Code::Unavailable)["outcome"], "not-run");
        // nobody waits for ever for a host, a deployment neither
        let class = Class { http: http.clone(), name: "Early".into() };
        let early =
            tokio::time::timeout(Duration::from_mins(1), class.upload(guests::counter(), None).send()).await;
        let early = early.expect("a deployment without a host fails within the usual deadline");
        assert_eq!(early.problem(Code::Unavailable)["outcome"], "not-run");
        server.start_host();
        server.ready().await;
        let class = Class::deploy(&server, "First", guests::counter(), "").await;
        class.object("o").invoke("increment", json!({ "by": 1 })).await.expect(200);
    });
}

#[test]
fn the_host_restarts_under_its_gateway() {
    run(async {
        let server = Server::start(Kind::Apart).await;
        let _shown = server.show_logs_on_panic();
        let class = Class::deploy(&server, "Restart", guests::counter(), "").await;
        class.object("o").invoke("increment", json!({ "by": 5 })).await.expect(200);
        for round in 1..=3 {
            server.kill_host();
            let lost = class.object("o").method("value").header("x-request-timeout-ms", 1000).send().await;
            assert!([503, 504].contains(&lost.status), "{lost:?}");
            // the gateway notices, and says so
            let http = server.http();
            eventually("/readyz answers 503", || async {
                (http.get("/readyz").send().await.status == 503).then_some(())
            })
            .await;
            http.get("/healthz").send().await.expect(200);
            let refused = class.object("o").invoke("value", json!({})).await;
            assert_eq!(refused.problem(Code::Unavailable)["outcome"], "not-run");
            server.start_host();
            server.ready().await;
            // ready means ready: the first call succeeds
            let reply = class.object("o").invoke("increment", json!({ "by": 1 })).await.expect(200);
            assert_eq!(reply.json(), 5 + round);
        }
    });
}

#[test]
fn the_gateway_restarts_over_its_host() {
    run(async {
        let server = Server::start(Kind::Apart).await;
        let _shown = server.show_logs_on_panic();
        let class = Class::deploy(&server, "Restart", guests::counter(), "").await;
        for round in 1..=3 {
            server.kill_gateway();
            server.start_gateway();
            server.ready().await;
            let class = class.through(&server.http());
            let reply = class.object("o").invoke("increment", json!({ "by": 1 })).await.expect(200);
            assert_eq!(reply.json(), round);
        }
    });
}

/// A stopped server comes back with all that it had; the node is the same node.
#[test]
fn an_orderly_restart_keeps_all() {
    for kind in [Kind::Embedded, Kind::Apart] {
        run(async {
            let server = Server::start(kind).await;
            let _shown = server.show_logs_on_panic();
            let class = Class::deploy(&server, "Kept", guests::counter(), "readonly = [\"value\"]").await;
            class.object("o").invoke("increment", json!({ "by": 5 })).await.expect(200);
            let described = class.http.get(class.path()).send().await.expect(200).json();
            let object = class.object("o").get().await.expect(200);
            let node =
                class.http.get("/api/v1/cluster").send().await.expect(200).json()["nodes"][0]["id"].take();
            assert!(server.stop().await.success());
            server.launch().await;
            let class = class.through(&server.http());
            assert_eq!(class.http.get(class.path()).send().await.expect(200).json(), described);
            let after = class.object("o").get().await.expect(200);
            assert_eq!((object.json(), object.etag()), (after.json(), after.etag()));
            assert_eq!(
                class.http.get("/api/v1/cluster").send().await.expect(200).json()["nodes"][0]["id"],
                node
            );
            assert_eq!(class.object("o").invoke("value", json!({})).await.expect(200).json(), 5);
            class.redeploy(guests::counter(), "readonly = [\"value\"]").await.expect(200);
        });
    }
}

/// Compiled code is only a cache: damaged or gone, it is made anew. A damaged component is noticed and never run.
#[test]
fn damaged_files() {
    run(async {
        let server = Server::start(Kind::Embedded).await;
        let _shown = server.show_logs_on_panic();
        let class = Class::deploy(&server, "Damaged", guests::counter(), "").await;
        class.object("o").invoke("increment", json!({ "by": 1 })).await.expect(200);
        for round in 2..=4 {
            assert!(server.stop().await.success());
            for file in std::fs::read_dir(server.data_dir().join("aot")).unwrap() {
                let path = file.unwrap().path();
                let mut code = std::fs::read(&path).unwrap();
                match round {
                    2 => code.truncate(code.len() / 2),
                    3 => code.iter_mut().skip(1000).step_by(97).for_each(|byte| *byte ^= 0x55),
                    _ => code.clear(),
                }
                std::fs::write(&path, code).unwrap();
            }
            server.launch().await;
            assert_eq!(
                class.object("o").invoke("increment", json!({ "by": 1 })).await.expect(200).json(),
                round
            );
        }
        assert!(server.stop().await.success());
        std::fs::remove_dir_all(server.data_dir().join("aot")).unwrap();
        for file in std::fs::read_dir(server.data_dir().join("components")).unwrap() {
            let path = file.unwrap().path();
            let mut component = std::fs::read(&path).unwrap();
            let place = component.len() / 2;
            component[place] ^= 1;
            std::fs::write(&path, component).unwrap();
        }
        server.launch().await;
        let refused = class.object("o").invoke("increment", json!({ "by": 1 })).await;
        let problem = refused.problem(Code::Internal);
        assert!(problem["detail"].as_str().unwrap().contains("damaged"), "it says why: {problem}");
        assert_eq!(class.object("o").fields().await["count"], 4, "the object is there");
        // sent again, it is whole again
        class.redeploy(guests::counter(), "").await.ok();
        assert_eq!(class.object("o").invoke("increment", json!({ "by": 1 })).await.expect(200).json(), 5);
    });
}
