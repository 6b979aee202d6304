//! The key expressions of the mesh, in one place, and how what travels on each is treated.
//!
//! | key expression | what travels |
//! | --- | --- |
//! | `oprc/n/<node>/call` | requests to a node, and word that a caller waits no more |
//! | `oprc/r/<inbox>` | replies to a process |
//! | `oprc/n/<node>/u`, `/d`, `/b` | posts to a node: urgent, data, bulk |
//! | `oprc/n/<node>/leads` | a node says which groups it leads |
//! | `oprc/n/<node>/catalog` | a node knows a new catalog revision |
//! | `oprc/n/<node>/alive/<inbox>` | liveliness token of a process of a node |
//! | `oprc/events/<class>/<id>` | events of an object, for any client ([`crate::EventPublisher`]) |
//!
//! All but the tokens and events carry [`crate::frame`]s. With a cluster name they all stand below it, so that two clusters on one
//! network do not mix.

use zenoh::qos::{CongestionControl, Priority};

use crate::id::NodeId;
use crate::peers::Lane;

pub(crate) const ALIVE: &str = "oprc/n/*/alive/*";
pub(crate) const CATALOGS: &str = "oprc/n/*/catalog";
pub(crate) const LEADS: &str = "oprc/n/*/leads";

/// Where something goes. What goes the same way keeps its order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Route {
    /// Requests to a node.
    Calls(NodeId),
    /// Replies to the process with that inbox.
    Replies(String),
    /// Posts to a node.
    Posts(NodeId, Lane),
    /// Which groups the node leads, for whoever listens.
    Leads(NodeId),
    /// The node's newest catalog revision, for whoever listens.
    Catalog(NodeId),
}

impl Route {
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Calls(node) => format!("oprc/n/{node}/call"),
            Self::Replies(inbox) => format!("oprc/r/{inbox}"),
            Self::Posts(node, Lane::Urgent) => format!("oprc/n/{node}/u"),
            Self::Posts(node, Lane::Data) => format!("oprc/n/{node}/d"),
            Self::Posts(node, Lane::Bulk) => format!("oprc/n/{node}/b"),
            Self::Leads(node) => format!("oprc/n/{node}/leads"),
            Self::Catalog(node) => format!("oprc/n/{node}/catalog"),
        }
    }

    /// What is urgent goes at once, before all else, and is dropped when a link is congested: the next one is as good. All
    /// else waits.
    pub(crate) fn quality(&self) -> Quality {
        let (priority, congestion, express) = match self {
            Self::Posts(_, Lane::Urgent) => (Priority::RealTime, CongestionControl::Drop, true),
            Self::Posts(_, Lane::Data) => (Priority::DataHigh, CongestionControl::Block, false),
            Self::Posts(_, Lane::Bulk) => (Priority::Background, CongestionControl::Block, false),
            _ => (Priority::Data, CongestionControl::Block, false),
        };
        Quality { priority, congestion, express }
    }
}

/// How Zenoh treats a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quality {
    pub(crate) priority: Priority,
    pub(crate) congestion: CongestionControl,
    pub(crate) express: bool,
}

pub(crate) fn alive_key(node: NodeId, inbox: &str) -> String {
    format!("oprc/n/{node}/alive/{inbox}")
}

/// The node in `oprc/n/<node>/...`; none for any other key.
pub(crate) fn node_of(key: &str) -> Option<NodeId> {
    let node = key.strip_prefix("oprc/n/")?.split('/').next()?;
    u64::from_str_radix(node, 16).ok().map(NodeId)
}

/// The inbox in `oprc/n/<node>/alive/<inbox>`.
pub(crate) fn inbox_of(key: &str) -> Option<&str> {
    key.strip_prefix("oprc/n/")?.split_once("/alive/").map(|(_, inbox)| inbox)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_found_in_its_keys() {
        let node = NodeId(0xab);
        for route in
            [Route::Calls(node), Route::Posts(node, Lane::Bulk), Route::Leads(node), Route::Catalog(node)]
        {
            assert_eq!(node_of(&route.key()), Some(node));
        }
        let token = alive_key(node, "me");
        assert_eq!((node_of(&token), inbox_of(&token)), (Some(node), Some("me")));
        assert_eq!((node_of("oprc/r/1"), inbox_of("oprc/r/1")), (None, None));
    }
}
