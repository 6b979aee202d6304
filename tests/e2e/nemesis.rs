//! The network between gateway and host fails, and the host stops and goes on, under load: calls fail meanwhile, with an
//! outcome that is true; afterwards everything answers again by itself. What is compared, and how, stands in `Ledger`.

use std::time::Duration;

use oprc_tests::{Class, Kind, LINK_LEASE, Ledger, Server, guests, run, seed};
use rand::Rng as _;
use serde_json::json;

const CLIENTS: usize = 12;

/// Connections break; peers connect again.
#[test]
fn cuts() {
    run(async {
        let server = Server::prepare(Kind::Apart);
        let proxy = server.join_through_proxy().await;
        server.launch().await;
        let _shown = server.show_logs_on_panic();
        let mut rng = seed::rng("cuts");
        let ledger = Ledger::open(&server).await;
        let load = ledger.load(&server.http(), CLIENTS);
        for _ in 0..8 {
            ledger.progress(50).await;
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..100))).await;
            proxy.cut();
        }
        // gone for longer than anybody waits
        proxy.close();
        tokio::time::sleep(LINK_LEASE).await;
        proxy.heal();
        ledger.progress(50).await;
        load.stop().await;
        server.ready().await;
        ledger.check().await;
    });
}

/// Bytes stop flowing while connections stay open; then everything that was held back arrives late.
#[test]
fn stalls() {
    run(async {
        let server = Server::prepare(Kind::Apart);
        let proxy = server.join_through_proxy().await;
        server.launch().await;
        let _shown = server.show_logs_on_panic();
        let mut rng = seed::rng("stalls");
        let ledger = Ledger::open(&server).await;
        let load = ledger.load(&server.http(), CLIENTS);
        for _ in 0..3 {
            ledger.progress(50).await;
            proxy.stall();
            tokio::time::sleep(Duration::from_millis(rng.random_range(100..1500))).await;
            proxy.heal();
        }
        ledger.progress(50).await;
        proxy.stall();
        tokio::time::sleep(LINK_LEASE).await;
        proxy.heal();
        ledger.progress(50).await;
        load.stop().await;
        server.ready().await;
        ledger.check().await;
    });
}

/// The host stops for a while and goes on where it was, with all that came in meanwhile waiting for it.
#[test]
fn pauses() {
    run(async {
        let server = Server::start(Kind::Apart).await;
        let _shown = server.show_logs_on_panic();
        let ledger = Ledger::open(&server).await;
        let load = ledger.load(&server.http(), CLIENTS);
        for pause in [Duration::from_millis(300), Duration::from_millis(1200), LINK_LEASE] {
            ledger.progress(50).await;
            server.signal_host("STOP");
            tokio::time::sleep(pause).await;
            server.signal_host("CONT");
        }
        ledger.progress(50).await;
        load.stop().await;
        server.ready().await;
        ledger.check().await;
    });
}

/// The same for everything in one process.
#[test]
fn pauses_of_everything() {
    run(async {
        let server = Server::start(Kind::Embedded).await;
        let _shown = server.show_logs_on_panic();
        let ledger = Ledger::open(&server).await;
        let load = ledger.load(&server.http(), CLIENTS);
        for pause in [Duration::from_millis(300), Duration::from_millis(2500)] {
            ledger.progress(50).await;
            server.signal_host("STOP");
            tokio::time::sleep(pause).await;
            server.signal_host("CONT");
        }
        ledger.progress(50).await;
        load.stop().await;
        ledger.check().await;
    });
}

/// A turn that stood still with its process has used no processor time meanwhile. It runs for 6 s by the wall and stands
/// still for 4.5 s of them: by the wall alone it would be past its limit, by what it used it stays far below.
#[test]
fn a_pause_is_no_processor_time() {
    run(async {
        let server = Server::start(Kind::Embedded).await;
        let _shown = server.show_logs_on_panic();
        let manifest = "[class.limits]\ncpu_ms = 3500\nwall_ms = 60000";
        let class = Class::deploy(&server, "Paused", guests::prober(), manifest).await;
        let burn = class
            .object("o")
            .method("burn")
            .json(&json!({ "ms": 6000 }))
            .header("x-request-timeout-ms", 60_000);
        let burn = tokio::spawn(burn.send());
        server.logged(&["burning for 6000 ms", &class.name]).await;
        server.signal_host("STOP");
        tokio::time::sleep(Duration::from_millis(4500)).await;
        server.signal_host("CONT");
        burn.await.unwrap().expect(204);
    });
}
