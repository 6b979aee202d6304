//! What clients did and what they were told, noted as it happens.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::model::{Action, Outcome, State};
use super::search::check;

/// One operation of one client on one object. Times are nanoseconds since the history began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Who.
    pub client: u32,
    /// Before this it cannot have taken effect.
    pub invoked: u64,
    /// After this it cannot have taken effect, unless its outcome is unknown.
    pub completed: u64,
    /// What was asked for.
    pub action: Action,
    /// What came of it.
    pub outcome: Outcome,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |ns: u64| Duration::from_nanos(ns).as_secs_f64() * 1e3;
        write!(
            f,
            "{:>10.3} ms .. {:>10.3} ms  client {:>2}: {} -> {}",
            ms(self.invoked),
            ms(self.completed),
            self.client,
            self.action,
            self.outcome
        )
    }
}

/// The operations on all objects, each of which began in the same state. A clone is the same history.
#[derive(Clone)]
pub struct History(Arc<Inner>);

struct Inner {
    begin: Instant,
    objects: Mutex<BTreeMap<String, Vec<Operation>>>,
}

impl Default for History {
    fn default() -> Self {
        Self(Arc::new(Inner { begin: Instant::now(), objects: Mutex::default() }))
    }
}

impl History {
    /// Notes that `client` is about to ask for `action`.
    pub fn invoke(&self, client: u32, object: &str, action: Action) -> Pending {
        let object = object.to_owned();
        Pending { history: self.clone(), object, client, action, invoked: self.now(), ended: false }
    }

    /// How many operations were completed so far, with whatever outcome.
    pub fn len(&self) -> usize {
        self.objects().values().map(Vec::len).sum()
    }

    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many operations had an outcome for which `is` holds.
    pub fn count(&self, is: impl Fn(&Outcome) -> bool) -> usize {
        let objects = self.objects();
        objects.values().flatten().filter(|operation| is(&operation.outcome)).count()
    }

    /// Checks every object, each of which was in state `initial` when the history began.
    ///
    /// # Panics
    /// When there is no explanation for what was seen of one. The message says where it ends and in which file the
    /// object's whole history lies.
    pub fn check(&self, initial: State) {
        let objects = self.objects().clone();
        for (object, operations) in objects {
            if let Err(violation) = check(initial, &operations) {
                panic!("{object}: {violation}\nthe whole history: {}", save(&object, &operations));
            }
        }
    }

    fn now(&self) -> u64 {
        self.0.begin.elapsed().as_nanos() as u64
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Operation>>> {
        self.0.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An operation under way. Dropped without an end, its outcome is unknown.
#[must_use]
pub struct Pending {
    history: History,
    object: String,
    client: u32,
    action: Action,
    invoked: u64,
    ended: bool,
}

impl Pending {
    /// Lets a read be one of any moment since the history began: what a stale read may be.
    pub fn at_any_time_before(mut self) -> Self {
        self.invoked = 0;
        self
    }

    /// Notes what came of it.
    pub fn end(mut self, outcome: Outcome) {
        self.note(outcome);
    }

    fn note(&mut self, outcome: Outcome) {
        let Self { client, invoked, action, .. } = *self;
        let completed = self.history.now();
        let operation = Operation { client, invoked, completed, action, outcome };
        self.history.objects().entry(self.object.clone()).or_default().push(operation);
        self.ended = true;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.ended {
            self.note(Outcome::Unknown);
        }
    }
}

/// Writes a history to a file for people, and gives its path.
fn save(object: &str, operations: &[Operation]) -> String {
    let mut sorted = operations.to_vec();
    sorted.sort_by_key(|operation| operation.invoked);
    let text = sorted.iter().fold(String::new(), |mut text, operation| {
        let _ = writeln!(text, "{operation}"); // writing to a String cannot fail
        text
    });
    let path = std::env::temp_dir().join(format!("oprc-history-{}-{object}.txt", std::process::id()));
    match std::fs::write(&path, text) {
        Ok(()) => path.display().to_string(),
        Err(error) => format!("not written: {error}"),
    }
}
