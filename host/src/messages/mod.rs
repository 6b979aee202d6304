//! Runs the messages that partitions have taken: on each partition's leader, the first of each lane, a bounded number at
//! once. What is waiting stays on the disk; here are only the names of what is being run.

pub(crate) mod dead;
mod window;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use oprc_mesh::catalog::ClassSettings;
use oprc_mesh::clock::now_ms;
use oprc_mesh::outcome::Problem;
use oprc_odgm::{Inbound, Odgm, OdgmError, Outcome, Partition, ReadyKey, Settle, Verdict, crash_point};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::window::Window;
use crate::metrics::Attempt;
use crate::turn::{Came, Turns, judge, settings_for};

/// Messages of one partition that run at once.
const WINDOW: usize = 64;
/// Messages of all partitions of this host that run at once.
const RUNNING_MAX: usize = 256;
/// The pause after a failure that is not a message's own.
const PAUSE: Duration = Duration::from_millis(200);
/// However far off the next attempt is, the clock of the system is looked at again.
const LOOK_MAX: Duration = Duration::from_secs(30);

/// Runs messages for as long as this host lives.
pub(crate) async fn run(odgm: Arc<Odgm>, turns: Arc<Turns>, stop: CancellationToken) {
    let running = Arc::new(Semaphore::new(RUNNING_MAX));
    let work = move |partition, term| {
        let executor = Executor { turns: turns.clone(), partition, term, running: running.clone() };
        async move { executor.run().await }
    };
    odgm.while_leading(work, stop).await;
}

/// Runs the messages of one partition in one term.
struct Executor {
    turns: Arc<Turns>,
    partition: Arc<Partition>,
    term: u64,
    running: Arc<Semaphore>,
}

impl Executor {
    async fn run(&self) {
        let mut window = Window::new(WINDOW);
        let mut flights = FuturesUnordered::new();
        loop {
            let next_ms = match self.fill(&mut window) {
                Ok((ready, next_ms)) => {
                    flights.extend(ready.into_iter().map(|key| self.fly(key)));
                    next_ms
                }
                Err(error) => {
                    tracing::warn!(group = self.partition.group(), %error, "messages cannot be read");
                    Some(now_ms() + 1_000)
                }
            };
            tokio::select! {
                Some(key) = flights.next(), if !flights.is_empty() => window.done(key),
                () = self.partition.rung() => {}
                () = until(next_ms) => {}
            }
        }
    }

    /// What is to be run now, and when there will be more, if nothing rings before.
    fn fill(&self, window: &mut Window) -> Result<(Vec<ReadyKey>, Option<u64>), OdgmError> {
        // the clock first: what becomes ready after this carries no earlier time
        let clock_ms = self.partition.clock_ms()?;
        let (from, limit) = window.wants();
        let keys = self.partition.ready_keys(from, limit)?;
        Ok(window.fill(&keys, limit, clock_ms, now_ms()))
    }

    /// Runs one message, and sees that it is settled unless the failure was not its own.
    async fn fly(&self, key: ReadyKey) -> ReadyKey {
        if let Err(problem) = self.deliver(key).await {
            tracing::debug!(group = self.partition.group(), %problem, "a message waits");
            sleep(PAUSE).await;
        }
        key
    }

    async fn deliver(&self, key: ReadyKey) -> Result<(), Problem> {
        let _permit = self.running.acquire().await; // never closed
        let Some(inbound) = self.partition.inbound(key)? else { return Ok(()) };
        crash_point("before-turn");
        let came = self.turns.deliver(self.partition.group(), &inbound).await;
        crash_point("after-turn");
        let settled = self.settle(&inbound, came).await;
        self.turns.moved(&inbound.message);
        settled
    }

    /// Settles a message unless its run has, or the failure was not its own.
    async fn settle(&self, inbound: &Inbound, came: Result<Came, Problem>) -> Result<(), Problem> {
        let (key, metrics) = (inbound.key, self.turns.metrics());
        let settle = match came {
            Ok(Came::Settled) => {
                metrics.attempted(Attempt::Done);
                return Ok(());
            }
            Ok(Came::Ran) => verdict(key, Verdict::Consumed),
            Ok(Came::Elsewhere(to_group)) => Settle { to_group, ..verdict(key, Verdict::Forward) },
            Ok(Came::Refused(problem)) => Settle { problem: Some(problem), ..verdict(key, Verdict::Dead) },
            Ok(Came::Decided(outcome)) => {
                metrics.attempted(Attempt::Done);
                return self.decided(inbound, *outcome).await;
            }
            Err(problem) => {
                let judged = self.judged(inbound, &problem);
                // as a rule the run has settled it, with what else was to be committed of its failure
                if self.partition.inbound(key)?.is_none() {
                    metrics.attempted(judged.map_or(Attempt::Done, |settle| Attempt::of(settle.verdict())));
                    return Ok(());
                }
                let Some(settle) = judged else {
                    metrics.attempted(Attempt::Interrupted);
                    return Err(problem);
                };
                settle
            }
        };
        metrics.attempted(Attempt::of(settle.verdict()));
        crash_point("before-settle");
        let settled = self.partition.settle(self.term, settle).await.map(drop);
        crash_point("after-settle");
        settled
    }

    /// Keeps what an asynchronous call came to that changed nothing.
    async fn decided(&self, inbound: &Inbound, outcome: Outcome) -> Result<(), Problem> {
        let Inbound { key, message, .. } = inbound;
        let Some(asked) = &message.asked else { return Ok(()) };
        let call = (asked.class, message.object.as_str(), asked.invocation.as_str());
        crash_point("before-settle");
        let settle = verdict(*key, Verdict::Consumed);
        let settled = self.partition.settle_asked(self.term, settle, call, outcome).await;
        crash_point("after-settle");
        settled
    }

    /// What becomes of a message whose run failed; none when the failure was not its own.
    fn judged(&self, inbound: &Inbound, problem: &Problem) -> Option<Settle> {
        let view = self.turns.view();
        let settings = settings_for(&view, &inbound.message);
        let asked = inbound.message.asked.is_some();
        judge(problem, inbound.key, inbound.attempts, asked, settings.unwrap_or(&ClassSettings::default()))
    }
}

fn verdict(ready: ReadyKey, verdict: Verdict) -> Settle {
    Settle { ready, verdict: verdict as i32, ..Settle::default() }
}

async fn until(next_ms: Option<u64>) {
    match next_ms {
        Some(at_ms) => sleep(Duration::from_millis(at_ms.saturating_sub(now_ms())).min(LOOK_MAX)).await,
        None => pending().await,
    }
}
