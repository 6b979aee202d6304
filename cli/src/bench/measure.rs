//! One measurement: the workload and the bare handler in turns.

use std::time::Duration;

use crate::args::Workload;
use crate::bench::load::{Bound, Fleet, Sample, Target};
use crate::failure::Failure;

/// Turns of each side. Enough that a disturbance meets both, and each long enough to be in its stride.
const ROUNDS: u32 = 5;
/// Before the first turn both sides run for this part of one, uncounted.
const WARM_UP: f64 = 0.3;

/// How long a measurement takes.
pub(super) struct Plan {
    turn: Duration,
    turn_requests: u64,
}

impl Plan {
    /// `seconds` and, if given, `requests` of each side over all turns.
    pub(super) fn new(seconds: f64, requests: Option<u64>) -> Self {
        let turn = Duration::from_secs_f64(seconds / f64::from(ROUNDS));
        let turn_requests = requests.map_or(u64::MAX, |requests| requests.div_ceil(u64::from(ROUNDS)));
        Self { turn, turn_requests }
    }
}

/// What a measurement came to.
pub(super) struct Measured {
    pub(super) kind: Workload,
    pub(super) clients: u32,
    pub(super) ours: Sample,
    pub(super) bare: Sample,
}

impl Measured {
    /// Our rate as a part of the bare handler's.
    pub(super) fn ratio(&self) -> f64 {
        let bare = self.bare.rate();
        if bare > 0.0 { self.ours.rate() / bare } else { 0.0 }
    }
}

/// Measures one workload with a number of clients.
pub(super) async fn measure(
    kind: Workload,
    clients: u32,
    target: &Target,
    bare: &Target,
    plan: &Plan,
) -> Result<Measured, Failure> {
    let mut ours = Fleet::connect(target, clients).await?;
    let mut theirs = Fleet::connect(bare, clients).await?;
    let warm_up = plan.turn.mul_f64(WARM_UP);
    theirs.run(Bound::new(warm_up, plan.turn_requests)).await?;
    ours.run(Bound::new(warm_up, plan.turn_requests)).await?;
    let mut measured = Measured { kind, clients, ours: Sample::new()?, bare: Sample::new()? };
    for _ in 0..ROUNDS {
        measured.bare.merge_next(theirs.run(Bound::new(plan.turn, plan.turn_requests)).await?);
        measured.ours.merge_next(ours.run(Bound::new(plan.turn, plan.turn_requests)).await?);
    }
    Ok(measured)
}
