//! What this host's grid answers to those of others.

use std::sync::Arc;

use oprc_mesh::catalog::NodeState;
use oprc_mesh::id::NodeId;
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::wire::{Consistency, Enlist, GridAnswer, GridAsk, GridQuestion, GridReply, Leave};
use tokio::time::{Instant, timeout_at};

use crate::catalog_client::Catalog;
use crate::courier::receive;
use crate::identity::Identity;
use crate::partitions::Partitions;
use crate::problem::not_leader;

/// See the module.
pub(crate) struct Questions {
    pub(crate) identity: Arc<Identity>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) partitions: Arc<Partitions>,
}

impl Questions {
    pub(crate) async fn answer(&self, ask: GridAsk, deadline: Instant) -> Result<GridAnswer, Problem> {
        self.check_cluster(&ask)?;
        self.check_removed(ask.from)?;
        let unknown = || {
            Problem::new(Code::Invalid, "the question is of a kind unknown here").with_effect(Effect::NotRun)
        };
        let reply = match ask.question.ok_or_else(unknown)? {
            GridQuestion::Hello(_) => GridReply::Greeting(self.identity.greeting()),
            GridQuestion::Enlist(Enlist { attempt, withdraw }) => GridReply::Greeting(if withdraw {
                self.identity.withdraw(ask.from, attempt)?
            } else {
                self.identity.enlist(ask.from, attempt)?
            }),
            GridQuestion::Propose(propose) => {
                GridReply::Proposed(self.catalog.answer(&propose, deadline).await?)
            }
            GridQuestion::Deliver(deliver) => GridReply::Delivered(receive(&self.partitions, deliver).await?),
            GridQuestion::Leave(leave) => GridReply::Leave(self.leave(ask.from, leave, deadline).await?),
        };
        Ok(GridAnswer { reply: Some(reply) })
    }

    /// Two clusters on one mesh do not mix.
    fn check_cluster(&self, ask: &GridAsk) -> Result<(), Problem> {
        let own = self.identity.cluster();
        if own == 0 || ask.cluster == 0 || own == ask.cluster {
            return Ok(());
        }
        let detail = format!(
            "host {} is of the cluster {:016x}, and host {} of the cluster {own:016x}",
            NodeId(ask.from),
            ask.cluster,
            self.identity.node(),
        );
        tracing::warn!(%detail, "refused a host of another cluster");
        let refusal = Problem::new(Code::Denied, detail).with_effect(Effect::NotRun);
        Err(refusal
            .hint("give each cluster its own --cluster name, or start with an empty data directory to join"))
    }

    /// A host that was removed hears it from any other, also when the catalog itself did not reach it any more.
    fn check_removed(&self, node: u64) -> Result<(), Problem> {
        let view = self.catalog.view();
        if view.node(NodeId(node)).is_none_or(|node| node.state() != NodeState::Removed) {
            return Ok(());
        }
        let detail = format!("host {} was removed from this cluster for good", NodeId(node));
        let refusal = Problem::new(Code::Conflict, detail).with_effect(Effect::NotRun);
        Err(refusal.hint("start it with an empty data directory: it joins as a new host"))
    }

    /// Whether `node` may forget what it holds of a group: this host leads it, its members are committed, `node` is none of
    /// them, and the catalog does not want it to become one.
    ///
    /// That makes it safe, however old the asker's catalog is and whatever messages are under way: the asker has stopped
    /// its replica before it asks. From the moment that leadership is confirmed, this or any later leader makes `node` a
    /// member again only as a new learner, which gets a vote only after it has caught up, and a stopped replica does not.
    async fn leave(&self, node: u64, leave: Leave, deadline: Instant) -> Result<Leave, Problem> {
        let partition = self.partitions.get(leave.group).ok_or_else(|| not_leader(None))?;
        let late = || Problem::new(Code::NoQuorum, "the leadership could not be confirmed in time");
        let confirmed = timeout_at(deadline, partition.confirm(Consistency::Linearizable)).await;
        confirmed.map_err(|_| late().with_effect(Effect::NotRun))??;
        let members = partition.raft().members();
        let is_member = members.voters.contains(&node) || members.learners.contains(&node);
        let view = self.catalog.view();
        let held = view.partition(leave.group).is_some_and(|info| info.is_held_by(NodeId(node)));
        if !members.committed || members.joint || is_member || held {
            let detail = format!("host {} has a part in partition {}", NodeId(node), leave.group);
            return Err(Problem::new(Code::Conflict, detail).with_effect(Effect::NotRun));
        }
        Ok(leave)
    }
}
