//! The register that objects must behave like: a number with a version that counts its commits.

use std::fmt;

/// An object at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    /// The number.
    pub value: i64,
    /// Commits so far.
    pub version: u64,
}

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Changes nothing.
    Read,
    /// Adds to the number.
    Add(i64),
    /// Sets the number if the object is at this version.
    CompareAndSet {
        /// The version that it must have.
        version: u64,
        /// The number that it gets.
        value: i64,
    },
}

/// What the client was told of the object as it was right after its operation; what it was not told is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The number.
    pub value: Option<i64>,
    /// The version.
    pub version: Option<u64>,
}

/// How an operation ended, as far as its client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect.
    Done(Seen),
    /// A compare-and-set that found another version.
    Mismatch,
    /// It certainly took no effect.
    Failed,
    /// It may have taken effect, and may still do so.
    Unknown,
}

/// Whether an operation can take effect on a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It can, and leads there.
    To(State),
    /// Not on this one, but perhaps on a later one.
    NotNow,
    /// Neither on this one nor on any that can follow it: versions only grow.
    Never,
}

/// Whether `action`, which ended in `outcome`, can take effect on `state`.
pub(super) fn step(state: State, action: Action, outcome: Outcome) -> Step {
    let after = match action {
        Action::Read => state,
        Action::Add(by) => State { value: state.value.wrapping_add(by), version: state.version + 1 },
        Action::CompareAndSet { version, .. } if outcome == Outcome::Mismatch => {
            return if state.version == version { Step::NotNow } else { Step::To(state) };
        }
        Action::CompareAndSet { version, .. } if state.version < version => return Step::NotNow,
        Action::CompareAndSet { version, .. } if state.version > version => return Step::Never,
        Action::CompareAndSet { value, .. } => State { value, version: state.version + 1 },
    };
    let Outcome::Done(seen) = outcome else { return Step::To(after) };
    let fits = seen.value.is_none_or(|value| value == after.value)
        && seen.version.is_none_or(|version| version == after.version);
    match seen.version {
        _ if fits => Step::To(after),
        Some(version) if version <= after.version => Step::Never,
        _ => Step::NotNow,
    }
}

impl Seen {
    /// All of a state.
    pub fn all(state: State) -> Self {
        Self { value: Some(state.value), version: Some(state.version) }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at version {}", self.value, self.version)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read => write!(f, "read"),
            Self::Add(by) => write!(f, "add {by}"),
            Self::CompareAndSet { version, value } => write!(f, "set {value} if at version {version}"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |part: Option<String>| part.unwrap_or_else(|| "?".to_owned());
        match self {
            Self::Done(seen) => {
                let (value, version) =
                    (seen.value.map(|v| v.to_string()), seen.version.map(|v| v.to_string()));
                write!(f, "{} at version {}", known(value), known(version))
            }
            Self::Mismatch => write!(f, "another version"),
            Self::Failed => write!(f, "failed"),
            Self::Unknown => write!(f, "unknown"),
        }
    }
}
