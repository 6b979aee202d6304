//! How long a turn has really run, and until when it may.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::ticker::TICK;

/// What a first poll may count for at the most. A running guest is interrupted, and its poll thereby ended, at the first
/// or second tick; what took longer by the wall was time in which the thread, or all of the process, stood still.
const FIRST_POLL_MAX: Duration = TICK.saturating_mul(2);
/// Stands for the first poll where a later one has its beginning.
const FIRST: u64 = u64::MAX;

/// Processor time of one turn: what its thread used within its polls, and neither the time between them nor the time in
/// which the thread did not run. Shared by the future that is timed and by the interrupt callback that looks at it from
/// within; both run on the same thread, so plain loads and stores do.
///
/// Reading a thread's clock is a system call, and most turns are over with their first poll. So that one is timed by the
/// wall, up to [`FIRST_POLL_MAX`], and only the later ones, of turns that wait or run long, by the thread's clock.
#[derive(Debug)]
pub(super) struct Meter {
    start: Instant,
    /// Nanoseconds within the polls that are over.
    spent: AtomicU64,
    /// What the thread's clock showed when the current poll began, in nanoseconds; or [`FIRST`].
    since: AtomicU64,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), spent: AtomicU64::new(0), since: AtomicU64::new(FIRST) }
    }

    /// Time used so far, the current poll included. To be asked from within a poll.
    pub(super) fn used(&self) -> Duration {
        let current = match self.since.load(Ordering::Relaxed) {
            FIRST => self.start.elapsed().min(FIRST_POLL_MAX),
            since => Duration::from_nanos(thread_nanos().saturating_sub(since)),
        };
        Duration::from_nanos(self.spent.load(Ordering::Relaxed)) + current
    }

    /// A poll begins that is not the first one.
    fn resume(&self) {
        self.since.store(thread_nanos(), Ordering::Relaxed);
    }

    /// A poll ends, and there will be another one.
    fn pause(&self) {
        self.spent.store(nanos(self.used()), Ordering::Relaxed);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The processor time that this thread has used since it began.
fn thread_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // never negative, and no thread lives for 500 years
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Runs `future` on the meter, until `until` at the latest: then it is dropped and `None` comes back. Most turns are over
/// with their first poll; only the others pay for a timer.
pub(super) async fn run<F: Future>(
    mut future: Pin<&mut F>,
    meter: &Meter,
    until: tokio::time::Instant,
) -> Option<F::Output> {
    let mut timer = None;
    std::future::poll_fn(|cx| {
        if timer.is_some() {
            meter.resume();
        }
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => {
                meter.pause();
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
    use std::pin::pin;
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn far() -> tokio::time::Instant {
        tokio::time::Instant::now() + Duration::from_mins(10)
    }

    /// Keeps the processor busy until `done`, and ends the poll at every tick as an interrupted guest does.
    async fn spin_until(mut done: impl FnMut() -> bool) {
        let mut tick = Instant::now();
        while !done() {
            if tick.elapsed() >= TICK {
                tokio::task::yield_now().await;
                tick = Instant::now();
            }
        }
    }

    #[tokio::test]
    async fn waiting_is_not_counted_and_running_is() {
        let meter = Meter::new();
        let work = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let before = meter.used();
            spin_until(|| meter.used() >= Duration::from_millis(20)).await;
            before
        };
        let before = run(pin!(work), &meter, far()).await.unwrap();
        assert!(before <= FIRST_POLL_MAX * 2, "waiting counted as {before:?}");
        assert!(meter.used() >= Duration::from_millis(20), "{:?}", meter.used());
    }

    /// As when the process is stopped in the middle of a turn.
    #[tokio::test]
    async fn a_thread_that_stands_still_uses_nothing() {
        for polls_before in [0, 3] {
            let meter = Meter::new();
            let work = async {
                for _ in 0..polls_before {
                    tokio::task::yield_now().await;
                }
                std::thread::sleep(Duration::from_millis(500));
                meter.used()
            };
            let used = run(pin!(work), &meter, far()).await.unwrap();
            assert!(used < Duration::from_millis(100), "{used:?} after {polls_before} polls");
        }
    }

    /// Many threads on few processors: each gets its part, and is charged for no more.
    #[test]
    fn what_other_threads_use_is_not_counted() {
        let over = AtomicBool::new(false);
        let rivals = 4 * std::thread::available_parallelism().unwrap().get();
        let (wall, used) = std::thread::scope(|scope| {
            for _ in 0..rivals {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            let turn = std::thread::spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                let (meter, begun) = (Meter::new(), Instant::now());
                let work = spin_until(|| begun.elapsed() >= Duration::from_millis(500));
                runtime.block_on(run(pin!(work), &meter, far())).unwrap();
                (begun.elapsed(), meter.used())
            });
            let measured = turn.join();
            over.store(true, Ordering::Relaxed);
            measured.unwrap()
        });
        assert!(used < wall.mul_f64(0.6), "{used:?} of {wall:?} beside {rivals} others");
        assert!(used > Duration::from_millis(5), "{used:?} of {wall:?}");
    }

    #[tokio::test]
    async fn the_time_limit_ends_what_waits() {
        let soon = tokio::time::Instant::now() + Duration::from_millis(5);
        assert_eq!(run(pin!(std::future::pending::<()>()), &Meter::new(), soon).await, None);
    }
}
