//! Flags about clusters: how a host takes part in one, and what an operator does with a host.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::ClientArgs;
use crate::duration;

/// How a host takes part in its cluster. A host that already belongs to one goes on with it, whatever these say.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    /// Found a cluster as soon as so many hosts are there, this one included, unless there is one to be joined [default: a
    /// host with --join only joins, one without founds a cluster by itself]
    #[arg(long, env = "OPRC_EXPECT", value_name = "HOSTS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) expect: Option<u32>,
    /// Copies of each partition of the shared grid, as far as there are hosts; said once, when the cluster is founded
    #[arg(long, env = "OPRC_REPLICAS", value_name = "COPIES", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=7))]
    pub(crate) replicas: u32,
    /// How long a host may be away before others take its place
    #[arg(long, env = "OPRC_GRACE", value_name = "DURATION", default_value = "5m", value_parser = duration::parse)]
    pub(crate) grace: Duration,
}

/// `oprc node`.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// What is to become of the host
    #[arg(value_name = "WHAT")]
    pub(crate) wish: NodeWish,
    /// The host's id, as `oprc status` shows it
    #[arg(value_name = "HOST")]
    pub(crate) node: String,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// What is to become of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NodeWish {
    /// Its partitions move to other hosts
    Drain,
    /// It takes its share again
    Undrain,
    /// It goes for good, once it is drained, or dead with copies of all that it held elsewhere
    Remove,
}
