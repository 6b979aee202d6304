//! Each step in its place, and none that would weaken a group.

#![allow(clippy::unwrap_used)]

use super::steps::*;
use crate::raft::Members;

fn set(ids: &[u64]) -> std::collections::BTreeSet<u64> {
    ids.iter().copied().collect()
}

/// Host 1 leads; everybody is there and caught up.
fn sight(voters: &[u64], learners: &[u64]) -> Sight {
    Sight {
        me: 1,
        members: Members { voters: set(voters), learners: set(learners), joint: false, committed: true },
        last: 10_000,
        matched: (1..=9).map(|id| (id, 10_000)).collect(),
        alive: (1..=9).collect(),
    }
}

fn goal(voters: &[u64]) -> Goal {
    Goal {
        voters: set(voters),
        learners: set(&[]),
        record: Some(Recorded { held: (1..=9).collect(), founded: true }),
    }
}

#[test]
fn a_group_that_is_where_it_should_be_tells_the_catalog_and_rests() {
    assert_eq!(next_step(&goal(&[1, 2, 3]), &sight(&[1, 2, 3], &[])), Some(Step::Settle(set(&[1, 2, 3]))));
    let record = Recorded { held: set(&[1, 2, 3]), founded: true };
    let settled = Goal { record: Some(record.clone()), ..goal(&[1, 2, 3]) };
    assert_eq!(next_step(&settled, &sight(&[1, 2, 3], &[])), None);
    let unfounded = Goal { record: Some(Recorded { founded: false, ..record }), ..settled };
    assert_eq!(next_step(&unfounded, &sight(&[1, 2, 3], &[])), Some(Step::Settle(set(&[1, 2, 3]))));
}

#[test]
fn newcomers_follow_first_and_vote_once_they_are_caught_up() {
    let goal = goal(&[1, 2, 3]);
    assert_eq!(next_step(&goal, &sight(&[1], &[])), Some(Step::AddLearner(2)));
    assert_eq!(next_step(&goal, &sight(&[1], &[2])), Some(Step::AddLearner(3)));
    let mut behind = sight(&[1], &[2, 3]);
    behind.matched.insert(3, 100);
    assert_eq!(next_step(&goal, &behind), None);
    behind.matched.remove(&3);
    assert_eq!(next_step(&goal, &behind), None);
    let ready = sight(&[1], &[2, 3]);
    assert_eq!(next_step(&goal, &ready), Some(Step::ChangeVoters(set(&[1, 2, 3]))));
    let mut gone = ready.clone();
    gone.alive.remove(&3);
    assert_eq!(next_step(&goal, &gone), None);
}

#[test]
fn one_change_at_a_time() {
    let mut open = sight(&[1], &[2, 3]);
    open.members.committed = false;
    assert_eq!(next_step(&goal(&[1, 2, 3]), &open), None);
}

#[test]
fn a_half_done_change_is_finished() {
    let mut joint = sight(&[1, 2, 3, 4], &[]);
    joint.members.joint = true;
    assert_eq!(next_step(&goal(&[1, 2, 4]), &joint), Some(Step::ChangeVoters(set(&[1, 2, 4]))));
    assert_eq!(next_step(&goal(&[1, 2, 3, 4]), &joint), Some(Step::ChangeVoters(set(&[1, 2, 3, 4]))));
    assert_eq!(next_step(&goal(&[1, 2, 5]), &joint), Some(Step::AddLearner(5)));
}

#[test]
fn a_leader_that_leaves_hands_over_first() {
    assert_eq!(next_step(&goal(&[2, 3, 4]), &sight(&[1, 2, 3], &[4])), Some(Step::Transfer(2)));
    let mut alone = sight(&[1, 2, 3], &[4]);
    alone.alive.remove(&2);
    assert_eq!(next_step(&goal(&[2, 3, 4]), &alone), Some(Step::Transfer(3)));
    // nobody who stays votes yet
    assert_eq!(next_step(&goal(&[2]), &sight(&[1], &[2])), Some(Step::ChangeVoters(set(&[1, 2]))));
    assert_eq!(next_step(&goal(&[2]), &sight(&[1, 2], &[])), Some(Step::Transfer(2)));
}

#[test]
fn voters_change_only_to_a_majority_that_is_there() {
    let mut two_gone = sight(&[1, 2, 3], &[]);
    two_gone.alive = set(&[1]);
    assert_eq!(next_step(&goal(&[1, 2]), &two_gone), None);
    let mut one_gone = sight(&[1, 2, 3], &[4]);
    one_gone.alive.remove(&2);
    assert_eq!(next_step(&goal(&[1, 2, 4]), &one_gone), Some(Step::ChangeVoters(set(&[1, 2, 4]))));
}

#[test]
fn what_should_not_follow_goes() {
    let mut goal = goal(&[1, 2, 3]);
    assert_eq!(next_step(&goal, &sight(&[1, 2, 3], &[4, 5])), Some(Step::DropLearners(set(&[4, 5]))));
    goal.learners = set(&[4]);
    assert_eq!(next_step(&goal, &sight(&[1, 2, 3], &[4, 5])), Some(Step::DropLearners(set(&[5]))));
    goal.learners = set(&[4, 6]);
    assert_eq!(next_step(&goal, &sight(&[1, 2, 3], &[4])), Some(Step::AddLearner(6)));
}

#[test]
fn a_member_that_the_catalog_does_not_expect_is_made_known_before_all_else() {
    let record = Recorded { held: set(&[1, 2]), founded: true };
    let goal = Goal { record: Some(record), ..goal(&[1, 2]) };
    assert_eq!(next_step(&goal, &sight(&[1, 2, 3], &[])), Some(Step::Settle(set(&[1, 2, 3]))));
}

#[test]
fn the_catalog_keeps_no_record_of_itself() {
    let goal = Goal { record: None, ..goal(&[1, 2, 3]) };
    assert_eq!(next_step(&goal, &sight(&[1, 2, 3], &[])), None);
    assert_eq!(next_step(&Goal::default(), &sight(&[1, 2, 3], &[])), None);
}
