//! What this process knows of the cluster: the catalog, who leads which group, which nodes are alive. Fed by the local
//! host (directly) and by announcements (over Zenoh); gateways and hosts only read it. Everything in it is a hint that
//! may be out of date: the host that is asked decides.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::watch;

use crate::catalog::CatalogView;
use crate::id::NodeId;
use crate::outcome::{Code, Effect, Problem};
use crate::wire::Leads;

/// See the module.
pub struct Directory {
    view: watch::Sender<Arc<CatalogView>>,
    leaders: RwLock<HashMap<u64, Leads>>,
    nodes: watch::Sender<BTreeSet<NodeId>>,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            view: watch::Sender::new(Arc::default()),
            leaders: RwLock::default(),
            nodes: watch::Sender::new(BTreeSet::new()),
        }
    }
}

impl Directory {
    /// The newest catalog known here; revision 0 when none is yet.
    pub fn view(&self) -> Arc<CatalogView> {
        self.view.borrow().clone()
    }

    /// Follows the catalog.
    pub fn watch_view(&self) -> watch::Receiver<Arc<CatalogView>> {
        self.view.subscribe()
    }

    /// Takes a catalog, unless a newer one is known.
    pub fn learn_view(&self, view: Arc<CatalogView>) {
        self.view.send_if_modified(|known| {
            let newer = view.revision > known.revision;
            if newer {
                *known = view;
            }
            newer
        });
    }

    /// Who leads `group`, as far as is known.
    pub fn leader(&self, group: u64) -> Option<NodeId> {
        self.leaders.read().get(&group).map(|leads| NodeId(leads.node))
    }

    /// Takes word of a leader, unless a later term's is known.
    pub fn learn_leader(&self, leads: Leads) {
        let mut leaders = self.leaders.write();
        let known = leaders.entry(leads.group).or_insert(leads);
        if leads.term >= known.term {
            *known = leads;
        }
    }

    /// Forgets that `node` leads `group`: it said that it does not.
    pub fn forget_leader(&self, group: u64, node: NodeId) {
        let mut leaders = self.leaders.write();
        if leaders.get(&group).is_some_and(|leads| leads.node == node.0) {
            leaders.remove(&group);
        }
    }

    /// Takes note that `node` served `group` as its leader. If that was found by asking around, it counts until the leader
    /// itself speaks up with its term.
    pub fn learn_answer(&self, group: u64, node: NodeId) {
        if self.leader(group).is_none() {
            self.learn_leader(Leads { group, term: 0, node: node.0 });
        }
    }

    /// Takes note of what `node` failed with when it was asked as the leader of `group`: one that says that it does not lead
    /// or cannot commit, or that is not to be reached, is not asked again at once.
    pub fn learn_refusal(&self, group: u64, node: NodeId, problem: &Problem) {
        let leads_no_more = match problem.kind() {
            Code::NotLeader => true,
            Code::Unavailable | Code::NoQuorum => problem.effect() == Effect::NotRun,
            _ => false,
        };
        if leads_no_more {
            self.forget_leader(group, node);
        }
    }

    /// Whether a host is alive.
    pub fn is_alive(&self, node: NodeId) -> bool {
        self.nodes.borrow().contains(&node)
    }

    /// The hosts that are alive, in id order.
    pub fn nodes(&self) -> BTreeSet<NodeId> {
        self.nodes.borrow().clone()
    }

    /// Follows the hosts that are alive.
    pub fn watch_nodes(&self) -> watch::Receiver<BTreeSet<NodeId>> {
        self.nodes.subscribe()
    }

    /// A host came.
    pub fn learn_node(&self, node: NodeId) {
        self.nodes.send_if_modified(|nodes| nodes.insert(node));
    }

    /// A host went, or its link did: it leads nothing as far as this process can tell.
    pub fn lose_node(&self, node: NodeId) {
        self.leaders.write().retain(|_, leads| leads.node != node.0);
        self.nodes.send_if_modified(|nodes| nodes.remove(&node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_term_or_revision_never_replaces_a_newer_one() {
        let directory = Directory::default();
        directory.learn_leader(Leads { group: 7, term: 3, node: 1 });
        directory.learn_leader(Leads { group: 7, term: 2, node: 2 });
        assert_eq!(directory.leader(7), Some(NodeId(1)));
        directory.learn_view(Arc::new(CatalogView { revision: 5, ..Default::default() }));
        directory.learn_view(Arc::new(CatalogView { revision: 4, ..Default::default() }));
        assert_eq!(directory.view().revision, 5);
    }

    #[test]
    fn who_refuses_is_forgotten_and_who_answers_is_kept_until_the_leader_speaks() {
        let directory = Directory::default();
        directory.learn_leader(Leads { group: 7, term: 3, node: 1 });
        directory.learn_answer(7, NodeId(2));
        assert_eq!(directory.leader(7), Some(NodeId(1)), "the announced leader stays");
        for (code, effect, forgotten) in [
            (Code::Invalid, Effect::NotRun, false),
            (Code::Unavailable, Effect::Unknown, false),
            (Code::NoQuorum, Effect::NotRun, true),
            (Code::NotLeader, Effect::Unsaid, true),
        ] {
            directory.learn_leader(Leads { group: 7, term: 3, node: 1 });
            directory.learn_refusal(7, NodeId(1), &Problem::new(code, "x").with_effect(effect));
            assert_eq!(directory.leader(7).is_none(), forgotten, "{code:?} {effect:?}");
        }
        directory.learn_answer(7, NodeId(2));
        assert_eq!(directory.leader(7), Some(NodeId(2)));
        directory.learn_leader(Leads { group: 7, term: 1, node: 4 });
        assert_eq!(directory.leader(7), Some(NodeId(4)));
    }

    #[test]
    fn a_lost_node_leads_nothing_and_others_go_on() {
        let directory = Directory::default();
        for node in [1, 2] {
            directory.learn_node(NodeId(node));
            directory.learn_leader(Leads { group: node, term: 3, node });
        }
        directory.lose_node(NodeId(1));
        assert_eq!((directory.leader(1), directory.leader(2)), (None, Some(NodeId(2))));
        assert_eq!(directory.nodes(), BTreeSet::from([NodeId(2)]));
        // back again, it is believed also with the term that it had
        directory.learn_node(NodeId(1));
        directory.learn_leader(Leads { group: 1, term: 3, node: 1 });
        assert_eq!(directory.leader(1), Some(NodeId(1)));
    }
}
