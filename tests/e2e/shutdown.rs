//! SIGTERM: calls under way finish, new ones are turned away, the process exits with 0.

use oprc_tests::{Class, Kind, STOP_PATIENCE, Server, guests, run};
use serde_json::json;
use tokio::task::JoinSet;

#[test]
fn calls_under_way_finish() {
    for kind in [Kind::Embedded, Kind::Apart] {
        run(async {
            let server = Server::start(kind).await;
            let _shown = server.show_logs_on_panic();
            let class = Class::deploy(&server, "Drain", guests::prober(), "").await;
            let mut naps = JoinSet::new();
            for n in 0..4 {
                let object = class.object(format!("o{n}"));
                naps.spawn(
                    async move { object.invoke("nap", json!({ "ms": 1500 })).await.expect(204).version() },
                );
            }
            for n in 0..4 {
                server.logged(&["napping for 1500 ms", &class.name, &format!("o{n}")]).await;
            }
            let mut gateway = server.take_gateway();
            gateway.terminate();
            assert_eq!(naps.join_all().await, [1, 1, 1, 1]);
            let status = gateway.ended(STOP_PATIENCE).await;
            assert_eq!(status.code(), Some(0), "{}", gateway.log());
            drop(gateway);
            server.launch().await;
            for n in 0..4 {
                assert_eq!(class.object(format!("o{n}")).version().await, 1);
            }
        });
    }
}

/// The same for a host that goes while its gateway stays: the gateway gets the answers out.
#[test]
fn a_host_under_its_gateway() {
    run(async {
        let server = Server::start(Kind::Apart).await;
        let _shown = server.show_logs_on_panic();
        let class = Class::deploy(&server, "Drain", guests::prober(), "").await;
        let nap = tokio::spawn({
            let object = class.object("o");
            async move { object.invoke("nap", json!({ "ms": 1500 })).await.expect(204).version() }
        });
        server.logged(&["napping for 1500 ms", &class.name]).await;
        let mut host = server.take_host();
        host.terminate();
        assert_eq!(nap.await.unwrap(), 1);
        assert_eq!(host.ended(STOP_PATIENCE).await.code(), Some(0), "{}", host.log());
        server.launch().await;
        assert_eq!(class.object("o").version().await, 1);
    });
}

/// Under load, each call that was not acknowledged by the end had no answer at all or a clear one; what was, is there.
#[test]
fn under_load() {
    run(async {
        let server = Server::start(Kind::Embedded).await;
        let _shown = server.show_logs_on_panic();
        let class = Class::deploy(&server, "Drain", guests::counter(), "").await;
        let mut clients = JoinSet::new();
        for n in 0..8 {
            let object = class.object(format!("o{n}"));
            clients.spawn(async move {
                let (mut done, mut unknown) = (0u64, 0u64);
                loop {
                    let call = object.method("increment").json(&json!({ "by": 1 }));
                    match call.try_send().await {
                        Ok(reply) if reply.status == 200 => done += 1,
                        Ok(reply) => {
                            assert_eq!(reply.status, 503, "{reply:?}");
                            unknown += u64::from(reply.json()["outcome"] != "not-run");
                            return (object, done, unknown);
                        }
                        Err(_) => return (object, done, unknown + 1),
                    }
                }
            });
        }
        oprc_tests::eventually("the load is on", || async {
            (class.object("o7").get().await.status == 200).then_some(())
        })
        .await;
        let status = server.stop().await;
        assert_eq!(status.code(), Some(0), "{}", server.host_log());
        let counts = clients.join_all().await;
        server.launch().await;
        for (object, done, unknown) in counts {
            let count = object.invoke("value", json!({})).await.expect(200).json().as_u64().unwrap();
            assert!(
                (done..=done + unknown).contains(&count),
                "{count} of {done} acknowledged, {unknown} unknown"
            );
        }
    });
}

/// An idle server goes at once, also while idle clients are connected.
#[test]
fn idle_connections_do_not_hold_it() {
    for kind in [Kind::Embedded, Kind::Apart] {
        run(async {
            let server = Server::start(kind).await;
            let _shown = server.show_logs_on_panic();
            let http = server.http();
            http.get("/healthz").send().await.expect(200);
            let multiplexed = http.multiplexed().await;
            multiplexed.get("/healthz").send().await.expect(200);
            let begin = std::time::Instant::now();
            assert_eq!(server.stop().await.code(), Some(0));
            assert!(begin.elapsed() < std::time::Duration::from_secs(25), "it took {:?}", begin.elapsed());
        });
    }
}

/// A second SIGTERM, or one during the start, leaves a directory that opens again.
#[test]
fn during_the_start() {
    run(async {
        let server = Server::prepare(Kind::Embedded);
        let _shown = server.show_logs_on_panic();
        for ms in [0, 30, 100, 300] {
            server.start_host();
            tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
            let mut process = server.take_host();
            process.terminate();
            // before it takes signals it may die of this one; afterwards it exits in order
            process.ended(STOP_PATIENCE).await;
        }
        server.launch().await;
        Class::deploy(&server, "After", guests::counter(), "").await;
    });
}
