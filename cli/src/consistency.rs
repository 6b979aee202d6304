//! How new a read must be, as the command line says it.

use clap::ValueEnum;

/// How new what is read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Consistency {
    /// All that was acknowledged before: the leader's word, by its lease
    Lease,
    /// The same without relying on clocks: the leader asks a majority first
    Linearizable,
    /// What any replica has, however old; says how old it may be
    Stale,
}

impl Consistency {
    /// As a query parameter; none for what is meant anyway.
    pub(crate) fn query(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Lease => None,
            Self::Linearizable => Some(("consistency", "linearizable")),
            Self::Stale => Some(("consistency", "stale")),
        }
    }
}
