//! Flags about asynchronous calls.

use std::time::Duration;

use clap::Args;

use super::ClientArgs;
use crate::duration;

/// `oprc invocation`.
#[derive(Debug, Args)]
pub(crate) struct InvocationArgs {
    /// The call, as `oprc invoke --async` prints it
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Wait until it is done or has failed, but no longer than this, such as 30s
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) wait: Option<Duration>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
