//! Handing over leaderships before the host stops, so that nobody waits for an election.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use oprc_mesh::Peers;
use oprc_mesh::id::NodeId;
use tokio::time::{Instant, timeout, timeout_at};

use crate::partition::Partition;
use crate::raft::{Group, Members};

/// All hand-overs together take no longer; who still leads then is found out by an election.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// How long one replica may take to become leader before another is asked.
const TAKE_MAX: Duration = Duration::from_millis(1_500);
/// How long commits under way may take to be decided first.
const SETTLE_MAX: Duration = Duration::from_secs(1);
/// Groups handed over at once.
const AT_ONCE: usize = 32;

/// A group that this host may lead.
pub(crate) struct Led {
    pub(crate) group: Arc<Group>,
    /// Absent for the catalog.
    pub(crate) partition: Option<Arc<Partition>>,
}

/// Hands over every group in `led` that this node, `me`, leads and others vote in. Gives how many it leads still.
pub(crate) async fn drain(led: Vec<Led>, peers: &Arc<dyn Peers>, me: NodeId) -> usize {
    let until = Instant::now() + DRAIN_MAX;
    let led: Vec<Led> = led.into_iter().filter(|led| led.group.leads()).collect();
    let work: Vec<_> = led.iter().map(|led| hand_over(led, peers, me, until)).collect();
    let done: Vec<bool> = stream::iter(work).buffer_unordered(AT_ONCE).collect().await;
    done.into_iter().filter(|done| !done).count()
}

async fn hand_over(led: &Led, peers: &Arc<dyn Peers>, me: NodeId, until: Instant) -> bool {
    let group = &led.group;
    if group.members().voters.iter().all(|voter| *voter == me.0) {
        return true; // nobody to hand over to: that is not this host's last word on it
    }
    group.stand_down();
    // What is under way is decided before the leader changes, so that no caller is left without an answer; what comes
    // meanwhile waits, and is sent on to the new leader.
    let _paused = match &led.partition {
        Some(partition) => timeout(SETTLE_MAX, partition.pause()).await.ok(),
        None => None,
    };
    let mut tried = BTreeSet::new();
    while group.leads() && Instant::now() < until {
        let alive = peers.watch_nodes().borrow().clone();
        let Some(to) = heir(&group.members(), &group.progress(), &alive, me, &tried) else {
            if tried.is_empty() {
                return false;
            }
            tried.clear();
            continue;
        };
        tried.insert(to);
        if let Err(error) = group.transfer(to).await {
            tracing::warn!(group = group.id(), %error, "a leadership could not be handed over");
            return false;
        }
        let taken = timeout_at(until.min(Instant::now() + TAKE_MAX), leads_no_more(group)).await;
        tracing::debug!(group = group.id(), to = %NodeId(to), taken = taken.is_ok(), "handing over");
    }
    !group.leads()
}

async fn leads_no_more(group: &Group) {
    let mut follow = group.follow();
    while group.leads() && follow.changed().await {}
}

/// Who should lead instead: of the other voters that are alive and were not tried yet the one with most of the log.
fn heir(
    members: &Members,
    progress: &BTreeMap<u64, u64>,
    alive: &BTreeSet<NodeId>,
    me: NodeId,
    tried: &BTreeSet<u64>,
) -> Option<u64> {
    let others = members.voters.iter().filter(|voter| **voter != me.0 && alive.contains(&NodeId(**voter)));
    others.filter(|voter| !tried.contains(voter)).max_by_key(|voter| progress.get(voter)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heir_is_the_live_voter_with_most_of_the_log() {
        let members = Members { voters: [1, 2, 3, 4].into(), learners: [5].into(), ..Members::default() };
        let progress = BTreeMap::from([(1, 90), (2, 70), (3, 80), (4, 85), (5, 90)]);
        let alive = BTreeSet::from([NodeId(1), NodeId(2), NodeId(3), NodeId(5)]);
        let heir =
            |tried: &[u64]| heir(&members, &progress, &alive, NodeId(1), &tried.iter().copied().collect());
        assert_eq!(heir(&[]), Some(3), "4 has more and is not alive, 5 has no vote");
        assert_eq!(heir(&[3]), Some(2));
        assert_eq!(heir(&[2, 3]), None);
    }
}
