//! How a proposal that failed is told to callers: whether it may have taken effect decides what they may do next.

use oprc_mesh::outcome::{Code, Effect, Problem};

use crate::poison::Poison;
use crate::raft::{ProposalError, ReadError};

/// The problem for a proposal that Raft refused or lost.
pub(crate) fn of_proposal(error: ProposalError, poison: &Poison) -> Problem {
    match error {
        ProposalError::NotLeader { leader } => not_leader(leader),
        ProposalError::Discarded { leader } => {
            let lost = Problem::new(Code::NoQuorum, "leadership was lost before the commit was decided");
            with_leader(lost.with_effect(Effect::Unknown), leader)
        }
        ProposalError::Stopped => stopped(poison, Effect::NotRun),
    }
}

/// The problem for a read that could not be made sure of.
pub(crate) fn of_read(error: ReadError, poison: &Poison) -> Problem {
    match error {
        ReadError::NotLeader { leader } => not_leader(leader),
        ReadError::NoQuorum => cut_off(),
        ReadError::Stopped => stopped(poison, Effect::NotRun),
    }
}

/// The problem for a proposal whose group stopped before it was decided.
pub(crate) fn not_decided(poison: &Poison) -> Problem {
    stopped(poison, Effect::Unknown)
}

/// The leader has heard of no majority for so long that it takes nothing in.
pub(crate) fn cut_off() -> Problem {
    Problem::new(Code::NoQuorum, "the leader hears of no majority of its partition's replicas")
        .with_effect(Effect::NotRun)
}

/// What was proposed has waited for a majority too long: a later one may decide either way.
pub(crate) fn undecided() -> Problem {
    let detail =
        "no majority of the partition's replicas has confirmed the commit in time; it may still come about";
    Problem::new(Code::NoQuorum, detail).with_effect(Effect::Unknown)
}

/// This node does not lead.
pub(crate) fn not_leader(leader: Option<u64>) -> Problem {
    let problem =
        Problem::new(Code::NotLeader, "this host does not lead the partition").with_effect(Effect::NotRun);
    with_leader(problem, leader)
}

fn with_leader(mut problem: Problem, leader: Option<u64>) -> Problem {
    problem.leader = leader.unwrap_or(0);
    problem
}

fn stopped(poison: &Poison, effect: Effect) -> Problem {
    let problem = match poison.check() {
        Err(error) => Problem::from(error),
        Ok(()) => Problem::new(Code::Unavailable, "the partition is stopping on this host"),
    };
    problem.with_effect(effect)
}
