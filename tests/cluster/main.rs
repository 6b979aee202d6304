//! Many hosts, and what goes wrong between them: one promise per module, which stands at its head. Tests run one at a
//! time, because each is several processes. `make test` runs all of it; `make soak` runs `soak` for long;
//! `cargo test --release --test cluster NAME` runs a part.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod access;
mod asynchronous;
mod canary;
mod catalog_leader;
mod events;
mod events_many;
mod exactly_once;
mod faults;
mod fresh_reads;
mod lifecycle;
mod linearizable;
mod logs;
mod lost_and_doubled;
mod membership;
mod messages;
mod nested;
mod no_quorum;
mod one_host;
mod outgoing;
mod placement;
mod rolling;
mod router;
mod snapshot;
mod soak;

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Longer than a leader's lease (at the most 1 s) and the election after it (at the most 1 s more).
const PAST_THE_LEASE: Duration = Duration::from_millis(2_500);

/// Runs a test with the machine to itself, as far as this binary goes.
fn alone(test: impl Future<Output = ()>) {
    static ONE: Mutex<()> = Mutex::new(());
    // another test's failure is not this one's
    let _turn = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    oprc_tests::run(test);
}
