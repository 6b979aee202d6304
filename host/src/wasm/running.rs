//! One turn under way: its place, its store with every limit set, and what it came to.

use std::sync::Arc;
use std::time::Duration;

use oprc_mesh::outcome::{Code, Problem};
use tokio::time::Instant;
use wasmtime::{Engine, Store};

use super::access::ObjectAccess;
use super::budget::Budget;
use super::call::Call;
use super::failure;
use super::meter::Meter;
use super::slots::{Slot, Slots};
use super::state::{self, State};
use super::stdio;
use super::ticker::{Running as Ticking, Ticker};
use crate::outgoing::Outgoing;

/// What turns of all modules share.
pub(super) struct Place {
    pub(super) ticker: Arc<Ticker>,
    pub(super) budget: Budget,
    pub(super) slots: Arc<Slots>,
    pub(super) outgoing: Outgoing,
}

/// See the module. To be run by [`super::meter::run`] until `until`, and then ended.
pub(super) struct Running<'p> {
    _slot: Slot<'p>,
    _ticking: Ticking<'p>,
    pub(super) store: Store<State>,
    pub(super) meter: Arc<Meter>,
    pub(super) until: Instant,
    wall: Instant,
    call: Arc<Call>,
}

/// What a turn came to, and the access that it was given.
pub(super) type Ended<T> = (Result<T, Problem>, Box<dyn ObjectAccess>);

impl<'p> Running<'p> {
    /// Takes a place and makes the store. Without a place the access comes back.
    pub(super) fn begin(
        place: &'p Place,
        engine: &Engine,
        call: &Arc<Call>,
        access: Box<dyn ObjectAccess>,
    ) -> Result<Self, Box<dyn ObjectAccess>> {
        let Some(slot) = place.slots.enter(call.chain.len()) else { return Err(access) };
        let ticking = place.ticker.running();
        let wall = Instant::now() + Duration::from_millis(call.limits.wall_ms);
        let until = wall.min(call.deadline);
        let meter = Arc::new(Meter::new());
        let share = place.budget.share(call.chain.len());
        let store = state::store(engine, &place.outgoing, Arc::clone(call), access, until, &meter, share);
        Ok(Self { _slot: slot, _ticking: ticking, store, meter, until, wall, call: Arc::clone(call) })
    }

    /// Gives what it came to: what `done` says, none when its time was over.
    pub(super) fn end<T>(mut self, done: Option<wasmtime::Result<T>>) -> Ended<T> {
        let data = self.store.data_mut();
        let result = match (data.take_misuse(), done) {
            (Some(misuse), _) => Err(misuse),
            (None, Some(Ok(value))) => Ok(value),
            (None, Some(Err(error))) => Err(bounded(failure::problem(&error, &data.memory), &self.call)),
            (None, None) => Err(late(&self.call, self.wall, data.waits_for.as_deref())),
        };
        let State { access, memory, .. } = self.store.into_data();
        if let Err(problem) = &result {
            stdio::tell_end(problem, &self.call, &*access);
        }
        access.used(&self.call.class, memory.bytes());
        (result, access)
    }
}

/// What a request and, separately, its result may take.
pub(super) fn payload_bytes_max(call: &Call) -> usize {
    usize::try_from(call.limits.payload_kib).unwrap_or(usize::MAX).saturating_mul(1024)
}

/// Checks the size of a request, and that it did not come too late.
pub(super) fn check(call: &Call, request_bytes: usize) -> Result<(), Problem> {
    let bytes_max = payload_bytes_max(call);
    if request_bytes > bytes_max {
        let detail = format!("the request has {request_bytes} bytes; the class allows {bytes_max}");
        return Err(Problem::new(Code::PayloadTooLarge, detail));
    }
    if call.deadline <= Instant::now() {
        return Err(Problem::new(Code::Deadline, "the deadline passed before the function began"));
    }
    Ok(())
}

/// A function's own error is a result too.
fn bounded(problem: Problem, call: &Call) -> Problem {
    let (bytes, bytes_max) = (problem.error.len(), payload_bytes_max(call));
    if bytes <= bytes_max {
        return problem;
    }
    too_large(&format!("the function's error has {bytes} bytes"), bytes_max)
}

/// Something that the function gave is more than its class allows.
pub(super) fn too_large(what: &str, bytes_max: usize) -> Problem {
    Problem::new(Code::PayloadTooLarge, format!("{what}; the class allows {bytes_max}"))
        .hint("raise payload_kib in the manifest, or give less")
}

fn late(call: &Call, wall: Instant, waits_for: Option<&str>) -> Problem {
    if let Some(callee) = waits_for {
        let limit = if wall <= call.deadline {
            format!("wall_ms = {}", call.limits.wall_ms)
        } else {
            "the caller's deadline".to_owned()
        };
        return Problem::new(Code::CallTimeout, format!("{callee} had not answered when {limit} was over"));
    }
    if wall <= call.deadline {
        let detail = format!("the function took longer than {} ms", call.limits.wall_ms);
        Problem::new(Code::WallLimit, detail).hint("raise wall_ms in the manifest, or do less in one call")
    } else {
        Problem::new(Code::Deadline, "the caller's deadline passed while the function ran")
    }
}
