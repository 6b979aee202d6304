//! What an operator asks of a host of the cluster: to be drained, taken back, or removed for good.

use std::fmt;

use hyper::StatusCode;
use oprc_mesh::catalog::NodeState;
use oprc_mesh::id::NodeId;
use oprc_mesh::retry::Repeat;
use oprc_mesh::wire::{Answer, Op, SetHost};
use schemars::JsonSchema;
use serde::Serialize;

use crate::call::Call;
use crate::problem::Refusal;
use crate::query::Query;
use crate::reply::{Reply, json};
use crate::route::Target;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Drain,
    Undrain,
    Remove,
}

impl Wish {
    /// The one that a path names.
    pub(crate) fn parse(segment: &str) -> Option<Self> {
        match segment {
            "drain" => Some(Self::Drain),
            "undrain" => Some(Self::Undrain),
            "remove" => Some(Self::Remove),
            _ => None,
        }
    }

    const fn state(self) -> (NodeState, &'static str) {
        match self {
            Self::Drain => (NodeState::Draining, "draining"),
            Self::Undrain => (NodeState::Live, "live"),
            Self::Remove => (NodeState::Removed, "removed"),
        }
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drain => "drain",
            Self::Undrain => "undrain",
            Self::Remove => "remove",
        })
    }
}

/// What is expected of a host.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "HostChanged")]
pub(crate) struct Changed {
    id: String,
    /// What is expected of it from now on.
    #[schemars(extend("enum" = ["draining", "live", "removed"]))]
    state: &'static str,
}

/// Says what is expected of a host from now on. That its partitions have moved shows in the cluster's picture.
pub(crate) async fn change(call: &Call<'_>, node: NodeId, wish: Wish) -> Result<Reply, Refusal> {
    Query::parse(call.query(), &[])?;
    let (wanted, state) = wish.state();
    let operation = |_| Op::SetHost(SetHost { node: node.0, state: wanted as i32 });
    // to say it twice changes nothing
    let Answer::HostSet(set) =
        call.app.ask(Target::Catalog, call.deadline.at, Repeat::Harmless, operation).await?
    else {
        return Err(Refusal::misanswered());
    };
    if !call.app.see(set.revision, None, call.deadline.at).await {
        tracing::warn!(%node, "the host's state is changed but this gateway does not see it yet");
    }
    Ok(json(StatusCode::OK, &Changed { id: node.to_string(), state })?)
}
