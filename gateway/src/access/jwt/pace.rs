//! How often keys are fetched: by the clock, and at once for a token that names a key which is not known. Anybody can make up such
//! tokens, so that is done rarely, whoever asks.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, timeout};

/// How long a fetch may take.
pub(super) const FETCH: Duration = Duration::from_secs(5);
/// Between two fetches for tokens' sake.
const ASK: Duration = Duration::from_secs(30);
/// How long a request waits for one.
const PATIENCE: Duration = Duration::from_secs(6);
/// Requests that wait for one at once; more are refused without.
const WAITING_MAX: usize = 256;
/// For how long keys are taken for new, within what the issuer's `Cache-Control` says, and without it.
const FRESH_MIN: Duration = Duration::from_mins(1);
const FRESH_MAX: Duration = Duration::from_hours(24);
const FRESH_DEFAULT: Duration = Duration::from_mins(10);

// who waits sees how the fetch ends
const _: () = assert!(PATIENCE.as_millis() > FETCH.as_millis());
const _: () = assert!(PATIENCE.as_millis() < ASK.as_millis());

/// For how long keys are taken for new that came with this `Cache-Control`.
pub(super) fn fresh(cache_control: Option<&str>) -> Duration {
    let directives = || cache_control.unwrap_or_default().split(',').map(str::trim);
    if directives().any(|one| one.eq_ignore_ascii_case("no-store") || one.eq_ignore_ascii_case("no-cache")) {
        return FRESH_MIN;
    }
    let seconds = directives().find_map(|one| {
        let (name, value) = one.split_once('=')?;
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("max-age").then(|| value.parse().ok()).flatten()
    });
    seconds.map_or(FRESH_DEFAULT, Duration::from_secs).clamp(FRESH_MIN, FRESH_MAX)
}

/// Fetches for tokens' sake.
pub(super) struct Asks {
    pace: Mutex<Pace>,
    wanted: Notify,
    /// How many came to their end.
    done: watch::Sender<u64>,
    waiting: Semaphore,
}

/// When the last one began.
#[derive(Default)]
struct Pace {
    last: Option<Instant>,
    under_way: bool,
}

/// What comes of the wish for one.
#[derive(Debug, PartialEq, Eq)]
enum Ask {
    Begin,
    Join,
    TooSoon,
}

impl Pace {
    fn ask(&mut self, now: Instant) -> Ask {
        if self.under_way {
            return Ask::Join;
        }
        if self.last.is_some_and(|last| now < last + ASK) {
            return Ask::TooSoon;
        }
        *self = Self { last: Some(now), under_way: true };
        Ask::Begin
    }
}

impl Asks {
    pub(super) fn new() -> Self {
        Self {
            pace: Mutex::default(),
            wanted: Notify::new(),
            done: watch::Sender::new(0),
            waiting: Semaphore::new(WAITING_MAX),
        }
    }

    /// Waits for keys that are fetched now; false when none are.
    pub(super) async fn ask(&self) -> bool {
        let Ok(_place) = self.waiting.try_acquire() else { return false };
        let mut done = self.done.subscribe();
        let asked = self.pace.lock().ask(Instant::now());
        match asked {
            Ask::TooSoon => return false,
            Ask::Begin => self.wanted.notify_one(),
            Ask::Join => {}
        }
        matches!(timeout(PATIENCE, done.changed()).await, Ok(Ok(())))
    }

    /// Waits until somebody asks.
    pub(super) async fn asked(&self) {
        self.wanted.notified().await;
    }

    /// What was asked for was fetched, or could not be.
    pub(super) fn answer(&self) {
        self.pace.lock().under_way = false;
        self.done.send_modify(|done| *done += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_new_for_as_long_as_the_issuer_says_within_bounds() {
        for (said, expected) in [
            (None, FRESH_DEFAULT),
            (Some(""), FRESH_DEFAULT),
            (Some("public"), FRESH_DEFAULT),
            (Some("public, max-age=301, must-revalidate"), Duration::from_secs(301)),
            (Some("Max-Age = \"301\""), Duration::from_secs(301)),
            (Some("max-age=0"), FRESH_MIN),
            (Some("max-age=999999999999"), FRESH_MAX),
            (Some("max-age=99999999999999999999999"), FRESH_DEFAULT),
            (Some("max-age=-1"), FRESH_DEFAULT),
            (Some("s-maxage=5"), FRESH_DEFAULT),
            (Some("no-store, max-age=300"), FRESH_MIN),
        ] {
            assert_eq!(fresh(said), expected, "{said:?}");
        }
    }

    #[test]
    fn who_asks_again_and_again_has_them_fetched_rarely() {
        let mut pace = Pace::default();
        let begin = Instant::now();
        assert_eq!(pace.ask(begin), Ask::Begin);
        assert_eq!(pace.ask(begin + ASK * 2), Ask::Join, "one at a time");
        pace.under_way = false;
        assert_eq!(pace.ask(begin + ASK - Duration::from_millis(1)), Ask::TooSoon);
        assert_eq!(pace.ask(begin + ASK), Ask::Begin);
    }

    #[tokio::test]
    async fn all_who_ask_meanwhile_are_answered_by_one_fetch() {
        let asks = std::sync::Arc::new(Asks::new());
        let askers: Vec<_> = (0..WAITING_MAX + 10)
            .map(|_| {
                let asks = asks.clone();
                tokio::spawn(async move { asks.ask().await })
            })
            .collect();
        asks.asked().await;
        while asks.waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        asks.answer();
        let mut answered = 0;
        for asker in askers {
            answered += usize::from(asker.await.unwrap());
        }
        assert_eq!(answered, WAITING_MAX, "the others did not wait");
        assert!(!asks.ask().await, "it is too soon");
        assert!(tokio::time::timeout(Duration::from_millis(1), asks.asked()).await.is_err());
    }
}
