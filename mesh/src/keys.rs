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
//! | `oprc/api/<class>/...` | questions of any client, answered by gateways ([`crate::Answerer`]) |
//!
//! All but the tokens, events and questions carry [`crate::frame`]s. With a cluster name they all stand below it, so that two clusters on one
//! network do not mix.

use std::fmt;

use zenoh::qos::{CongestionControl, Priority};

use crate::id::NodeId;
use crate::peers::Lane;

/// What all keys begin with.
const ROOT: &str = "oprc/";
pub(crate) const ALIVE: &str = "oprc/n/*/alive/*";
pub(crate) const CATALOGS: &str = "oprc/n/*/catalog";
pub(crate) const LEADS: &str = "oprc/n/*/leads";
/// The same, as routers tell of those that they reach.
pub(crate) const ALIVE_BY_ROUTER: &str = "oprc/v/*/alive/*/*";
pub(crate) const CATALOGS_BY_ROUTER: &str = "oprc/v/*/n/*/catalog";
pub(crate) const LEADS_BY_ROUTER: &str = "oprc/v/*/n/*/leads";

/// A router that passes on what others cannot deliver themselves, by a number that it draws when it starts. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RouterId(pub(crate) u64);

impl fmt::Display for RouterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

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
    /// The same to a router, which passes it on.
    Via(RouterId, Box<Route>),
    /// An announcement, as a router passes it on.
    Echo(RouterId, Box<Route>),
    /// What a router passes on for a process.
    Onward(Box<Onward>),
}

/// See [`Route::Onward`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Onward {
    /// The host that sent it.
    pub(crate) from: NodeId,
    pub(crate) router: RouterId,
    /// What the keys of its cluster begin with; empty for the unnamed one.
    pub(crate) space: String,
    pub(crate) to: Route,
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
            Self::Via(router, to) => format!("oprc/v/{router}/f/{}", to.rest()),
            Self::Echo(router, of) => format!("oprc/v/{router}/{}", of.rest()),
            Self::Onward(onward) => format!("{}{}", onward.space, onward.to.key()),
        }
    }

    /// The key without what all keys begin with.
    fn rest(&self) -> String {
        self.key().split_off(ROOT.len())
    }

    /// The route whose key is `oprc/` and `rest`, if a router may pass that on.
    fn parse(rest: &str) -> Option<Self> {
        let (kind, rest) = rest.split_once('/')?;
        match kind {
            "r" if !rest.contains('/') => Some(Self::Replies(rest.to_owned())),
            "n" => {
                let (node, what) = rest.split_once('/')?;
                let node = u64::from_str_radix(node, 16).ok().map(NodeId)?;
                let lane = |lane| Self::Posts(node, lane);
                Some(match what {
                    "call" => Self::Calls(node),
                    "u" => lane(Lane::Urgent),
                    "d" => lane(Lane::Data),
                    "b" => lane(Lane::Bulk),
                    "leads" => Self::Leads(node),
                    "catalog" => Self::Catalog(node),
                    _ => return None,
                })
            }
            _ => None,
        }
    }

    /// What is urgent goes at once, before all else, and is dropped when a link is congested: the next one is as good. All
    /// else waits.
    pub(crate) fn quality(&self) -> Quality {
        let (priority, congestion, express) = match self {
            Self::Posts(_, Lane::Urgent) => (Priority::RealTime, CongestionControl::Drop, true),
            Self::Posts(_, Lane::Data) => (Priority::DataHigh, CongestionControl::Block, false),
            Self::Posts(_, Lane::Bulk) => (Priority::Background, CongestionControl::Block, false),
            Self::Via(_, to) | Self::Echo(_, to) => return to.quality(),
            Self::Onward(onward) => return onward.to.quality(),
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

/// The key under which a router shows that it reaches a process.
pub(crate) fn alive_by_router(router: RouterId, node: NodeId, inbox: &str) -> String {
    format!("oprc/v/{router}/alive/{node}/{inbox}")
}

/// A router, and the process that it says it reaches.
pub(crate) fn reached_by_router(key: &str) -> Option<(RouterId, NodeId, &str)> {
    let (router, rest) = key.strip_prefix("oprc/v/")?.split_once("/alive/")?;
    let (node, inbox) = rest.split_once('/')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some((RouterId(number(router)?), NodeId(number(node)?), inbox))
}

/// What a key begins with before `oprc/`: the name of its cluster. A router sees the keys of all clusters.
pub(crate) fn space_of(key: &str) -> Option<(&str, &str)> {
    let begins = |key: &str| ["n/", "v/", "r/"].iter().any(|kind| key[ROOT.len()..].starts_with(kind));
    if key.starts_with(ROOT) && begins(key) {
        return Some(("", key));
    }
    let (space, rest) = key.split_at(key.find('/')? + 1);
    (rest.starts_with(ROOT) && begins(rest)).then_some((space, rest))
}

/// Where a router is asked to pass something on to by what is sent to `key`.
pub(crate) fn onward_of(key: &str) -> Option<Route> {
    let (_, rest) = key.strip_prefix("oprc/v/")?.split_once("/f/")?;
    Route::parse(rest)
}

/// The announcement that is made under `key`.
pub(crate) fn announcement_of(key: &str) -> Option<Route> {
    let route = Route::parse(key.strip_prefix(ROOT)?)?;
    matches!(route, Route::Leads(_) | Route::Catalog(_)).then_some(route)
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

    #[test]
    fn a_router_finds_the_way_on_in_the_key_of_what_it_is_sent() {
        let (node, router) = (NodeId(0xab), RouterId(0xcd));
        let lanes = Lane::ALL.into_iter().map(|lane| Route::Posts(node, lane));
        for route in lanes.chain([Route::Calls(node), Route::Replies("inbox".into())]) {
            let sent = Route::Via(router, Box::new(route.clone())).key();
            assert_eq!(onward_of(&sent), Some(route));
        }
        for route in [Route::Leads(node), Route::Catalog(node)] {
            assert_eq!(announcement_of(&route.key()), Some(route));
        }
        let noise =
            ["oprc/v/cd/f/n/ab/alive/x", "oprc/v/cd/f/v/cd/f/n/ab/u", "oprc/v/cd/f/r/a/b", "oprc/n/ab/u"];
        assert!(noise.into_iter().all(|key| onward_of(key).is_none()));
        let token = alive_by_router(router, node, "me");
        assert_eq!(reached_by_router(&token), Some((router, node, "me")));
    }

    #[test]
    fn a_router_tells_clusters_apart() {
        assert_eq!(space_of("oprc/n/1/u"), Some(("", "oprc/n/1/u")));
        assert_eq!(space_of("red/oprc/v/1/f/n/2/u"), Some(("red/", "oprc/v/1/f/n/2/u")));
        assert_eq!(space_of("oprc/oprc/n/1/u"), Some(("oprc/", "oprc/n/1/u")));
        assert!(
            ["", "oprc/", "oprc/x/1", "red/blue/oprc/n/1"].into_iter().all(|key| space_of(key).is_none())
        );
    }
}
