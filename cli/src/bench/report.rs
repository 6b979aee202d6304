//! The figures of a run, as a table or as JSON.

use hdrhistogram::Histogram;
use reqwest::Url;
use serde_json::{Value, json};

use crate::bench::load::Sample;
use crate::bench::measure::Measured;
use crate::failure::Failure;
use crate::output;

/// The figures for people.
pub(super) fn table(results: &[Measured]) -> String {
    let header = ["workload", "clients", "requests/s", "p50", "p99", "p99.9", "bare/s", "bare p50", "ratio"];
    let rows = results.iter().map(|measured| {
        let latency = |sample: &Sample, quantile| time(sample.latencies.value_at_quantile(quantile));
        let Measured { kind, clients, ours, bare } = measured;
        [
            kind.to_string(),
            clients.to_string(),
            format!("{:.0}", ours.rate()),
            latency(ours, 0.5),
            latency(ours, 0.99),
            latency(ours, 0.999),
            format!("{:.0}", bare.rate()),
            latency(bare, 0.5),
            format!("{:.1}%", measured.ratio() * 100.0),
        ]
    });
    output::table(header, rows)
}

/// The figures for programs.
pub(super) fn document(server: &Url, results: &[Measured]) -> Value {
    let results: Vec<_> = results
        .iter()
        .map(|measured| {
            json!({
                "workload": measured.kind.to_string(),
                "clients": measured.clients,
                "ours": figures(&measured.ours),
                "bare": figures(&measured.bare),
                "ratio": measured.ratio(),
            })
        })
        .collect();
    json!({ "server": server.as_str(), "results": results })
}

fn figures(sample: &Sample) -> Value {
    json!({
        "succeeded": sample.succeeded,
        "failed": sample.failed,
        "seconds": sample.elapsed.as_secs_f64(),
        "requests_per_s": sample.rate(),
        "latency_us": latencies(&sample.latencies),
    })
}

#[allow(clippy::cast_precision_loss, reason = "a latency is far below 2^52 ns")]
fn latencies(histogram: &Histogram<u64>) -> Value {
    let us = |ns: u64| ns as f64 / 1_000.0;
    let at = |quantile| us(histogram.value_at_quantile(quantile));
    json!({ "p50": at(0.5), "p99": at(0.99), "p99_9": at(0.999), "max": us(histogram.max()) })
}

/// A time in the unit that keeps it short.
#[allow(clippy::cast_precision_loss, reason = "a latency is far below 2^52 ns")]
fn time(ns: u64) -> String {
    let us = ns as f64 / 1_000.0;
    if us < 1_000.0 { format!("{us:.0} us") } else { format!("{:.1} ms", us / 1_000.0) }
}

/// A run in which calls failed measured something else than it says.
pub(super) fn verdict(results: &[Measured]) -> Result<(), Failure> {
    let Some(bad) = results.iter().find(|measured| measured.ours.failed + measured.bare.failed > 0) else {
        return Ok(());
    };
    let sample = if bad.ours.failed > 0 { &bad.ours } else { &bad.bare };
    let complaint = sample.complaint.as_deref().unwrap_or_default();
    let of = sample.failed + sample.succeeded;
    Err(Failure::Bench(format!(
        "{}, {} clients: {} of {of} requests failed; the first with {complaint}",
        bad.kind, bad.clients, sample.failed
    )))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::args::Workload;
    use std::time::Duration;

    fn sample(succeeded: u64, failed: u64) -> Sample {
        let mut sample = Sample::new().unwrap();
        sample.latencies.record_n(2_000_000, succeeded).unwrap();
        (sample.succeeded, sample.failed, sample.elapsed) = (succeeded, failed, Duration::from_secs(2));
        sample
    }

    fn measured(failed: u64) -> Measured {
        Measured { kind: Workload::Echo, clients: 16, ours: sample(1_000, failed), bare: sample(4_000, 0) }
    }

    #[test]
    fn the_ratio_is_of_rates() {
        let document = document(&"http://h:1".parse().unwrap(), &[measured(0)]);
        let result = &document["results"][0];
        assert_eq!((&result["workload"], &result["clients"]), (&json!("echo"), &json!(16)));
        assert_eq!((&result["ratio"], &result["ours"]["requests_per_s"]), (&json!(0.25), &json!(500.0)));
        let row = table(&[measured(0)]).lines().nth(1).unwrap().to_owned();
        assert_eq!(
            row.split_whitespace().collect::<Vec<_>>().join(" "),
            "echo 16 500 2.0 ms 2.0 ms 2.0 ms 2000 2.0 ms 25.0%"
        );
    }

    #[test]
    fn a_run_with_failures_does_not_pass() {
        assert!(verdict(&[measured(0)]).is_ok());
        assert!(verdict(&[measured(3)]).unwrap_err().to_string().contains("3 of 1003"));
    }

    #[test]
    fn times_are_short() {
        assert_eq!((time(45_300).as_str(), time(12_340_000).as_str()), ("45 us", "12.3 ms"));
    }
}
