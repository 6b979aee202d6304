//! What traces cost: durable increments without a collector, with one call in a hundred traced, and with every one. A
//! measurement, not a proof: run it by name, with `--ignored --nocapture`. Clients and the collector share the processors with
//! the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use oprc_tests::{Class, Collector, Kind, Server, guests, run};
use serde_json::json;

use crate::grpc_speed::rate;
use crate::traces::traced;

const MEASURED: Duration = Duration::from_secs(5);
const CLIENTS: usize = 64;

/// Increments per second over 100 objects.
async fn increments(server: &Server) -> f64 {
    let class = Class::deploy(server, "Speed", guests::counter(), "").await;
    let next = Arc::new(AtomicUsize::new(0));
    let call = move || {
        let object = class.object(format!("o{}", next.fetch_add(1, Ordering::Relaxed) % 100));
        async move { drop(object.invoke("increment", json!({ "by": 1 })).await.expect(200)) }
    };
    rate(CLIENTS, MEASURED, call).await
}

#[test]
#[ignore = "a measurement, not a proof"]
fn of_increments() {
    run(async {
        for kind in [Kind::Embedded, Kind::Apart] {
            let collector = Collector::forgetful().await;
            let mut told = Vec::new();
            for round in 0..2 {
                for (name, sample) in [("none", None), ("1 %", Some("0.01")), ("all", Some("1"))] {
                    let server = match sample {
                        None => Server::start(kind).await,
                        Some(sample) => traced(kind, &collector.endpoint(), sample).await,
                    };
                    told.push(format!("{kind:?} {round} {name}: {:.0}/s", increments(&server).await));
                    server.stop().await;
                }
            }
            println!("{}", told.join("\n"));
        }
    });
}
