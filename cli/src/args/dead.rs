//! Flags about dead letters.

use clap::{Args, ValueEnum};
use oprc_mesh::id::ClassName;

use super::ClientArgs;

/// `oprc dead`.
#[derive(Debug, Args)]
pub(crate) struct DeadArgs {
    /// What is to be done
    #[arg(value_name = "WHAT")]
    pub(crate) wish: DeadWish,
    /// The class that the messages were for
    #[arg(value_name = "CLASS")]
    pub(crate) class: ClassName,
    /// Only these, as `oprc dead ls` shows them; all of the class unless any is named
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// What is to be done with dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeadWish {
    /// Show them
    Ls,
    /// Try them again
    Retry,
    /// Forget them
    Purge,
}
