//! What is told of the door and the places: how full they are, and how many were refused so far.

use std::sync::atomic::Ordering;

use oprc_mesh::metrics::Count;

use super::{Admission, UNIT_BYTES};

/// See the module.
pub(crate) struct Load {
    pub(crate) calls: usize,
    pub(crate) calls_max: usize,
    pub(crate) calls_shed: u64,
    pub(crate) held_bytes: usize,
    pub(crate) held_bytes_max: usize,
    pub(crate) bodies_shed: u64,
    pub(crate) answers_shed: u64,
}

/// How many were refused since start.
#[derive(Default)]
pub(super) struct Shed {
    /// Calls and other requests, for whatever limit or share.
    pub(super) calls: Count,
    /// Bodies for which there was no room.
    pub(super) bodies: Count,
    /// Requests for whose answers there was no room.
    pub(super) answers: Count,
}

impl Admission {
    /// How it stands.
    pub(crate) fn load(&self) -> Load {
        let held = self.held_units_max.saturating_sub(self.held.available_permits());
        Load {
            calls: self.calls.load(Ordering::Relaxed),
            calls_max: self.strain.limit(),
            calls_shed: self.shed.calls.get(),
            held_bytes: held * UNIT_BYTES,
            held_bytes_max: self.held_units_max * UNIT_BYTES,
            bodies_shed: self.shed.bodies.get(),
            answers_shed: self.shed.answers.get(),
        }
    }
}
