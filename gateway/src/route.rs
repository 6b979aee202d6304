//! Whom to ask, and what to do when that fails: pure decisions over what the directory knows. `app` carries them out.
//!
//! A call goes class -> grid -> partition -> leader. All of it is a hint that may be out of date; the host that is asked
//! decides. What certainly did not run is tried again within the deadline, following the hint of who leads; what may
//! have run is tried again only where running twice changes nothing, and is otherwise answered with `outcome: unknown`.

use std::collections::BTreeSet;
use std::time::Duration;

use oprc_mesh::catalog::CatalogView;
use oprc_mesh::id::{ClassName, NodeId, ObjectId};
use oprc_mesh::outcome::{Code, Effect, Problem};

/// The first pause before a call is tried again; it doubles from there.
const BACKOFF_MS_MIN: u64 = 2;
/// The longest pause.
const BACKOFF_MS_MAX: u64 = 100;
/// Hints of who leads that are followed without a pause; more of them in one call mean that leadership is moving.
const HINTS_MAX: u32 = 2;

/// Whom a call is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target<'a> {
    /// The leader of the partition that owns the object.
    Object(&'a ClassName, &'a ObjectId),
    /// The leader of a partition of the class's grid, by its group.
    Partition(&'a ClassName, u64),
    /// Any host that runs functions of the class.
    Function(&'a ClassName),
    /// The leader of the catalog, or any host as long as none is known.
    Catalog,
    /// This host and no other.
    Node(NodeId),
}

/// Whom to ask now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    /// The host, for its group if it is asked as a group's leader.
    Ask(NodeId, Option<u64>),
    /// Nobody who could know is alive, as far as is known.
    Nobody,
    /// No such class in this view of the catalog.
    UnknownClass,
}

/// Picks the host for `target`. `turn` grows with every try, so that each goes to another host where there are several.
pub(crate) fn pick(
    target: Target<'_>,
    view: &CatalogView,
    alive: &BTreeSet<NodeId>,
    leader: impl Fn(u64) -> Option<NodeId>,
    turn: usize,
) -> Pick {
    let any = |group| nth(&alive.iter().copied(), turn, group);
    let led = |group: u64, replicas: &[u64]| match leader(group) {
        Some(node) => Pick::Ask(node, Some(group)),
        // a replica that does not lead names the leader
        None => {
            nth(&replicas.iter().copied().map(NodeId).filter(|node| alive.contains(node)), turn, Some(group))
        }
    };
    match target {
        Target::Node(node) => Pick::Ask(node, None),
        Target::Catalog => {
            leader(CATALOG_GROUP).map_or_else(|| any(None), |node| Pick::Ask(node, Some(CATALOG_GROUP)))
        }
        Target::Function(name) => view.class(name.as_str()).map_or(Pick::UnknownClass, |_| any(None)),
        Target::Object(name, object) => match view.class(name.as_str()) {
            None => Pick::UnknownClass,
            Some(class) => view
                .locate(class, name, object)
                .map_or(Pick::Nobody, |partition| led(partition.group, &partition.nodes)),
        },
        Target::Partition(name, group) => match view.class(name.as_str()) {
            None => Pick::UnknownClass,
            Some(class) => view
                .grid(&class.grid)
                .and_then(|grid| grid.partitions.iter().find(|partition| partition.group == group))
                .map_or(Pick::Nobody, |partition| led(group, &partition.nodes)),
        },
    }
}

/// The catalog's own group.
const CATALOG_GROUP: u64 = 0;

fn nth(nodes: &(impl Iterator<Item = NodeId> + Clone), turn: usize, group: Option<u64>) -> Pick {
    let count = nodes.clone().count();
    if count == 0 {
        return Pick::Nobody;
    }
    nodes.clone().nth(turn % count).map_or(Pick::Nobody, |node| Pick::Ask(node, group))
}

/// Why a try gave no answer.
#[derive(Debug)]
pub(crate) enum Miss {
    /// There was nobody to ask.
    Nobody,
    /// The host answered with a problem, or did not answer.
    Failed(NodeId, Problem),
}

/// Where a call stands after a miss.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    /// Running it twice changes nothing: a read.
    pub(crate) repeatable: bool,
    /// Only this host can do it, because of what it was sent before: there is nobody else to turn to.
    pub(crate) fixed: bool,
    /// Misses before this one.
    pub(crate) misses: u32,
    /// What is left until the deadline.
    pub(crate) left: Duration,
}

/// What to do after a miss.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// Try again after a pause, with this host if one was named.
    Again(Duration, Option<NodeId>),
    /// Answer the client with this.
    Answer(Box<Problem>),
}

/// Decides what follows a miss.
pub(crate) fn next(step: Step, miss: Miss) -> Next {
    let problem = match miss {
        Miss::Nobody => Problem::new(Code::Unavailable, "no host is known that could do it")
            .with_effect(Effect::NotRun)
            .hint("start a host, or see GET /api/v1/cluster for the hosts' state"),
        Miss::Failed(asked, problem) => {
            if step.fixed || !retriable(&problem, step.repeatable) {
                return Next::Answer(Box::new(settle(problem, step.repeatable)));
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
    if pause < step.left {
        Next::Again(pause, None)
    } else {
        Next::Answer(Box::new(settle(problem, step.repeatable)))
    }
}

/// Whether trying again is safe and may help.
fn retriable(problem: &Problem, repeatable: bool) -> bool {
    match problem.kind() {
        Code::NotLeader | Code::StaleClass => true, // both say that nothing ran
        Code::Unavailable | Code::NoQuorum => repeatable || problem.effect() == Effect::NotRun,
        _ => false,
    }
}

fn backoff_ms(misses: u32) -> u64 {
    let doubled = 1u64.checked_shl(misses).unwrap_or(u64::MAX);
    BACKOFF_MS_MIN.saturating_mul(doubled).min(BACKOFF_MS_MAX)
}

/// Says in the answer whether the call may have taken effect, where the host or the mesh left that open.
fn settle(problem: Problem, repeatable: bool) -> Problem {
    match problem.kind() {
        Code::NotLeader | Code::StaleClass => problem.with_effect(Effect::NotRun),
        Code::Unavailable | Code::NoQuorum | Code::Deadline if repeatable => {
            problem.with_effect(Effect::NotRun)
        }
        Code::Unavailable | Code::NoQuorum | Code::Deadline | Code::Internal
            if problem.effect() == Effect::Unsaid && !repeatable =>
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
    use oprc_mesh::catalog::{Class, Grid, PartitionInfo};

    const SOON: Duration = Duration::from_secs(5);

    fn step(repeatable: bool, misses: u32) -> Step {
        Step { repeatable, fixed: false, misses, left: SOON }
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
    #[test]
    fn what_may_have_run_is_never_run_again_unless_it_only_reads() {
        use Effect::{NotRun, Unknown, Unsaid};
        for &code in Code::ALL {
            for effect in [Unsaid, NotRun, Unknown] {
                for repeatable in [false, true] {
                    let told = outcome(next(step(repeatable, 0), failed(code, effect)));
                    let expected = match (code, effect, repeatable) {
                        (Code::NotLeader | Code::StaleClass, ..)
                        | (Code::Unavailable | Code::NoQuorum, _, true)
                        | (Code::Unavailable | Code::NoQuorum, NotRun, _) => None,
                        (Code::Deadline, _, true) => Some(NotRun),
                        (Code::Unavailable | Code::NoQuorum, ..)
                        | (Code::Deadline | Code::Internal, Unsaid, false) => Some(Unknown),
                        _ => Some(effect),
                    };
                    assert_eq!(told, expected, "{code:?} {effect:?} repeatable: {repeatable}");
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
            assert_eq!(next(step(false, misses), moved(2)), Next::Again(Duration::ZERO, Some(NodeId(2))));
        }
        assert!(
            matches!(next(step(false, HINTS_MAX), moved(2)), Next::Again(pause, None) if !pause.is_zero())
        );
        // no hint, or one at the host itself, is none
        for leader in [0, 1] {
            assert!(
                matches!(next(step(false, 0), moved(leader)), Next::Again(pause, None) if !pause.is_zero())
            );
        }
    }

    #[test]
    fn one_that_alone_could_do_it_is_not_asked_again() {
        let fixed = Step { fixed: true, ..step(false, 0) };
        for code in [Code::NotLeader, Code::StaleClass, Code::Unavailable] {
            assert_eq!(outcome(next(fixed, failed(code, Effect::NotRun))), Some(Effect::NotRun), "{code:?}");
        }
    }

    #[test]
    fn pauses_grow_within_their_bounds_and_never_pass_the_deadline() {
        let mut last = Duration::ZERO;
        for misses in [0, 1, 5, 31, 32, 63, 64, u32::MAX] {
            let Next::Again(pause, None) = next(step(false, misses), Miss::Nobody) else {
                panic!("{misses}")
            };
            assert!(pause >= last && pause <= Duration::from_millis(BACKOFF_MS_MAX), "{misses}: {pause:?}");
            last = pause;
        }
        let late =
            Step { repeatable: true, fixed: false, misses: 9, left: Duration::from_millis(BACKOFF_MS_MAX) };
        assert_eq!(outcome(next(late, Miss::Nobody)), Some(Effect::NotRun));
        assert_eq!(outcome(next(late, failed(Code::NotLeader, Effect::Unsaid))), Some(Effect::NotRun));
        // a host that says when to come back is believed
        let problem = Problem::new(Code::Unavailable, "x").with_effect(Effect::NotRun).retry_after_ms(700);
        assert_eq!(
            next(step(false, 0), Miss::Failed(NodeId(1), problem)),
            Next::Again(Duration::from_millis(700), None)
        );
    }

    fn view() -> CatalogView {
        let partition = |group, slot_first, slot_last, nodes: &[u64]| PartitionInfo {
            group,
            slot_first,
            slot_last,
            nodes: nodes.to_vec(),
            ..PartitionInfo::default()
        };
        let partitions = vec![partition(1, 0, 2_047, &[1, 2]), partition(2, 2_048, 4_095, &[2, 3])];
        CatalogView {
            revision: 1,
            grids: vec![Grid { name: "default".into(), replicas: 2, partitions }],
            classes: vec![Class { name: "Counter".into(), grid: "default".into(), ..Class::default() }],
            ..CatalogView::default()
        }
    }

    #[test]
    fn an_object_is_asked_of_its_partitions_leader() {
        let class = ClassName::parse("Counter").unwrap();
        let object = ObjectId::parse("alice").unwrap(); // slot 2906: group 2
        let alive = BTreeSet::from([NodeId(1), NodeId(2), NodeId(3)]);
        let target = Target::Object(&class, &object);
        let asked = |leader: Option<u64>, alive: &BTreeSet<NodeId>, turn| {
            pick(target, &view(), alive, |group| leader.filter(|_| group == 2).map(NodeId), turn)
        };
        assert_eq!(asked(Some(3), &alive, 0), Pick::Ask(NodeId(3), Some(2)));
        // nobody known to lead: its replicas in turn, and only those alive
        assert_eq!(asked(None, &alive, 0), Pick::Ask(NodeId(2), Some(2)));
        assert_eq!(asked(None, &alive, 1), Pick::Ask(NodeId(3), Some(2)));
        assert_eq!(asked(None, &BTreeSet::from([NodeId(3)]), 0), Pick::Ask(NodeId(3), Some(2)));
        assert_eq!(asked(None, &BTreeSet::from([NodeId(1)]), 0), Pick::Nobody);
    }

    #[test]
    fn functions_go_round_and_the_catalog_has_a_leader() {
        let class = ClassName::parse("Counter").unwrap();
        let other = ClassName::parse("Other").unwrap();
        let object = ObjectId::parse("alice").unwrap();
        let alive = BTreeSet::from([NodeId(1), NodeId(2)]);
        let ask =
            |target, turn| pick(target, &view(), &alive, |group| (group == 0).then_some(NodeId(2)), turn);
        assert_eq!(ask(Target::Function(&class), 0), Pick::Ask(NodeId(1), None));
        assert_eq!(ask(Target::Function(&class), 1), Pick::Ask(NodeId(2), None));
        assert_eq!(ask(Target::Catalog, 0), Pick::Ask(NodeId(2), Some(0)));
        assert_eq!(ask(Target::Node(NodeId(9)), 0), Pick::Ask(NodeId(9), None));
        assert_eq!(ask(Target::Partition(&class, 1), 1), Pick::Ask(NodeId(2), Some(1)));
        assert_eq!(ask(Target::Partition(&class, 9), 0), Pick::Nobody);
        for target in
            [Target::Function(&other), Target::Object(&other, &object), Target::Partition(&other, 1)]
        {
            assert_eq!(ask(target, 0), Pick::UnknownClass);
        }
        assert_eq!(pick(Target::Catalog, &view(), &BTreeSet::new(), |_| None, 0), Pick::Nobody);
    }
}
