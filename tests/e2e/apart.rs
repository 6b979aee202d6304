//! What only a gateway and a host apart can show: several gateways over one host, and a host that dies with calls under
//! way.

use std::time::{Duration, Instant};

use oprc_tests::{Class, Http, Kind, Process, Server, eventually, free_port, guests, run};
use serde_json::json;
use tokio::task::JoinSet;

/// Another gateway over the server's host.
pub(crate) async fn second_gateway(server: &Server) -> (Process, Http) {
    gateway_joining(server, &server.mesh_endpoint()).await
}

pub(crate) async fn gateway_joining(server: &Server, endpoint: &str) -> (Process, Http) {
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let args = ["gateway", "--listen", &listen, "--join", endpoint].map(str::to_owned);
    let args: Vec<_> = args.into_iter().chain(server.secret().args()).collect();
    let gateway = Process::spawn("second gateway", &args, &server.scratch().join("gateway2.log"));
    let http = Http::to(port);
    eventually("the second gateway is ready", || async {
        (http.get("/readyz").try_send().await.ok()?.status == 200).then_some(())
    })
    .await;
    (gateway, http)
}

/// Clients of two gateways count on one object; what is deployed through one can be called through the other.
#[test]
fn two_gateways() {
    run(async {
        let server = Server::start(Kind::Apart).await;
        let _shown = server.show_logs_on_panic();
        let (_gateway, second) = second_gateway(&server).await;
        let class = Class::deploy(&server, "Two", guests::counter(), "").await;
        let other = class.through(&second);
        eventually("the other gateway hears of the class", || async {
            (second.get(class.path()).send().await.status == 200).then_some(())
        })
        .await;
        let mut clients = JoinSet::new();
        for client in 0..32 {
            let object = if client % 2 == 0 { class.object("o") } else { other.object("o") };
            clients.spawn(async move {
                for _ in 0..20 {
                    object.invoke("increment", json!({ "by": 1 })).await.expect(200);
                }
            });
        }
        clients.join_all().await;
        for class in [&class, &other] {
            assert_eq!(class.object("o").invoke("value", json!({})).await.expect(200).json(), 640);
            assert_eq!(class.object("o").version().await, 640);
        }
        // a new version through one is at once the truth through both: the host decides
        class.redeploy(guests::prober_generation(7), "").await.expect(201);
        eventually("the other gateway calls the new code", || async {
            let reply = other.object("o").invoke("generation", json!({})).await;
            (reply.status == 200).then(|| assert_eq!(reply.json(), guests::generation(7)))
        })
        .await;
    });
}

/// A router that joins the server's host, and where it listens.
pub(crate) fn router_joining(server: &Server) -> (Process, String) {
    let endpoint = format!("tcp/127.0.0.1:{}", free_port());
    let args = ["router", "--mesh-listen", &endpoint, "--join", &server.mesh_endpoint()].map(str::to_owned);
    let args: Vec<_> = args.into_iter().chain(server.secret().args()).collect();
    (Process::spawn("router", &args, &server.scratch().join("router.log")), endpoint)
}

/// A gateway that reaches only a router works with the host behind it, and the router stops when it is told to.
#[test]
fn a_gateway_behind_a_router() {
    run(async {
        let server = Server::start(Kind::Apart).await;
        let _shown = server.show_logs_on_panic();
        let (mut router, endpoint) = router_joining(&server);
        let (_gateway, http) = gateway_joining(&server, &endpoint).await;
        let class = Class::deploy(&server, "Routed", guests::counter(), "").await.through(&http);
        eventually("the gateway hears of the class", || async {
            (http.get(class.path()).send().await.status == 200).then_some(())
        })
        .await;
        for count in 1..=10 {
            let reply = class.object("o").invoke("increment", json!({ "by": 1 })).await;
            assert_eq!(reply.expect(200).json(), count);
        }
        router.terminate();
        assert_eq!(router.ended(Duration::from_secs(30)).await.code(), Some(0));
    });
}

/// Calls under way fail soon after their host is gone, and say that their outcome is unknown.
#[test]
fn a_host_dies_with_calls_under_way() {
    run(async {
        let server = Server::start(Kind::Apart).await;
        let _shown = server.show_logs_on_panic();
        let class = Class::deploy(&server, "Dies", guests::prober(), "[class.limits]\nwall_ms = 60000").await;
        let mut naps = JoinSet::new();
        for n in 0..5 {
            let object = class.object(format!("o{n}"));
            let nap =
                object.method("nap").json(&json!({ "ms": 50_000 })).header("x-request-timeout-ms", 60_000);
            naps.spawn(nap.send());
        }
        for n in 0..5 {
            server.logged(&["napping for 50000 ms", &format!("o{n}")]).await;
        }
        let begin = Instant::now();
        server.kill_host();
        for reply in naps.join_all().await {
            let problem = reply.problem(oprc_mesh::outcome::Code::Unavailable);
            assert_eq!(problem["outcome"], "unknown", "{problem}");
        }
        assert!(begin.elapsed() < Duration::from_secs(40), "it took {:?}", begin.elapsed());
        server.launch().await;
        for n in 0..5 {
            class.object(format!("o{n}")).get().await.expect(404);
        }
    });
}
