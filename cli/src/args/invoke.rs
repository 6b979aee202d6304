//! Flags about calls.

use std::time::Duration;

use clap::Args;
use oprc_mesh::id::MethodName;

use super::ClientArgs;
use crate::address::Address;
use crate::consistency::Consistency;
use crate::duration;

/// `oprc invoke`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  oprc invoke Counter/alice increment '{\"by\": 5}'\n  oprc invoke Counter/alice value\n  \
    oprc invoke Echo echo - --raw < FILE"
)]
pub(crate) struct InvokeArgs {
    /// An object, for a method; a class, for a function
    #[arg(value_name = "CLASS[/ID]")]
    pub(crate) address: Address,
    /// The method or function
    #[arg(value_name = "METHOD")]
    pub(crate) method: MethodName,
    /// The arguments: JSON, @FILE to read a file, - to read standard input; none for no arguments
    #[arg(value_name = "JSON|@FILE|-", allow_negative_numbers = true)]
    pub(crate) payload: Option<String>,
    /// Send and take bytes as they are (application/octet-stream) instead of JSON
    #[arg(long)]
    pub(crate) raw: bool,
    /// The call's invocation id, instead of one that the gateway makes
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// How long the call may take, such as 5s or 500ms
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) timeout: Option<Duration>,
    /// Do not wait until the call has run: print the id by which `oprc invocation` finds it
    #[arg(long = "async", conflicts_with = "consistency")]
    pub(crate) later: bool,
    /// How new what a method that only reads sees must be
    #[arg(long, value_name = "CONSISTENCY", default_value = "lease")]
    pub(crate) consistency: Consistency,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

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
