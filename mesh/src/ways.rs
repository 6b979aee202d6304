//! How other hosts are reached: directly, or by a router that passes on. Peers of Zenoh do not pass on for each other, and
//! its routers do not for peers; so ours do it by themselves, see [`crate::relay`].

use std::collections::HashMap;

use parking_lot::RwLock;

use crate::id::NodeId;
use crate::keys::{Route, RouterId};

/// A way to a host; the better one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    Direct,
    By(RouterId),
}

impl Way {
    /// The way back to where something came from.
    pub(crate) fn back(via: Option<RouterId>) -> Self {
        via.map_or(Self::Direct, Self::By)
    }

    pub(crate) fn route(self, route: Route) -> Route {
        match self {
            Self::Direct => route,
            Self::By(router) => Route::Via(router, Box::new(route)),
        }
    }
}

/// The way to each host that is not reached directly.
#[derive(Default)]
pub(crate) struct Ways(RwLock<HashMap<NodeId, RouterId>>);

impl Ways {
    pub(crate) fn to(&self, node: NodeId) -> Way {
        Way::back(self.0.read().get(&node).copied())
    }

    /// From now on `node` is reached so; whether that is a change.
    pub(crate) fn set(&self, node: NodeId, way: Way) -> bool {
        let mut ways = self.0.write();
        let before = match way {
            Way::Direct => ways.remove(&node),
            Way::By(router) => ways.insert(node, router),
        };
        Way::back(before) != way
    }
}
