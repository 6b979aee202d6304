//! What the leader of a Raft group does next to bring its members to where they should be: a pure function, asked again
//! after each step.
//!
//! New hosts first follow as learners; once they are caught up all voters change in one joint change; then learners that
//! should not be go, and the catalog is told. The number of voters never falls on the way. A leader that is to leave hands
//! over before it does, so that no election is needed.

use std::collections::{BTreeMap, BTreeSet};

use crate::raft::Members;

/// A replica that lacks no more entries than this counts as caught up.
const CAUGHT_UP_ENTRIES: u64 = 1_024;

/// Where a group should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Goal {
    pub(crate) voters: BTreeSet<u64>,
    pub(crate) learners: BTreeSet<u64>,
    /// What the catalog says of who holds it; none for the catalog's own group, which needs no such record.
    pub(crate) record: Option<Recorded>,
}

/// See [`Goal::record`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) held: BTreeSet<u64>,
    pub(crate) founded: bool,
}

/// Where a group is, as its leader sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sight {
    /// The leader.
    pub(crate) me: u64,
    pub(crate) members: Members,
    /// The leader's last log index.
    pub(crate) last: u64,
    /// Up to where the others have the log.
    pub(crate) matched: BTreeMap<u64, u64>,
    /// Hosts that seem alive.
    pub(crate) alive: BTreeSet<u64>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    AddLearner(u64),
    ChangeVoters(BTreeSet<u64>),
    DropLearners(BTreeSet<u64>),
    /// Hand the leadership over.
    Transfer(u64),
    /// Tell the catalog who the members are.
    Settle(BTreeSet<u64>),
}

impl Sight {
    /// Whether a host is near enough to the end of the log to be relied on.
    pub(crate) fn is_caught_up(&self, id: u64) -> bool {
        let near = |matched: &u64| matched + CAUGHT_UP_ENTRIES >= self.last;
        id == self.me || (self.alive.contains(&id) && self.matched.get(&id).is_some_and(near))
    }
}

/// The next step, if one is due and can be taken now.
pub(crate) fn next_step(goal: &Goal, sight: &Sight) -> Option<Step> {
    let members = &sight.members;
    if !members.committed || goal.voters.is_empty() {
        return None;
    }
    if let Some(step) = record_members(goal, members) {
        return Some(step);
    }
    let known = |id: &u64| members.voters.contains(id) || members.learners.contains(id);
    // one that cannot be reached could not follow
    let reachable = |id: &&u64| sight.alive.contains(id);
    let wanted = || goal.voters.union(&goal.learners);
    if let Some(missing) = wanted().filter(reachable).find(|id| !known(id)) {
        return Some(Step::AddLearner(*missing));
    }
    if members.joint || members.voters != goal.voters {
        if let Some(step) = change_voters(goal, sight) {
            return Some(step);
        }
        return None;
    }
    let strays: BTreeSet<u64> =
        members.learners.iter().copied().filter(|id| !goal.learners.contains(id)).collect();
    if !strays.is_empty() {
        return Some(Step::DropLearners(strays));
    }
    let record = goal.record.as_ref()?;
    (!record.founded || record.held != goal.voters).then(|| Step::Settle(members.voters.clone()))
}

/// A group that has begun, or that has a member of which the catalog knows nothing, says so at once: until then the one
/// does not serve and the other does not run.
fn record_members(goal: &Goal, members: &Members) -> Option<Step> {
    let record = goal.record.as_ref()?;
    let all: BTreeSet<u64> = members.voters.union(&members.learners).copied().collect();
    (!record.founded || !all.is_subset(&record.held)).then_some(Step::Settle(all))
}

fn change_voters(goal: &Goal, sight: &Sight) -> Option<Step> {
    let members = &sight.members;
    if members.joint {
        // an earlier leader's change is half done; it is finished towards the goal, or the next step is from there
        let ready = goal.voters.iter().all(|id| members.voters.contains(id) || sight.is_caught_up(*id));
        return (ready && can_decide(&goal.voters, sight)).then(|| Step::ChangeVoters(goal.voters.clone()));
    }
    let mut newcomers = goal.voters.difference(&members.voters);
    if newcomers.any(|id| !sight.is_caught_up(*id)) || !can_decide(&goal.voters, sight) {
        return None;
    }
    if goal.voters.contains(&sight.me) {
        return Some(Step::ChangeVoters(goal.voters.clone()));
    }
    let heir = goal.voters.iter().find(|id| members.voters.contains(id) && sight.is_caught_up(**id));
    Some(match heir {
        Some(heir) => Step::Transfer(*heir),
        // nobody who stays has a vote yet: give them theirs, keep mine, then hand over
        None => Step::ChangeVoters(goal.voters.iter().copied().chain([sight.me]).collect()),
    })
}

/// Whether a majority of these is there and caught up, so that the change does not stop the group.
fn can_decide(voters: &BTreeSet<u64>, sight: &Sight) -> bool {
    voters.iter().filter(|id| sight.is_caught_up(**id)).count() * 2 > voters.len()
}
