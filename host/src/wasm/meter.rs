//! How long a turn has really run, and until when it may.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

/// Processor time of one turn: the time within polls, not the time between them. Shared by the future that is timed and
/// by the interrupt callback that looks at it from within; both run on the same thread, so plain loads and stores do.
#[derive(Debug)]
pub(super) struct Meter {
    start: Instant,
    /// Nanoseconds within the polls that are over.
    spent: AtomicU64,
    /// When the current poll began, in nanoseconds since `start`.
    since: AtomicU64,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), spent: AtomicU64::new(0), since: AtomicU64::new(0) }
    }

    /// Time used so far, the current poll included. To be asked from within a poll.
    pub(super) fn used(&self) -> Duration {
        let current = self.now().saturating_sub(self.since.load(Ordering::Relaxed));
        Duration::from_nanos(self.spent.load(Ordering::Relaxed) + current)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn resume(&self) {
        self.since.store(self.now(), Ordering::Relaxed);
    }

    fn pause(&self) {
        let used = self.used();
        self.spent.store(u64::try_from(used.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Runs `future` on the meter, until `until` at the latest: then it is dropped and `None` comes back. Most turns are over
/// with their first poll; only the others pay for a timer.
pub(super) async fn run<F: Future>(
    future: F,
    meter: &Meter,
    until: tokio::time::Instant,
) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut timer = None;
    std::future::poll_fn(|cx| {
        meter.resume();
        let polled = future.as_mut().poll(cx);
        meter.pause();
        match polled {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => {
                let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
                timer.as_mut().poll(cx).map(|()| None)
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn waiting_is_not_counted_and_running_is() {
        let meter = Meter::new();
        let far = tokio::time::Instant::now() + Duration::from_mins(1);
        let work = async {
            tokio::time::sleep(Duration::from_millis(60)).await;
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(10) {
                std::hint::spin_loop();
            }
            meter.used()
        };
        let used = run(work, &meter, far).await.unwrap();
        assert!(used >= Duration::from_millis(10) && used < Duration::from_millis(60), "{used:?}");
    }

    #[tokio::test]
    async fn the_time_limit_ends_what_waits() {
        let soon = tokio::time::Instant::now() + Duration::from_millis(5);
        assert_eq!(run(std::future::pending::<()>(), &Meter::new(), soon).await, None);
    }
}
