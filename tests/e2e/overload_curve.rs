//! Offered more than can be done, a gateway does what it can as quickly as ever and refuses the rest at once.
//!
//! Each call is a durable turn that keeps a core busy for 4 ms. Load is offered by the clock (`open_loop`); what is
//! sustainable is what a few clients get that call again as soon as they are answered. Client and server share the
//! machine, so that offering more takes away from what can be done.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "figures for people, far from the ends of their types"
)]

use std::fmt::Write as _;
use std::time::Duration;

use oprc_tests::figure::{Chart, svg};
use oprc_tests::open_loop::{Offer, Tally, percentile};
use oprc_tests::{Class, Kind, Server, guests, root, run};
use serde_json::json;

/// Clients that keep the machine busy and no queue full.
const CLIENTS: usize = 8;
const OBJECTS: usize = 500;
/// What is let go of and taken again moves so much.
const GROWTH_KIB_MAX: u64 = 96 * 1024;

async fn prepared() -> (Server, Class, Offer, f64) {
    let server = Server::prepare(Kind::Embedded);
    server.set_ingress_args(&["--concurrency-min", "2"]);
    server.launch().await;
    let class = Class::deploy(&server, "Curve", guests::prober(), "").await;
    let paths = (0..OBJECTS).map(|n| format!("{}/invoke/burn", class.object(format!("o{n}")).path()));
    let offer = Offer::new(server.http().address(), paths, "{\"ms\":4}");
    offer.closed(CLIENTS, Duration::from_secs(1)).await; // every object is there
    let sustainable = offer.closed(CLIENTS, Duration::from_secs(2)).await;
    println!("{sustainable:.0} calls/s are sustainable");
    (server, class, offer, sustainable)
}

/// What holds whatever the machine: all is answered, what is refused says when to come back, memory stays, and afterwards
/// everything is as before.
async fn check(server: &Server, class: &Class, tally: &Tally, before_kib: u64) {
    assert_eq!(tally.failed, 0, "{:?}", tally.complaint);
    assert_eq!(tally.admitted_us.len() + tally.refused, tally.offered);
    assert!(!tally.admitted_us.is_empty());
    assert_eq!(tally.refused_without_word, 0);
    let after_kib = server.ingress_kib();
    assert!(after_kib < before_kib + GROWTH_KIB_MAX, "{before_kib} KiB became {after_kib} KiB");
    for n in 0..100 {
        class.object(format!("o{n}")).invoke("burn", json!({ "ms": 4 })).await.expect(204);
    }
    server.http().get("/readyz").send().await.expect(200);
}

#[test]
fn twice_the_load() {
    run(async {
        let (server, class, offer, sustainable) = prepared().await;
        let _shown = server.show_logs_on_panic();
        offer.drive(2.0 * sustainable, Duration::from_secs(1)).await; // connections and buffers are there
        for times in [2.0, 4.0, 8.0] {
            let before_kib = server.ingress_kib();
            let tally = offer.drive(times * sustainable, Duration::from_secs(4)).await;
            println!("{} of {} were refused", tally.refused, tally.offered);
            check(&server, &class, &tally, before_kib).await;
            // what a busy machine sustains may be half of what it does afterwards
            if tally.refused > 0 {
                return;
            }
        }
        panic!("it was never more than could be done");
    });
}

/// The table and the figure of the guide.
#[test]
#[ignore = "a measurement of five minutes; run by name with --ignored --nocapture"]
fn overload_60s() {
    run(async {
        let (server, class, offer, sustainable) = prepared().await;
        let _shown = server.show_logs_on_panic();
        let mut rows = Vec::new();
        for load in [0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0] {
            let time = Duration::from_secs(if load == 2.0 { 60 } else { 15 });
            let before_kib = server.ingress_kib();
            let tally = offer.drive(load * sustainable, time).await;
            let row = Row::of(load, time, &tally, server.ingress_kib());
            println!("{}", row.line());
            if load == 2.0 {
                check(&server, &class, &tally, before_kib).await;
            }
            rows.push(row);
        }
        let p99 = |load: f64| rows.iter().find(|row| row.load == load).map_or(0.0, |row| row.p99_ms);
        // a disk that stalls once would make it look long
        let unloaded = p99(0.25).min(p99(0.5));
        println!("p99 at twice the load is {:.2} of the unloaded one", p99(2.0) / unloaded);
        let folder = root().join("docs/figures");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("overload.csv"), csv(&rows)).unwrap();
        std::fs::write(folder.join("overload.svg"), figure(&rows)).unwrap();
        // nothing of it lasts: the bound is the promise
        assert!(p99(2.0) < 3.0 * unloaded, "what was let in waited");
    });
}

struct Row {
    load: f64,
    offered_per_s: f64,
    admitted_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    refused_percent: f64,
    behind_p99_ms: f64,
    rss_mib: f64,
}

impl Row {
    fn of(load: f64, time: Duration, tally: &Tally, rss_kib: u64) -> Self {
        let ms = |sorted: &[u64], part| percentile(sorted, part) as f64 / 1_000.0;
        Self {
            load,
            offered_per_s: tally.offered as f64 / time.as_secs_f64(),
            admitted_per_s: tally.admitted_us.len() as f64 / time.as_secs_f64(),
            p50_ms: ms(&tally.admitted_us, 0.5),
            p99_ms: ms(&tally.admitted_us, 0.99),
            refused_percent: 100.0 * tally.refused as f64 / tally.offered as f64,
            behind_p99_ms: ms(&tally.behind_us, 0.99),
            rss_mib: rss_kib as f64 / 1_024.0,
        }
    }

    fn line(&self) -> String {
        format!(
            "{:.2}x: {:6.0}/s offered, {:6.0}/s admitted, p50 {:6.2} ms, p99 {:6.2} ms, {:5.1}% refused, client p99 {:5.2} ms \
             behind, {:.0} MiB",
            self.load,
            self.offered_per_s,
            self.admitted_per_s,
            self.p50_ms,
            self.p99_ms,
            self.refused_percent,
            self.behind_p99_ms,
            self.rss_mib
        )
    }
}

fn csv(rows: &[Row]) -> String {
    let mut text =
        "load,offered_per_s,admitted_per_s,p50_ms,p99_ms,refused_percent,client_behind_p99_ms,rss_mib\n"
            .to_owned();
    for row in rows {
        let _ = writeln!(
            text,
            "{},{:.0},{:.0},{:.2},{:.2},{:.1},{:.2},{:.0}",
            row.load,
            row.offered_per_s,
            row.admitted_per_s,
            row.p50_ms,
            row.p99_ms,
            row.refused_percent,
            row.behind_p99_ms,
            row.rss_mib
        );
    }
    text
}

fn figure(rows: &[Row]) -> String {
    let line = |of: fn(&Row) -> f64| rows.iter().map(|row| (row.load, of(row))).collect::<Vec<_>>();
    svg(
        "offered load, of what is sustainable",
        &[
            Chart {
                title: "What is done",
                unit: "calls/s",
                lines: vec![
                    ("offered", "#999999", line(|row| row.offered_per_s)),
                    ("admitted", "#1f6fb2", line(|row| row.admitted_per_s)),
                ],
            },
            Chart {
                title: "How long it takes",
                unit: "ms",
                lines: vec![
                    ("p50", "#1f6fb2", line(|row| row.p50_ms)),
                    ("p99", "#c0392b", line(|row| row.p99_ms)),
                ],
            },
            Chart {
                title: "What is refused, and memory",
                unit: "%, MiB",
                lines: vec![
                    ("refused, %", "#c0392b", line(|row| row.refused_percent)),
                    ("memory, MiB", "#666666", line(|row| row.rss_mib)),
                ],
            },
        ],
    )
}
