//! Membership: who counts as down, where partitions should be, and how each Raft group gets there. Decisions are pure
//! ([`plan`], [`steps`], [`crate::placement`]); [`driver`] carries them out for what this host leads. The catalog's leader
//! decides only where partitions should be; each group's own leader moves it there and tells the catalog when it has.

mod driver;
mod plan;
mod sightings;
#[cfg(test)]
mod sim_tests;
mod steered;
mod steps;
#[cfg(test)]
mod steps_tests;

pub(crate) use self::driver::{Driver, Signals};
pub(crate) use self::plan::Rules;
pub(crate) use self::steered::Steered;
