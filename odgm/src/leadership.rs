//! Which groups this node leads, gathered from all of them.

use std::sync::Arc;

use oprc_mesh::id::NodeId;
use oprc_mesh::metrics::Count;
use oprc_mesh::wire::Leads;
use parking_lot::RwLock;
use tokio::sync::{Notify, watch};

use crate::raft::{Follow, Standing};

/// See the module.
pub(crate) struct Leaderships {
    node: NodeId,
    leads: watch::Sender<Vec<Leads>>,
    moved: Arc<Notify>,
    /// How often some group's leader was another one than before.
    changes: Count,
}

impl Leaderships {
    pub(crate) fn new(node: NodeId) -> Self {
        Self { node, leads: watch::Sender::new(Vec::new()), moved: Arc::default(), changes: Count::default() }
    }

    /// Notes that this node leads `group` in a term, or does not.
    pub(crate) fn set(&self, group: u64, term: Option<u64>) {
        let entry = term.map(|term| Leads { group, term, node: self.node.0 });
        self.leads.send_if_modified(|leads| {
            let at = leads.binary_search_by_key(&group, |lead| lead.group);
            match (at, entry) {
                (Ok(at), Some(entry)) if leads[at] == entry => return false,
                (Ok(at), Some(entry)) => leads[at] = entry,
                (Ok(at), None) => drop(leads.remove(at)),
                (Err(at), Some(entry)) => leads.insert(at, entry),
                (Err(_), None) => return false,
            }
            true
        });
    }

    /// Follows one group until it stops, also into `standing`. What it leads shows only while `open`.
    pub(crate) async fn follow(
        self: Arc<Self>,
        group: u64,
        mut follow: Follow,
        standing: Arc<RwLock<Standing>>,
        mut open: watch::Receiver<bool>,
    ) {
        loop {
            let now = follow.standing();
            let is_open = *open.borrow_and_update();
            let before = std::mem::replace(&mut *standing.write(), now);
            self.set(group, now.leads.filter(|_| is_open));
            if now.leader.is_some() && now.leader != before.leader {
                self.changes.one();
            }
            if before.leads != now.leads {
                self.moved.notify_one();
            }
            tokio::select! {
                going = follow.changed() => if !going { break },
                Ok(()) = open.changed() => {}
            }
        }
        *standing.write() = Standing::default();
        self.set(group, None);
    }

    /// How often a group that is held here got a leader, or another one.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.get()
    }

    /// Told when this node came to lead some group, or ceased to, whether that shows or not.
    pub(crate) fn moved(&self) -> Arc<Notify> {
        self.moved.clone()
    }

    /// The groups that this node leads, in group order.
    pub(crate) fn watch(&self) -> watch::Receiver<Vec<Leads>> {
        self.leads.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_one_entry_per_led_group_in_order() {
        let all = Leaderships::new(NodeId(9));
        for (group, term) in [(2, Some(1)), (1, Some(1)), (2, Some(3)), (5, None), (1, None)] {
            all.set(group, term);
        }
        assert_eq!(*all.watch().borrow(), vec![Leads { group: 2, term: 3, node: 9 }]);
    }
}
