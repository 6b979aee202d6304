//! gRPC beside REST, for the same echo function on the same server. A measurement, not a proof: run it by name, with
//! `--ignored --nocapture`. Clients share the processors with the server, and theirs is much of what is measured.

use std::future::Future;
use std::time::{Duration, Instant};

use oprc_tests::grpc::{Grpc, pb};
use oprc_tests::{Class, Kind, Server, guests, run};

const MEASURED: Duration = Duration::from_secs(3);
const BODY: &[u8] = b"{\"text\": \"hello, world\"}";

/// Calls per second with so many under way, over a time.
pub(crate) async fn rate<F: Future<Output = ()> + Send + 'static>(
    under_way: usize,
    time: Duration,
    call: impl Fn() -> F + Clone + Send + 'static,
) -> f64 {
    let started = Instant::now();
    let clients: Vec<_> = (0..under_way)
        .map(|_| {
            let call = call.clone();
            tokio::spawn(async move {
                let mut calls = 0u32;
                while started.elapsed() < time {
                    call().await;
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    let mut calls = 0;
    for client in clients {
        calls += client.await.unwrap();
    }
    f64::from(calls) / started.elapsed().as_secs_f64()
}

#[test]
#[ignore = "a measurement, not a proof"]
fn beside_rest() {
    run(async {
        let server = Server::start(Kind::Embedded).await;
        let class = Class::deploy(&server, "Echo", guests::echo(), "").await;
        let over_http2 = class.through(&class.http.multiplexed().await);
        let grpc = Grpc::to(&server).await;
        for under_way in [1, 16, 64] {
            let rest = |class: &Class| {
                let call = class.function("echo").octets(BODY);
                move || {
                    let call = call.clone();
                    async move { drop(call.send().await.expect(200)) }
                }
            };
            let http1 = rate(under_way, MEASURED, rest(&class)).await;
            let http2 = rate(under_way, MEASURED, rest(&over_http2)).await;
            let call = pb::Call {
                class_name: class.name.clone(),
                method: "echo".to_owned(),
                payload: Some(pb::call::Payload::Raw(BODY.to_vec())),
                ..pb::Call::default()
            };
            let client = grpc.clone();
            let by_grpc = rate(under_way, MEASURED, move || {
                let (client, call) = (client.clone(), call.clone());
                async move { drop(client.invoke(call).await.unwrap()) }
            });
            let by_grpc = by_grpc.await;
            println!(
                "{under_way:3} under way: REST {http1:6.0}/s on HTTP/1.1, {http2:6.0}/s on HTTP/2; gRPC {by_grpc:6.0}/s"
            );
        }
    });
}
