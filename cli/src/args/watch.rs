//! `oprc watch`.

use clap::Args;
use oprc_mesh::id::{FieldKey, ObjectId};

use super::ClientArgs;
use crate::address::Address;

/// `oprc watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// An object, or a class: all of its objects
    #[arg(value_name = "CLASS[/ID]")]
    pub(crate) address: Address,
    /// With a class: only objects whose ids begin so
    #[arg(long, value_name = "PREFIX")]
    pub(crate) prefix: Option<ObjectId>,
    /// Only events that change a field whose key begins so
    #[arg(long, value_name = "PREFIX")]
    pub(crate) keys: Option<FieldKey>,
    /// Go on after the event with this id; `oldest` begins with the oldest that is kept
    #[arg(long, value_name = "ID")]
    pub(crate) since: Option<String>,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
