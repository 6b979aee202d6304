//! How many calls may be under way: as many as are answered without waiting for each other. Pure: time and what was
//! measured come from outside.
//!
//! Each answer is held against the quickest one that its method gave lately (`strain`). It is *late* when it took more than
//! twice as long, and more than [`SLACK_US`] longer: a queue has built up somewhere. When most answers of a window are late the limit
//! falls, by as much as they were late (the gradient of Netflix' concurrency-limits); otherwise it grows by a tenth, up to
//! what it may be at the most. The window is that of `CoDel` (RFC 8289), whose insight it is that a queue is bad only when it
//! stands.
//!
//! A method that takes four seconds by nature is late only when it takes more than eight. One whose time depends on its
//! arguments may look late while nothing is wrong. So nothing falls on such evidence alone: it makes the gateway look
//! whether a question that needs no work is slow as well ([`is_strained`]), and what is at rest answers it at once.

/// What is measured is judged after so long ...
pub(super) const WINDOW_MS: u64 = 100;
/// ... if there is enough of it; and with less after this.
const WINDOW_MS_MAX: u64 = 1_000;
/// Answers that are enough.
const SEEN_ENOUGH: u32 = 8;
/// Fewer are no evidence at all.
const SEEN_LEAST: u32 = 3;
/// Nobody minds so much more. It leaves room for callers that call again as soon as they are answered, of whom a few dozen
/// keep a machine busy and make no queue grow.
pub(super) const SLACK_US: u64 = 4_000;
/// In one window it falls by half at the most, and by a tenth at the least ...
const FALL: (f64, f64) = (0.5, 0.9);
/// ... and grows by a tenth, and one.
const GROWTH: f64 = 1.1;
/// A question that needs no work passes fewer queues than a call does: it need be late by this part of it only.
const PROBE_PART: u64 = 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Adaptive {
    most: f64,
    /// It never falls below this, so that what is slow for another reason goes on.
    least: f64,
    limit: f64,
    window: Window,
    /// What the limit would fall to, while it is looked whether it must.
    suspected: Option<f64>,
}

#[derive(Debug, Default)]
struct Window {
    began_ms: u64,
    seen: u32,
    late: u32,
    /// What the answers should have taken of what they took.
    gradient: f64,
    late_us: u64,
}

/// Answers are late by so much: is it the machine?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Suspicion {
    pub(super) late_us: u64,
}

/// Whether a question that needs no work took so long that it must be the machine.
pub(super) const fn is_strained(suspicion: Suspicion, probe_us: u64) -> bool {
    probe_us.saturating_mul(PROBE_PART) >= suspicion.late_us
}

#[allow(clippy::cast_precision_loss, reason = "nothing here is counted past 2^52")]
impl Adaptive {
    pub(super) fn new(most: usize, least: usize) -> Self {
        let most = most as f64;
        Self { most, least: most.min(least as f64), limit: most, window: Window::default(), suspected: None }
    }

    /// Calls that may be under way.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is between none and the most"
    )]
    pub(super) fn limit(&self) -> usize {
        self.limit as usize
    }

    /// Takes note of an answer, and of the quickest of its kind.
    pub(super) fn observe(&mut self, took_us: u64, quickest_us: u64) {
        let allowed_us = quickest_us + quickest_us.max(SLACK_US);
        let window = &mut self.window;
        window.seen += 1;
        window.gradient += (allowed_us as f64 / took_us.max(1) as f64).min(1.0);
        if took_us > allowed_us {
            window.late += 1;
            window.late_us += took_us - quickest_us;
        }
    }

    /// When [`Self::turn`] has something to do at the earliest.
    pub(super) fn due_ms(&self) -> u64 {
        self.window.began_ms + WINDOW_MS
    }

    /// Judges what was seen until now, if it is time. `peak` is how many calls were under way at once.
    pub(super) fn turn(&mut self, now_ms: u64, peak: usize) -> Option<Suspicion> {
        let age_ms = now_ms.saturating_sub(self.window.began_ms);
        let seen = self.window.seen;
        if age_ms < WINDOW_MS || (seen > 0 && seen < SEEN_ENOUGH && age_ms < WINDOW_MS_MAX) {
            return None;
        }
        let Window { late, gradient, late_us, .. } =
            std::mem::replace(&mut self.window, Window { began_ms: now_ms, ..Window::default() });
        if self.suspected.is_some() {
            return None; // it is being looked at
        }
        if seen >= SEEN_LEAST && late * 2 > seen {
            let factor = (gradient / f64::from(seen)).clamp(FALL.0, FALL.1);
            let target = (self.limit.min(peak as f64) * factor).max(self.least);
            if target < self.limit {
                self.suspected = Some(target);
                return Some(Suspicion { late_us: late_us / u64::from(late) });
            }
            return None;
        }
        // a pause counts as all the windows that it took
        let windows = i32::try_from(age_ms / WINDOW_MS).unwrap_or(i32::MAX).min(100);
        self.limit = (self.limit * GROWTH.powi(windows) + 1.0).min(self.most);
        None
    }

    /// What became of a suspicion.
    pub(super) fn looked(&mut self, strained: bool) {
        if let Some(target) = self.suspected.take()
            && strained
        {
            self.limit = self.limit.min(target);
        }
    }
}
