//! Flags about how much a gateway takes, how fast, and from which web pages.

use std::time::Duration;

use clap::Args;
use oprc_gateway::{GatewayConfig, Origins};

use crate::duration;
use crate::failure::Failure;

/// How much a gateway takes, and from whom.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Calls under way at the most; under strain fewer are let in
    #[arg(long, env = "OPRC_CONCURRENCY", value_name = "CALLS", default_value_t = GatewayConfig::default().concurrency_max as u32, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) concurrency: u32,
    /// Calls that are let in whatever strain there seems to be; as many as --concurrency for a bound that never moves
    #[arg(long, env = "OPRC_CONCURRENCY_MIN", value_name = "CALLS", default_value_t = GatewayConfig::default().concurrency_min as u32, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) concurrency_min: u32,
    /// Open connections; for one more the one that has idled for the longest is closed
    #[arg(long, env = "OPRC_CONNECTIONS", value_name = "COUNT", default_value_t = GatewayConfig::default().connections_max as u32, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) connections: u32,
    /// MiB of answers that wait for their readers; from half of it on the slowest are given up, at all of it requests are refused
    #[arg(long, env = "OPRC_ANSWERS_MIB", value_name = "MIB", default_value_t = (GatewayConfig::default().untaken_bytes_max >> 20) as u32, value_parser = clap::value_parser!(u32).range(16..=1_048_576))]
    pub(crate) answers_mib: u32,
    /// A connection without a request for so long is closed
    #[arg(long, env = "OPRC_IDLE_TIMEOUT", value_name = "DURATION", default_value = "60s", value_parser = duration::parse)]
    pub(crate) idle_timeout: Duration,
    /// How long a request's headers may take, and the first request of a connection
    #[arg(long, env = "OPRC_HEADER_TIMEOUT", value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    pub(crate) header_timeout: Duration,
    /// How long a request's body may take, but for the upload of a component
    #[arg(long, env = "OPRC_BODY_TIMEOUT", value_name = "DURATION", default_value = "30s", value_parser = duration::parse)]
    pub(crate) body_timeout: Duration,
    /// Bytes in a second that a body must bring, over 10 s, and that the reader of an answer must take, over 30 s; 0 for none
    #[arg(long, env = "OPRC_MIN_RATE", value_name = "BYTES_PER_S", default_value_t = GatewayConfig::default().bytes_per_s_min)]
    pub(crate) min_rate: u64,
    /// Web pages of this origin may use the gateway, such as `https://app.example`; may be given more than once; * for all
    #[arg(long, env = "OPRC_CORS_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub(crate) cors_origin: Vec<String>,
}

impl LimitArgs {
    /// The settings of a gateway that these say, and all others as they usually are.
    ///
    /// # Errors
    /// An origin that is none.
    pub(crate) fn config(&self) -> Result<GatewayConfig, Failure> {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        let origins = Origins::parse(&self.cors_origin);
        Ok(GatewayConfig {
            origins: origins.map_err(|error| Failure::Usage(format!("--cors-origin: {error}")))?,
            concurrency_max: self.concurrency as usize,
            concurrency_min: self.concurrency_min as usize,
            connections_max: self.connections as usize,
            untaken_bytes_max: (self.answers_mib as usize) << 20,
            idle_ms: ms(self.idle_timeout),
            header_ms: ms(self.header_timeout),
            body_ms: ms(self.body_timeout),
            bytes_per_s_min: self.min_rate,
            ..GatewayConfig::default()
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        limits: LimitArgs,
    }

    #[test]
    fn what_is_not_said_is_as_it_usually_is() {
        let config = Only::parse_from(["oprc"]).limits.config().unwrap();
        assert_eq!(format!("{config:?}"), format!("{:?}", GatewayConfig::default()));
        let said = Only::parse_from(["oprc", "--header-timeout", "2s", "--cors-origin", "https://a.example"]);
        let said = said.limits.config().unwrap();
        assert_eq!(said.header_ms, 2_000);
        assert!(matches!(said.origins, Origins::Only(origins) if origins == ["https://a.example"]));
        let bad = Only::parse_from(["oprc", "--cors-origin", "a.example"]).limits.config();
        assert!(bad.unwrap_err().to_string().contains("--cors-origin"));
    }
}
