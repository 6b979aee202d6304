//! The checker's own tests: what it must accept, what it must reject, and that it agrees with trying every order.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;
use crate::seed;

const START: State = State { value: 0, version: 0 };

fn done(value: i64, version: u64) -> Outcome {
    Outcome::Done(Seen::all(State { value, version }))
}

fn value(value: i64) -> Outcome {
    Outcome::Done(Seen { value: Some(value), version: None })
}

fn op(invoked: u64, completed: u64, action: Action, outcome: Outcome) -> Operation {
    Operation { client: 0, invoked, completed, action, outcome }
}

#[track_caller]
fn accepts(operations: &[Operation]) {
    check(START, operations).unwrap_or_else(|violation| panic!("{violation}"));
}

#[track_caller]
fn rejects(operations: &[Operation]) -> String {
    let violation = check(START, operations).expect_err("this history has no explanation");
    assert!(violation.is_certain);
    violation.to_string()
}

use Action::{Add, CompareAndSet, Read};
use Outcome::{Failed, Mismatch, Unknown};

#[test]
fn nothing_happened() {
    accepts(&[]);
    accepts(&[op(0, 1, Add(1), Failed), op(2, 3, Read, done(0, 0))]);
}

#[test]
fn beside_each_other_either_order_goes() {
    for (seen, version) in [(0, 0), (1, 1)] {
        accepts(&[op(0, 10, Add(1), done(1, 1)), op(5, 6, Read, done(seen, version))]);
    }
}

#[test]
fn a_stale_read() {
    let text = rejects(&[op(0, 1, Add(1), done(1, 1)), op(2, 3, Read, done(0, 0))]);
    assert!(text.contains("1 of 2 are explained and lead to 1 at version 1"), "{text}");
    assert!(text.contains("client  0: read -> 0 at version 0"), "{text}");
    rejects(&[op(0, 1, Add(1), value(1)), op(2, 3, Read, value(0))]);
}

#[test]
fn a_lost_update() {
    // both were told that theirs was the first
    rejects(&[op(0, 10, Add(1), done(1, 1)), op(5, 12, Add(1), done(1, 1))]);
    rejects(&[op(0, 1, Add(1), value(1)), op(2, 3, Add(1), value(2)), op(4, 5, Read, value(1))]);
}

#[test]
fn a_doubled_increment() {
    rejects(&[op(0, 1, Add(1), done(1, 1)), op(2, 3, Read, done(2, 2))]);
    rejects(&[op(0, 1, Add(1), value(2))]);
}

#[test]
fn a_value_that_nobody_wrote() {
    rejects(&[op(0, 10, Add(1), done(1, 1)), op(5, 6, Read, done(7, 1))]);
    rejects(&[op(0, 9, CompareAndSet { version: 0, value: 5 }, Unknown), op(10, 11, Read, value(6))]);
}

#[test]
fn reads_that_go_back() {
    // the write is under way all the time; the first read shows it, the later one does not
    rejects(&[op(0, 10, Add(1), done(1, 1)), op(1, 2, Read, done(1, 1)), op(3, 4, Read, done(0, 0))]);
}

#[test]
fn a_read_of_the_future() {
    rejects(&[op(0, 1, Read, done(1, 1)), op(2, 3, Add(1), done(1, 1))]);
}

#[test]
fn the_unknown_may_happen_late_or_never() {
    let unknown = op(0, 1, Add(1), Unknown);
    accepts(&[unknown]);
    accepts(&[unknown, op(2, 3, Read, done(0, 0))]);
    accepts(&[unknown, op(2, 3, Read, done(0, 0)), op(4, 5, Read, done(1, 1))]);
    // but not undone, not twice, and not before it was asked for
    rejects(&[unknown, op(2, 3, Read, done(1, 1)), op(4, 5, Read, done(0, 0))]);
    rejects(&[unknown, op(2, 3, Read, done(2, 2))]);
    rejects(&[op(0, 1, Read, done(1, 1)), op(2, 3, Add(1), Unknown)]);
}

#[test]
fn what_failed_never_happened() {
    rejects(&[op(0, 1, Add(1), Failed), op(2, 3, Read, done(1, 1))]);
}

#[test]
fn compare_and_set() {
    let set = |version, value| CompareAndSet { version, value };
    accepts(&[op(0, 1, set(0, 9), done(9, 1)), op(2, 3, set(0, 8), Mismatch), op(4, 5, Add(1), done(10, 2))]);
    // both won the same version
    rejects(&[op(0, 10, set(0, 9), done(9, 1)), op(0, 10, set(0, 8), done(8, 1))]);
    // it was told that the version was another, and nobody had changed it
    rejects(&[op(0, 1, set(0, 9), Mismatch)]);
    // one of unknown outcome can only have won its own version
    accepts(&[op(0, 1, set(0, 9), Unknown), op(2, 3, Read, done(9, 1))]);
    rejects(&[op(0, 1, Add(1), done(1, 1)), op(2, 3, set(0, 9), Unknown), op(4, 5, Read, done(9, 2))]);
}

/// A stale read may be of any moment until it was answered, but of no later one, and of nothing invented.
#[test]
fn stale_reads() {
    let history = History::default();
    let add = history.invoke(0, "o", Add(1));
    add.end(done(1, 1));
    history.invoke(1, "o", Read).at_any_time_before().end(done(0, 0));
    history.check(START);
    let ahead = history.clone();
    history.invoke(1, "o", Read).at_any_time_before().end(done(2, 2));
    ahead.invoke(0, "o", Add(1)).end(done(2, 2));
    let refused = std::panic::catch_unwind(|| history.check(START)).unwrap_err();
    let text = refused.downcast::<String>().unwrap();
    let file = text.rsplit("the whole history: ").next().unwrap();
    assert_eq!(std::fs::read_to_string(file).unwrap().lines().count(), 4, "{text}");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn one_that_was_given_up_is_unknown() {
    let history = History::default();
    drop(history.invoke(0, "o", Add(1)));
    assert_eq!((history.len(), history.count(|outcome| *outcome == Unknown)), (1, 1));
    history.invoke(0, "o", Read).end(done(1, 1));
    history.check(START);
}

/// What a register may do wrong, once in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    /// Acknowledges an addition and drops it.
    LostUpdate,
    /// Adds twice and acknowledges one.
    DoubledIncrement,
    /// Reads what stood there before the last acknowledgement.
    StaleRead,
    /// Reads something else.
    Invented,
    /// Says of one that took effect that it failed.
    FalseFailure,
    /// Lets a compare-and-set win on an older version.
    BlindSet,
}

const BUGS: [Bug; 6] =
    [Bug::LostUpdate, Bug::DoubledIncrement, Bug::StaleRead, Bug::Invented, Bug::FalseFailure, Bug::BlindSet];

/// How a simulated run goes.
struct Run {
    clients: u32,
    operations: usize,
    unknown: f64,
    /// Whether clients are told versions too.
    versions: bool,
}

/// A client in the middle of an operation.
struct Client {
    last: State,
    operation: Operation,
    effect: u64,
}

/// Clients of one register, each with one operation after the other, which takes effect at a random moment; the order
/// of those moments is the truth. The bug, if there is one, strikes once, in the middle.
fn simulate(rng: &mut StdRng, run: &Run, bug: Option<Bug>) -> Vec<Operation> {
    let mut register = START;
    // what is surely over: states by the time from which any read must show them or later ones
    let mut acknowledged: Vec<(u64, State)> = vec![(0, START)];
    let mut history: Vec<Operation> = Vec::new();
    // operations of unknown outcome that have yet to take effect
    let mut late: Vec<(u64, Action)> = Vec::new();
    let mut clients: Vec<_> = (0..run.clients).map(|client| invoke(rng, client, 0, START)).collect();
    let mut bug = bug;
    while history.len() < run.operations {
        let next = (0..clients.len()).min_by_key(|&at| clients[at].effect).expect("there are clients");
        late.sort_by_key(|(effect, _)| std::cmp::Reverse(*effect));
        while late.last().is_some_and(|(effect, _)| *effect < clients[next].effect) {
            let (_, action) = late.pop().expect("it was there");
            apply(&mut register, action);
        }
        let Client { last, mut operation, effect } = std::mem::replace(
            &mut clients[next],
            Client { last: START, operation: op(0, 0, Read, Failed), effect: 0 },
        );
        if operation.action != Read && rng.random_bool(run.unknown) {
            if rng.random_bool(0.5) {
                late.push((effect + rng.random_range(0..3_000), operation.action));
            }
            operation.outcome = Unknown;
        } else if rng.random_bool(run.unknown) {
            operation.outcome = Failed;
        } else {
            let floor = acknowledged.partition_point(|(time, _)| *time < operation.invoked);
            let stale =
                acknowledged[..floor].iter().map(|(_, state)| *state).max_by_key(|state| state.version);
            let strikes = bug.filter(|_| history.len() > run.operations / 2);
            let struck =
                strikes.and_then(|bug| strike(bug, &mut register, &operation, stale.unwrap_or(START)));
            bug = bug.filter(|_| struck.is_none());
            operation.outcome = struck.unwrap_or_else(|| apply(&mut register, operation.action));
            acknowledged.push((operation.completed, register));
            acknowledged.sort_by_key(|(time, _)| *time);
        }
        let told = if matches!(operation.outcome, Outcome::Done(_)) { register } else { last };
        let begin = operation.completed + rng.random_range(0..50);
        clients[next] = invoke(rng, operation.client, begin, told);
        if let (Outcome::Done(seen), false) = (&mut operation.outcome, run.versions) {
            seen.version = None;
        }
        history.push(operation);
    }
    assert!(bug.is_none(), "the bug struck");
    history
}

fn invoke(rng: &mut StdRng, client: u32, now: u64, last: State) -> Client {
    let action = match rng.random_range(0..10) {
        0..4 => Read,
        4..8 => Add(1),
        _ => CompareAndSet { version: last.version, value: rng.random_range(1..1_000_000) },
    };
    let invoked = now + 1;
    let effect = invoked + rng.random_range(1..200);
    let completed = effect + rng.random_range(1..200);
    Client { last, operation: Operation { client, invoked, completed, action, outcome: Unknown }, effect }
}

/// What a right register does and answers.
fn apply(register: &mut State, action: Action) -> Outcome {
    match action {
        Read => {}
        Add(by) => *register = State { value: register.value + by, version: register.version + 1 },
        CompareAndSet { version, .. } if version != register.version => return Mismatch,
        CompareAndSet { value, .. } => *register = State { value, version: register.version + 1 },
    }
    Outcome::Done(Seen::all(*register))
}

/// What a wrong one does and answers; none when the bug does not show on this operation.
fn strike(bug: Bug, register: &mut State, operation: &Operation, stale: State) -> Option<Outcome> {
    let before = *register;
    match (bug, operation.action) {
        (Bug::LostUpdate, Add(_)) => {
            let told = apply(register, operation.action);
            *register = before;
            Some(told)
        }
        (Bug::DoubledIncrement, Add(_)) => {
            let told = apply(register, operation.action);
            apply(register, operation.action);
            Some(told)
        }
        (Bug::StaleRead, Read) if stale.version > 0 && stale.value != 0 => Some(value(0)),
        (Bug::Invented, Read) => Some(value(before.value + 10_000_000)),
        (Bug::FalseFailure, Add(_)) => {
            apply(register, operation.action);
            Some(Failed)
        }
        (Bug::BlindSet, CompareAndSet { version, value }) if version < before.version => {
            Some(apply(register, CompareAndSet { version: before.version, value }))
        }
        _ => None,
    }
}

#[test]
fn a_right_register_is_always_accepted() {
    let mut rng = seed::rng("a_right_register_is_always_accepted");
    for round in 0..300 {
        let clients = rng.random_range(1..20);
        let operations = rng.random_range(1..400);
        let unknown = [0.0, 0.02, 0.2][round % 3];
        let run = Run { clients, operations, unknown, versions: true };
        let history = simulate(&mut rng, &run, None);
        check(START, &history).unwrap_or_else(|violation| panic!("round {round}: {violation}"));
        // told values alone, fewer clients: without versions there is more to try
        let run = Run { clients: clients.min(6), operations, unknown: unknown.min(0.02), versions: false };
        let history = simulate(&mut rng, &run, None);
        check(START, &history).unwrap_or_else(|violation| panic!("round {round}: {violation}"));
    }
}

#[test]
fn every_bug_is_seen() {
    let mut rng = seed::rng("every_bug_is_seen");
    for round in 0..50 {
        for bug in BUGS {
            let run = Run { clients: rng.random_range(2..17), operations: 300, unknown: 0.0, versions: true };
            let history = simulate(&mut rng, &run, Some(bug));
            let violation =
                check(START, &history).expect_err(&format!("round {round}: {bug:?} was not seen"));
            assert!(violation.is_certain, "round {round}: {bug:?}: {violation}");
        }
    }
}

/// A lost update is not among these: one of unknown outcome that takes effect next can stand in for it.
#[test]
fn bugs_are_seen_among_unknown_outcomes() {
    let mut rng = seed::rng("bugs_are_seen_among_unknown_outcomes");
    for round in 0..30 {
        for bug in [Bug::StaleRead, Bug::Invented] {
            let run = Run { clients: 16, operations: 600 * (1 + round % 10), unknown: 0.05, versions: true };
            let history = simulate(&mut rng, &run, Some(bug));
            let violation =
                check(START, &history).expect_err(&format!("round {round}: {bug:?} was not seen"));
            assert!(violation.is_certain, "round {round}: {bug:?}: {violation}");
        }
    }
}

/// The search is short: as many positions as there are operations, not as many as there are orders.
#[test]
fn long_histories_take_few_positions() {
    let mut rng = seed::rng("long_histories_take_few_positions");
    for unknown in [0.0, 0.01, 0.05] {
        let run = Run { clients: 16, operations: 8_000, unknown, versions: true };
        let history = simulate(&mut rng, &run, None);
        let positions = check(START, &history).unwrap_or_else(|violation| panic!("{violation}"));
        println!("unknown {unknown}: {positions} positions for {} operations", history.len());
        assert!(positions < 20 * history.len(), "unknown {unknown}: {positions} positions");
    }
}

/// Small random histories, right and wrong: the search says the same as trying every order.
#[test]
fn it_agrees_with_trying_every_order() {
    let mut rng = seed::rng("it_agrees_with_trying_every_order");
    let (mut right, mut wrong) = (0, 0);
    for round in 0..20_000 {
        let count = rng.random_range(1..6);
        let history: Vec<_> = (0..count).map(|_| any_operation(&mut rng)).collect();
        let expected = brute_force(START, &history, (1 << count) - 1);
        let found = check(START, &history).is_ok();
        assert_eq!(found, expected, "round {round}: {history:#?}");
        *if expected { &mut right } else { &mut wrong } += 1;
    }
    assert!(right > 1_000 && wrong > 1_000, "{right} right, {wrong} wrong: both kinds are tried");
}

fn any_operation(rng: &mut StdRng) -> Operation {
    let invoked = rng.random_range(0..12);
    let completed = invoked + rng.random_range(0..8);
    let action = match rng.random_range(0..4) {
        0 => Read,
        1 => Add(rng.random_range(1..3)),
        2 => Add(1),
        _ => CompareAndSet { version: rng.random_range(0..3), value: rng.random_range(0..3) },
    };
    let seen = Seen {
        value: rng.random_bool(0.8).then(|| rng.random_range(0..4)),
        version: rng.random_bool(0.6).then(|| rng.random_range(0..4)),
    };
    let outcome = match (rng.random_range(0..8), action) {
        (0, _) => Failed,
        (1 | 2, _) => Unknown,
        (3, CompareAndSet { .. }) => Mismatch,
        _ => Outcome::Done(seen),
    };
    op(invoked, completed, action, outcome)
}

/// Whether the operations in `left` (a set of bits) can follow in some order. No memory, no cleverness.
fn brute_force(state: State, history: &[Operation], left: u32) -> bool {
    let is_left = |at: usize| left & (1 << at) != 0;
    let must = |one: &Operation| !matches!(one.outcome, Failed | Unknown);
    let rest = || (0..history.len()).filter(|&at| is_left(at));
    if rest().all(|at| !must(&history[at])) {
        return true;
    }
    rest().any(|at| {
        let one = history[at];
        let comes_too_late =
            rest().any(|other| must(&history[other]) && history[other].completed < one.invoked);
        if one.outcome == Failed || comes_too_late {
            return false;
        }
        let mut after = state;
        let told = apply(&mut after, one.action);
        let fits = match (one.outcome, told) {
            (Unknown, _) => true,
            (Mismatch, told) => told == Mismatch,
            (Outcome::Done(seen), Outcome::Done(all)) => {
                (seen.value.is_none() || seen.value == all.value)
                    && (seen.version.is_none() || seen.version == all.version)
            }
            _ => false,
        };
        let after = if one.outcome == Mismatch { state } else { after };
        fits && brute_force(after, history, left & !(1 << at))
    })
}

/// The same seed gives the same run: a failure can be repeated.
#[test]
fn runs_can_be_repeated() {
    let run = Run { clients: 5, operations: 100, unknown: 0.1, versions: true };
    let twice = [0, 0].map(|_| simulate(&mut StdRng::seed_from_u64(7), &run, None));
    assert_eq!(twice[0], twice[1]);
}
