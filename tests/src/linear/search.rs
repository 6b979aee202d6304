//! The search for an order that explains a history: Wing and Gong's, with what Lowe added ("Testing for
//! linearizability", 2017): a list of the operations not yet placed, and a memory of the positions already tried.
//!
//! A position is the set of operations placed so far and the state that they led to. At a position any operation may
//! come next that was invoked before the first completion among those not placed. Four things keep the search short:
//! - An operation that fits and changes nothing is placed at once; doing so never takes a possibility away.
//! - One that can never fit any more, because versions only grow, ends the position at once.
//! - Operations of unknown outcome are placed only when nothing else leads on.
//! - Of those that ask for the same, the one invoked first stands for all: it could do whatever a later one could.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::history::Operation;
use super::model::{Action, Outcome, State, Step, step};

/// Positions that are looked at before the search gives up: some hundred MiB of memory, and many times what the history
/// of a long run needs, which is about one for each operation.
const POSITIONS_MAX: usize = 8_000_000;

/// Why a history is not accepted. `Display` shows where the explanation ends.
#[derive(Debug, Clone)]
pub struct Violation {
    /// False when the search gave up before it knew.
    pub is_certain: bool,
    /// How many operations were placed at the most, of how many that must be.
    pub placed: (usize, usize),
    /// The state there.
    pub state: State,
    /// Those placed last, in order.
    pub before: Vec<Operation>,
    /// Those of which one would have to come next.
    pub stuck: Vec<Operation>,
}

/// Looks for an order of `operations`, from state `initial` on, that explains what their clients saw. Gives the number
/// of positions that it looked at.
///
/// # Errors
/// [`Violation`] when there is none.
pub fn check(initial: State, operations: &[Operation]) -> Result<usize, Violation> {
    Search::new(initial, operations).run()
}

struct Search {
    /// Those that must be placed, by invocation; then those of unknown outcome.
    operations: Vec<Operation>,
    /// How many must be placed.
    required: usize,
    events: Events,
    guesses: Vec<Guess>,
    state: State,
    /// Stands for the set of operations placed: the exclusive or of a random number for each.
    placed: u128,
    tried: HashSet<(u128, State)>,
    path: Vec<Placed>,
    /// How many on the path were required.
    explained: usize,
    positions: usize,
    best: Option<Violation>,
}

/// Operations of unknown outcome that ask for the same.
struct Guess {
    action: Action,
    /// Their places in `Search::operations`, by invocation; those before `used` are placed.
    members: Vec<usize>,
    used: usize,
}

struct Placed {
    operation: usize,
    /// The state before it.
    before: State,
    from: From,
}

/// Where an operation was taken from, and so where to go on when it leads nowhere.
#[derive(Clone, Copy)]
enum From {
    /// It changed nothing: nothing else need be tried in its place.
    Forced,
    /// The event of its invocation.
    Event(usize),
    /// The guess with this number.
    Guess(usize),
}

enum Choice {
    Place(usize, State, From),
    Stuck,
    Explained,
}

impl Search {
    fn new(initial: State, operations: &[Operation]) -> Self {
        let counts = |one: &&Operation| {
            // a read of which nothing was heard says nothing
            one.outcome != Outcome::Failed && !(one.outcome == Outcome::Unknown && one.action == Action::Read)
        };
        let mut operations: Vec<Operation> = operations.iter().filter(counts).copied().collect();
        operations.sort_by_key(|one| (one.outcome == Outcome::Unknown, one.invoked));
        let required = operations.partition_point(|one| one.outcome != Outcome::Unknown);
        let mut groups: HashMap<Action, Vec<usize>> = HashMap::new();
        for (at, one) in operations.iter().enumerate().skip(required) {
            groups.entry(one.action).or_default().push(at);
        }
        let mut guesses: Vec<_> =
            groups.into_iter().map(|(action, members)| Guess { action, members, used: 0 }).collect();
        guesses.sort_by_key(|guess| guess.members[0]);
        Self {
            events: Events::of(&operations[..required]),
            operations,
            required,
            guesses,
            state: initial,
            placed: 0,
            tried: HashSet::new(),
            path: Vec::new(),
            explained: 0,
            positions: 0,
            best: None,
        }
    }

    fn run(mut self) -> Result<usize, Violation> {
        let mut choice = self.choose();
        loop {
            choice = match choice {
                Choice::Explained => return Ok(self.positions),
                Choice::Place(operation, after, from) => {
                    self.place(operation, after, from);
                    self.choose()
                }
                Choice::Stuck => {
                    self.note_where();
                    match self.back() {
                        Some(choice) if self.positions < POSITIONS_MAX => choice,
                        rest => return Err(self.violation(rest.is_none())),
                    }
                }
            };
        }
    }

    /// What to do at a position that is new.
    fn choose(&mut self) -> Choice {
        let mut at = self.events.first();
        while let Some(Event::Invoked(operation)) = self.events.get(at) {
            match self.step(operation) {
                Step::Never => return Choice::Stuck,
                Step::To(after) if after == self.state => {
                    let is_new = self.tries(operation, after);
                    return if is_new {
                        Choice::Place(operation, after, From::Forced)
                    } else {
                        Choice::Stuck
                    };
                }
                Step::To(_) | Step::NotNow => at = self.events.next(at),
            }
        }
        self.choose_from_event(self.events.first())
    }

    /// The next choice among the operations that may come next, from the event `at` on.
    fn choose_from_event(&mut self, mut at: usize) -> Choice {
        loop {
            match self.events.get(at) {
                None => return Choice::Explained,
                Some(Event::Completed(_)) => return self.choose_guess(0),
                Some(Event::Invoked(operation)) => {
                    if let Step::To(after) = self.step(operation)
                        && self.tries(operation, after)
                    {
                        return Choice::Place(operation, after, From::Event(at));
                    }
                    at = self.events.next(at);
                }
            }
        }
    }

    /// The next choice among the operations of unknown outcome.
    fn choose_guess(&mut self, first: usize) -> Choice {
        let by = self.first_completion();
        for number in first..self.guesses.len() {
            let guess = &self.guesses[number];
            let Some(&operation) = guess.members.get(guess.used) else { continue };
            if self.operations[operation].invoked > by {
                continue;
            }
            if let Step::To(after) = step(self.state, guess.action, Outcome::Unknown)
                && self.tries(operation, after)
            {
                return Choice::Place(operation, after, From::Guess(number));
            }
        }
        Choice::Stuck
    }

    /// When the first of those not yet placed was completed.
    fn first_completion(&self) -> u64 {
        let mut at = self.events.first();
        loop {
            match self.events.get(at) {
                None => return u64::MAX,
                Some(Event::Completed(operation)) => return self.operations[operation].completed,
                Some(Event::Invoked(_)) => at = self.events.next(at),
            }
        }
    }

    fn step(&self, operation: usize) -> Step {
        let Operation { action, outcome, .. } = self.operations[operation];
        step(self.state, action, outcome)
    }

    /// Whether the position that `operation` leads to is new.
    fn tries(&mut self, operation: usize, after: State) -> bool {
        self.positions += 1;
        self.tried.insert((self.placed ^ mark(operation), after))
    }

    fn place(&mut self, operation: usize, after: State, from: From) {
        self.path.push(Placed { operation, before: self.state, from });
        self.placed ^= mark(operation);
        self.state = after;
        match from {
            From::Guess(number) => self.guesses[number].used += 1,
            From::Event(_) | From::Forced => self.events.remove(operation),
        }
        self.explained += usize::from(operation < self.required);
    }

    /// Takes back operations until there is another choice.
    fn back(&mut self) -> Option<Choice> {
        loop {
            let Placed { operation, before, from } = self.path.pop()?;
            self.placed ^= mark(operation);
            self.state = before;
            self.explained -= usize::from(operation < self.required);
            match from {
                From::Forced => self.events.restore(operation),
                From::Event(at) => {
                    self.events.restore(operation);
                    let next = self.events.next(at);
                    return Some(self.choose_from_event(next));
                }
                From::Guess(number) => {
                    self.guesses[number].used -= 1;
                    return Some(self.choose_guess(number + 1));
                }
            }
        }
    }

    /// Keeps the position at which most was explained.
    fn note_where(&mut self) {
        const SHOWN: usize = 12;
        if self.best.as_ref().is_some_and(|best| best.placed.0 >= self.explained) {
            return;
        }
        let last = &self.path[self.path.len().saturating_sub(SHOWN)..];
        let mut stuck = Vec::new();
        let mut at = self.events.first();
        while let Some(Event::Invoked(operation)) = self.events.get(at) {
            stuck.push(self.operations[operation]);
            at = self.events.next(at);
        }
        self.best = Some(Violation {
            is_certain: true,
            placed: (self.explained, self.required),
            state: self.state,
            before: last.iter().map(|one| self.operations[one.operation]).collect(),
            stuck,
        });
    }

    fn violation(self, is_certain: bool) -> Violation {
        let best = self.best.expect("the search was stuck before it ended");
        Violation { is_certain, ..best }
    }
}

/// A random number for an operation, always the same (splitmix64, twice). Two different sets of operations have the same
/// exclusive or with a chance of 2^-128 for each pair of sets: never.
fn mark(operation: usize) -> u128 {
    let mix = |seed: u64| {
        let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let seed = 2 * operation as u64 + 1;
    u128::from(mix(seed)) << 64 | u128::from(mix(seed + 1))
}

#[derive(Clone, Copy)]
enum Event {
    Invoked(usize),
    Completed(usize),
}

/// Invocations and completions in the order of time, of the operations not yet placed: a doubly linked list in arrays.
/// Element 0 is both ends; removed elements remember where they were, and come back in the reverse order.
struct Events {
    all: Vec<Option<Event>>,
    next: Vec<usize>,
    previous: Vec<usize>,
    /// Where each operation is invoked and completed.
    of: Vec<(usize, usize)>,
}

impl Events {
    fn of(operations: &[Operation]) -> Self {
        let mut timed: Vec<(u64, bool, usize)> = Vec::new();
        for (at, one) in operations.iter().enumerate() {
            assert!(one.invoked <= one.completed, "{one}");
            // what begins at the moment at which another ends counts as beside it
            timed.push((one.invoked, false, at));
            timed.push((one.completed, true, at));
        }
        timed.sort_unstable();
        let mut of = vec![(0, 0); operations.len()];
        let mut all = vec![None];
        for (_, is_completion, operation) in timed {
            if is_completion {
                of[operation].1 = all.len();
                all.push(Some(Event::Completed(operation)));
            } else {
                of[operation].0 = all.len();
                all.push(Some(Event::Invoked(operation)));
            }
        }
        let count = all.len();
        let next = (0..count).map(|at| (at + 1) % count).collect();
        let previous = (0..count).map(|at| (at + count - 1) % count).collect();
        Self { all, next, previous, of }
    }

    fn first(&self) -> usize {
        self.next[0]
    }

    fn next(&self, at: usize) -> usize {
        self.next[at]
    }

    /// None past the last one.
    fn get(&self, at: usize) -> Option<Event> {
        self.all[at]
    }

    fn remove(&mut self, operation: usize) {
        let (invoked, completed) = self.of[operation];
        for at in [invoked, completed] {
            self.next[self.previous[at]] = self.next[at];
            self.previous[self.next[at]] = self.previous[at];
        }
    }

    fn restore(&mut self, operation: usize) {
        let (invoked, completed) = self.of[operation];
        for at in [completed, invoked] {
            self.next[self.previous[at]] = at;
            self.previous[self.next[at]] = at;
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (placed, required) = self.placed;
        if self.is_certain {
            writeln!(f, "no order of the operations explains what was seen")?;
        } else {
            writeln!(f, "no order was found that explains what was seen, and the search gave up")?;
        }
        writeln!(f, "{placed} of {required} are explained and lead to {}; the last of them:", self.state)?;
        for operation in &self.before {
            writeln!(f, "  {operation}")?;
        }
        writeln!(f, "one of these would have to be next, and none fits:")?;
        for operation in &self.stuck {
            writeln!(f, "  {operation}")?;
        }
        Ok(())
    }
}
