//! Flags of the commands that change which code a class runs.

use std::path::PathBuf;

use clap::Args;
use oprc_mesh::canary::SHARE_MAX;
use oprc_mesh::id::ClassName;

use super::ClientArgs;

/// `oprc deploy`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  oprc deploy                                       # what oprc.toml here says\n  \
    oprc deploy counter.wasm --class Counter\n  oprc deploy --manifest counter/oprc.toml\n  \
    oprc deploy --canary 10                           # for 10% of the objects; oprc promote or oprc rollback ends it"
)]
pub(crate) struct DeployArgs {
    /// The component; unless given, the one that the manifest names
    #[arg(value_name = "FILE.wasm")]
    pub(crate) file: Option<PathBuf>,
    /// The class's name; unless given, the manifest's, or else the file's stem
    #[arg(long, value_name = "CLASS")]
    pub(crate) class: Option<ClassName>,
    /// The manifest; unless given, oprc.toml in the current directory if there is one
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
    /// Deploy it even if methods of the running version are gone or take or give other types
    #[arg(long)]
    pub(crate) force: bool,
    /// Deploy it for so many percent of the class's objects only, 1 to 99; again with another number to change that
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=i64::from(SHARE_MAX)))]
    pub(crate) canary: Option<u32>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `oprc promote`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oprc promote Counter")]
pub(crate) struct PromoteArgs {
    /// The class
    #[arg(value_name = "CLASS")]
    pub(crate) class: ClassName,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `oprc rollback`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  oprc rollback Counter\n  oprc rollback Counter --to 3")]
pub(crate) struct RollbackArgs {
    /// The class
    #[arg(value_name = "CLASS")]
    pub(crate) class: ClassName,
    /// The version to bring back, as `oprc versions` lists them; unless given, the one before the current one; while the
    /// class has a canary, the current one
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) to: Option<u64>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
