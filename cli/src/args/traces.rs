//! What a role tells of the calls that it serves.

use clap::Args;
use reqwest::Url;

/// Where traces go, and how many.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Traces")]
pub(crate) struct TraceArgs {
    /// The OpenTelemetry collector that spans are sent to, by OTLP over gRPC, usually on port 4317; without it there are no
    /// spans
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", value_parser = endpoint)]
    pub(crate) otlp_endpoint: Option<Url>,
    /// The part of the calls without a `traceparent` of their own that begin a trace, from 0 to 1; a call that has one is
    /// traced as that says
    #[arg(long, env = "OPRC_TRACE_SAMPLE", value_name = "PART", default_value = "1", value_parser = part)]
    pub(crate) trace_sample: f64,
    /// What the process is called in traces
    #[arg(long, env = "OTEL_SERVICE_NAME", value_name = "NAME", default_value = "oprc")]
    pub(crate) trace_service: String,
}

fn endpoint(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "http" && url.has_host());
    url.ok_or_else(|| {
        "a collector is an address such as http://127.0.0.1:4317; for TLS let one on this machine pass spans on".into()
    })
}

fn part(text: &str) -> Result<f64, String> {
    let part: Option<f64> = text.parse().ok().filter(|part| (0.0..=1.0).contains(part));
    part.ok_or_else(|| "a part is a number from 0 to 1".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_collector_is_reached_in_plain_http() {
        assert!(endpoint("http://127.0.0.1:4317").is_ok() && endpoint("http://collector:4317/").is_ok());
        for bad in ["https://collector:4317", "collector:4317", "127.0.0.1:4317", "grpc://c:1", ""] {
            assert!(endpoint(bad).unwrap_err().contains("http://"), "{bad}");
        }
    }

    #[test]
    fn a_part_is_a_part() {
        assert!(["0", "1", "0.01", "1.0"].iter().all(|text| part(text).is_ok()));
        for bad in ["-0.1", "1.1", "NaN", "inf", "1%", ""] {
            assert!(part(bad).is_err(), "{bad}");
        }
    }
}
