//! `oprc logs`.

use clap::Args;
use oprc_mesh::id::{ClassName, ObjectId};
use oprc_mesh::limits::{LOG_TAIL_DEFAULT, LOG_TAIL_MAX};

use super::ClientArgs;

/// `oprc logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The class
    #[arg(value_name = "CLASS")]
    pub(crate) class: ClassName,
    /// Only what turns of this object print
    #[arg(long, value_name = "ID")]
    pub(crate) object: Option<ObjectId>,
    /// Begin with so many of the newest lines
    #[arg(long, value_name = "N", default_value_t = LOG_TAIL_DEFAULT as u32, value_parser = clap::value_parser!(u32).range(0..=LOG_TAIL_MAX as i64))]
    pub(crate) tail: u32,
    /// Go on with what comes
    #[arg(long, short)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
