//! What follows a call to another host that failed: a pure decision, the same for gateways and hosts.
//!
//! What certainly did not run is tried again within the deadline, following the hint of who leads; what may have run is
//! tried again only where trying twice changes nothing, and is otherwise answered with effect `unknown`. Neither goes on
//! for long once it looks as if a partition had no majority.

use std::time::Duration;

use tokio::time::Instant;

use crate::id::NodeId;
use crate::outcome::{Code, Effect, Problem};

/// The first pause before a call is tried again; it doubles from there.
const BACKOFF_MS_MIN: u64 = 2;
/// The longest pause.
const BACKOFF_MS_MAX: u64 = 100;
/// Hints of who leads that are followed without a pause; more of them in one call mean that leadership is moving.
const HINTS_MAX: u32 = 2;
/// So long a call looks for somebody who can serve it, unless its deadline is sooner. An election takes less; after it a
/// majority is most likely gone, and the caller should know rather than wait.
const LOOKING_MS_MAX: u64 = 5_000;

/// Why a try gave no answer.
#[derive(Debug)]
pub enum Miss {
    /// There was nobody to ask.
    Nobody,
    /// The host answered with a problem, or did not answer.
    Failed(NodeId, Problem),
}

/// What it means to try a call again that may have run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It would run twice.
    Never,
    /// It only reads, or says what should be: running it twice is as good as once.
    Harmless,
    /// Its id tells: it takes effect once.
    Once,
}

/// One call's tries so far.
#[derive(Debug)]
pub struct Tries {
    deadline: Instant,
    /// Only the host that is asked can do it, because of what it was sent before: there is nobody else to turn to.
    fixed: bool,
    misses: u32,
    /// When the first try failed.
    missing_since: Option<Instant>,
    /// Some host said that it does not lead.
    leaderless: bool,
    /// Some try may have taken effect.
    open: bool,
}

impl Tries {
    /// A call that was not tried yet.
    pub fn until(deadline: Instant) -> Self {
        Self { deadline, fixed: false, misses: 0, missing_since: None, leaderless: false, open: false }
    }

    /// A call that only the host that is asked can do, because of what it was sent before.
    #[must_use]
    pub fn fixed(self, fixed: bool) -> Self {
        Self { fixed, ..self }
    }

    /// How often it has failed.
    pub fn misses(&self) -> u32 {
        self.misses
    }

    /// Whether a try may have taken effect of which nothing is known.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Gives the call up with `problem`: where a try may have taken effect that says so, whatever it said of itself.
    #[must_use]
    pub fn give_up(&self, problem: Problem) -> Problem {
        if self.open { problem.with_effect(Effect::Unknown) } else { problem }
    }

    /// Decides what follows a miss.
    pub fn next(&mut self, miss: Miss, repeat: Repeat) -> Next {
        self.next_at(Instant::now(), miss, repeat)
    }

    fn next_at(&mut self, now: Instant, miss: Miss, repeat: Repeat) -> Next {
        if let Miss::Failed(_, problem) = &miss {
            self.leaderless |= problem.kind() == Code::NotLeader;
            self.open |= repeat == Repeat::Once && may_have_run(problem);
        }
        let step = Step {
            repeat,
            open: self.open,
            fixed: self.fixed,
            leaderless: self.leaderless,
            misses: self.misses,
            looked: now - *self.missing_since.get_or_insert(now),
            left: self.deadline.saturating_duration_since(now),
        };
        self.misses = self.misses.saturating_add(1);
        decide(step, miss)
    }
}

/// Where a call stands after a miss.
#[derive(Debug, Clone, Copy)]
struct Step {
    repeat: Repeat,
    /// A try, this one perhaps, may have taken effect.
    open: bool,
    fixed: bool,
    leaderless: bool,
    /// Misses before this one.
    misses: u32,
    /// Since the first miss.
    looked: Duration,
    /// What is left until the deadline.
    left: Duration,
}

/// What to do after a miss.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// Try again after a pause, with this host if one was named.
    Again(Duration, Option<NodeId>),
    /// Answer the client with this.
    Answer(Box<Problem>),
}

fn decide(step: Step, miss: Miss) -> Next {
    let problem = match miss {
        Miss::Nobody => Problem::new(Code::Unavailable, "no host is known that could do it")
            .with_effect(Effect::NotRun)
            .hint("start a host, or see GET /api/v1/cluster for the hosts' state"),
        Miss::Failed(asked, problem) => {
            if step.fixed || !retriable(&problem, step.repeat) {
                return Next::Answer(Box::new(settle(problem, step)));
            }
            let named = NodeId(problem.leader);
            let hinted = problem.kind() == Code::NotLeader && problem.leader != 0 && named != asked;
            if hinted && step.misses < HINTS_MAX && !step.left.is_zero() {
                return Next::Again(Duration::ZERO, Some(named));
            }
            problem
        }
    };
    let pause = Duration::from_millis(problem.retry_after_ms.max(backoff_ms(step.misses)));
    let looking = step.looked < Duration::from_millis(LOOKING_MS_MAX) || problem.kind() == Code::StaleClass;
    if looking && pause < step.left {
        return Next::Again(pause, None);
    }
    let unreachable = problem.kind() == Code::Unavailable && problem.effect() == Effect::NotRun;
    let problem = if step.leaderless && unreachable { leaderless(&problem) } else { problem };
    Next::Answer(Box::new(settle(problem, step)))
}

/// Those that are there do not lead, and who should lead is not there.
fn leaderless(last: &Problem) -> Problem {
    let detail = format!("no host leads the partition that could be reached; {}", last.detail);
    Problem::new(Code::NoQuorum, detail).with_effect(Effect::NotRun)
}

/// Whether trying again is safe and may help.
fn retriable(problem: &Problem, repeat: Repeat) -> bool {
    match problem.kind() {
        Code::NotLeader | Code::StaleClass => true, // both say that nothing ran
        Code::Unavailable | Code::NoQuorum => repeat != Repeat::Never || problem.effect() == Effect::NotRun,
        _ => false,
    }
}

/// Whether a failed try leaves open what came of it.
fn may_have_run(problem: &Problem) -> bool {
    matches!(problem.kind(), Code::Unavailable | Code::NoQuorum | Code::Deadline | Code::Internal)
        && problem.effect() != Effect::NotRun
}

fn backoff_ms(misses: u32) -> u64 {
    let doubled = 1u64.checked_shl(misses).unwrap_or(u64::MAX);
    BACKOFF_MS_MIN.saturating_mul(doubled).min(BACKOFF_MS_MAX)
}

/// Says in the answer whether the call may have taken effect, where the host or the mesh left that open.
fn settle(problem: Problem, step: Step) -> Problem {
    let harmless = step.repeat == Repeat::Harmless;
    match problem.kind() {
        // an answer of its own says all, but for what was tried before it
        Code::NotLeader
        | Code::StaleClass
        | Code::Unavailable
        | Code::NoQuorum
        | Code::Deadline
        | Code::Overloaded
            if step.open =>
        {
            problem.with_effect(Effect::Unknown)
        }
        Code::NotLeader | Code::StaleClass => problem.with_effect(Effect::NotRun),
        Code::Unavailable | Code::NoQuorum | Code::Deadline if harmless => {
            problem.with_effect(Effect::NotRun)
        }
        Code::Unavailable | Code::NoQuorum | Code::Deadline | Code::Internal
            if problem.effect() == Effect::Unsaid && !harmless =>
        {
            problem.with_effect(Effect::Unknown)
        }
        _ => problem,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    const REPEATS: [Repeat; 3] = [Repeat::Never, Repeat::Harmless, Repeat::Once];

    fn step(repeat: Repeat, misses: u32) -> Step {
        Step {
            repeat,
            open: false,
            fixed: false,
            leaderless: false,
            misses,
            looked: Duration::ZERO,
            left: SOON,
        }
    }

    fn failed(code: Code, effect: Effect) -> Miss {
        Miss::Failed(NodeId(1), Problem::new(code, "x").with_effect(effect))
    }

    fn outcome(next: Next) -> Option<Effect> {
        match next {
            Next::Again(..) => None,
            Next::Answer(problem) => Some(problem.effect()),
        }
    }

    /// The whole table: who is tried again, and what the others are told about their effect.
    /// The deadline may pass between a try that was lost and the next one.
    #[test]
    fn what_is_given_up_after_a_lost_try_may_have_run() {
        let late = || Problem::new(Code::Deadline, "late").with_effect(Effect::NotRun);
        let mut tries = Tries::until(Instant::now() + Duration::from_mins(1));
        assert_eq!(tries.give_up(late()).effect(), Effect::NotRun);
        let lost = Problem::new(Code::Unavailable, "lost").with_effect(Effect::Unknown);
        tries.next(Miss::Failed(NodeId(1), lost), Repeat::Once);
        assert_eq!(tries.give_up(late()).effect(), Effect::Unknown);
    }

    #[test]
    fn what_may_have_run_is_never_run_again_unless_that_changes_nothing() {
        use Effect::{NotRun, Unknown, Unsaid};
        for &code in Code::ALL {
            for effect in [Unsaid, NotRun, Unknown] {
                for repeat in REPEATS {
                    let told = outcome(decide(step(repeat, 0), failed(code, effect)));
                    let expected = match (code, effect, repeat) {
                        (Code::NotLeader | Code::StaleClass, ..)
                        | (Code::Unavailable | Code::NoQuorum, _, Repeat::Harmless | Repeat::Once)
                        | (Code::Unavailable | Code::NoQuorum, NotRun, _) => None,
                        (Code::Deadline, _, Repeat::Harmless) => Some(NotRun),
                        (Code::Unavailable | Code::NoQuorum, ..)
                        | (Code::Deadline | Code::Internal, Unsaid, Repeat::Never | Repeat::Once) => {
                            Some(Unknown)
                        }
                        _ => Some(effect),
                    };
                    assert_eq!(told, expected, "{code:?} {effect:?} {repeat:?}");
                }
            }
        }
    }

    #[test]
    fn a_hint_is_followed_at_once_but_not_for_ever() {
        let moved = |leader| {
            let problem = Problem { leader, ..Problem::new(Code::NotLeader, "moved") };
            Miss::Failed(NodeId(1), problem)
        };
        for misses in 0..HINTS_MAX {
            assert_eq!(
                decide(step(Repeat::Never, misses), moved(2)),
                Next::Again(Duration::ZERO, Some(NodeId(2)))
            );
        }
        assert!(
            matches!(decide(step(Repeat::Never, HINTS_MAX), moved(2)), Next::Again(pause, None) if !pause.is_zero())
        );
        // no hint, or one at the host itself, is none
        for leader in [0, 1] {
            assert!(
                matches!(decide(step(Repeat::Never, 0), moved(leader)), Next::Again(pause, None) if !pause.is_zero())
            );
        }
    }

    #[test]
    fn one_that_alone_could_do_it_is_not_asked_again() {
        let fixed = Step { fixed: true, ..step(Repeat::Never, 0) };
        for code in [Code::NotLeader, Code::StaleClass, Code::Unavailable] {
            assert_eq!(
                outcome(decide(fixed, failed(code, Effect::NotRun))),
                Some(Effect::NotRun),
                "{code:?}"
            );
        }
    }

    #[test]
    fn pauses_grow_within_their_bounds_and_never_pass_the_deadline() {
        let mut last = Duration::ZERO;
        for misses in [0, 1, 5, 31, 32, 63, 64, u32::MAX] {
            let Next::Again(pause, None) = decide(step(Repeat::Never, misses), Miss::Nobody) else {
                panic!("{misses}")
            };
            assert!(pause >= last && pause <= Duration::from_millis(BACKOFF_MS_MAX), "{misses}: {pause:?}");
            last = pause;
        }
        let late = Step { left: Duration::from_millis(BACKOFF_MS_MAX), ..step(Repeat::Harmless, 9) };
        assert_eq!(outcome(decide(late, Miss::Nobody)), Some(Effect::NotRun));
        assert_eq!(outcome(decide(late, failed(Code::NotLeader, Effect::Unsaid))), Some(Effect::NotRun));
        // a host that says when to come back is believed
        let problem = Problem::new(Code::Unavailable, "x").with_effect(Effect::NotRun).retry_after_ms(700);
        assert_eq!(
            decide(step(Repeat::Never, 0), Miss::Failed(NodeId(1), problem)),
            Next::Again(Duration::from_millis(700), None)
        );
    }

    #[test]
    fn it_does_not_look_for_a_leader_for_ever() {
        let looked = |ms| Step { looked: Duration::from_millis(ms), ..step(Repeat::Never, 9) };
        let codes = [Code::NotLeader, Code::NoQuorum, Code::Unavailable];
        for code in codes {
            let again = decide(looked(LOOKING_MS_MAX - 1), failed(code, Effect::NotRun));
            assert!(matches!(again, Next::Again(..)), "{code:?}");
            let answer = decide(looked(LOOKING_MS_MAX), failed(code, Effect::NotRun));
            assert_eq!(outcome(answer), Some(Effect::NotRun), "{code:?}");
        }
        // who leads is gone, and the others say that they do not lead: that is no quorum, whoever was asked last
        let leaderless = Step { leaderless: true, ..looked(LOOKING_MS_MAX) };
        for miss in [failed(Code::Unavailable, Effect::NotRun), Miss::Nobody] {
            let Next::Answer(problem) = decide(leaderless, miss) else { panic!("it goes on") };
            assert_eq!((problem.kind(), problem.effect()), (Code::NoQuorum, Effect::NotRun));
        }
        // a deploy on its way is worth waiting for
        let stale = decide(looked(LOOKING_MS_MAX), failed(Code::StaleClass, Effect::Unsaid));
        assert!(matches!(stale, Next::Again(..)));
    }

    /// The last try says that it did not run; an earlier one may have.
    #[test]
    fn an_open_try_stays_open_until_there_is_an_answer() {
        let start = Instant::now();
        for (repeat, first, told) in [
            (Repeat::Once, Effect::Unknown, Effect::Unknown),
            (Repeat::Once, Effect::NotRun, Effect::NotRun),
            (Repeat::Harmless, Effect::Unknown, Effect::NotRun),
        ] {
            let mut tries = Tries::until(start + Duration::from_mins(1));
            let again = tries.next_at(start, failed(Code::Unavailable, first), repeat);
            assert!(matches!(again, Next::Again(..)));
            let last = start + Duration::from_millis(LOOKING_MS_MAX);
            for code in [Code::NotLeader, Code::NoQuorum, Code::Unavailable] {
                let answer = tries.next_at(last, failed(code, Effect::NotRun), repeat);
                assert_eq!(outcome(answer), Some(told), "{repeat:?} {code:?}");
            }
            // what only the function itself can say was decided by the first that ran
            let answer = tries.next_at(last, failed(Code::FunctionError, Effect::Unsaid), repeat);
            assert_eq!(outcome(answer), Some(Effect::Unsaid));
        }
    }

    #[test]
    fn tries_are_counted_from_the_first_that_failed() {
        let start = Instant::now();
        let mut tries = Tries::until(start + Duration::from_mins(1));
        let first = start + Duration::from_secs(30);
        let again = tries.next_at(first, failed(Code::NotLeader, Effect::NotRun), Repeat::Never);
        assert!(matches!(again, Next::Again(..)));
        let last = first + Duration::from_millis(LOOKING_MS_MAX);
        let Next::Answer(problem) = tries.next_at(last, Miss::Nobody, Repeat::Never) else {
            panic!("it goes on")
        };
        assert_eq!((problem.kind(), tries.misses()), (Code::NoQuorum, 2));
    }
}
