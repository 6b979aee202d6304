//! Whether a connection does what it is open for: a pure decision over what was seen of it from time to time.

use crate::taking::Span;

/// How patient one is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Without a request.
    pub(crate) idle_ms: u64,
    /// From a head's first byte to its last.
    pub(crate) header_ms: u64,
    /// Of what is taken, when not all of it is.
    pub(crate) bytes_per_s_min: u64,
}

/// What is seen of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sight {
    /// Requests begun so far.
    pub(crate) begun: u64,
    /// Requests and streams under way, or answers that wait to be taken.
    pub(crate) under_way: bool,
    /// Bytes that came, of these until the last request ended, and bytes that went.
    pub(crate) read: u64,
    pub(crate) served: u64,
    pub(crate) written: u64,
    /// Since the last look more was to be sent than the client took.
    pub(crate) stuck: bool,
    /// Its head is HTTP/2's: what comes between requests is no head.
    pub(crate) http2: bool,
}

/// What is to become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    GoOn,
    /// It may finish, and begins nothing new.
    Close,
    /// It is cut, because of this.
    Cut(&'static str),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pace {
    patience: Patience,
    /// Requests begun at the last look.
    begun: u64,
    /// When anything was last under way.
    busy_ms: u64,
    /// Since when a head is awaited.
    head_ms: Option<u64>,
    /// Since when the client does not take all that is sent, and how much it had taken then.
    stuck: Option<Span>,
    closing: bool,
}

impl Pace {
    pub(crate) fn new(patience: Patience) -> Self {
        // the first request is awaited from the beginning
        Self { patience, begun: 0, busy_ms: 0, head_ms: Some(0), stuck: None, closing: false }
    }

    /// Looks at it, `now_ms` after it began.
    pub(crate) fn look(&mut self, sight: Sight, now_ms: u64) -> Verdict {
        let before = std::mem::replace(&mut self.begun, sight.begun);
        let busy = sight.under_way || sight.begun != before;
        if busy || sight.http2 {
            self.head_ms = None;
        }
        let waits = sight.begun == 0 || sight.read > sight.served;
        if waits && !sight.under_way && !sight.http2 {
            self.head_ms.get_or_insert(now_ms);
        }
        if busy {
            self.busy_ms = now_ms;
        }
        if self.is_stuck(sight, now_ms) {
            return Verdict::Cut("its answers are taken too slowly");
        }
        if self.head_ms.is_some_and(|since| now_ms >= since + self.patience.header_ms) {
            return Verdict::Cut("a request's head came too slowly");
        }
        if now_ms < self.busy_ms + self.patience.idle_ms {
            return Verdict::GoOn;
        }
        self.busy_ms = now_ms; // as long again to finish
        if std::mem::replace(&mut self.closing, true) { Verdict::Cut("it idled") } else { Verdict::Close }
    }

    fn is_stuck(&mut self, sight: Sight, now_ms: u64) -> bool {
        if !sight.stuck {
            self.stuck = None;
            return false;
        }
        let span = self.stuck.get_or_insert(Span { from_ms: now_ms, taken: sight.written });
        span.is_too_slow(sight.written, now_ms, self.patience.bytes_per_s_min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        Pace::new(Patience { idle_ms: 60_000, header_ms: 10_000, bytes_per_s_min: 100 })
    }

    const SILENT: Sight =
        Sight { begun: 0, under_way: false, read: 0, served: 0, written: 0, stuck: false, http2: false };
    const SERVED: Sight = Sight { begun: 1, read: 100, served: 100, written: 100, ..SILENT };

    #[test]
    fn the_first_head_is_awaited_from_the_beginning() {
        for sight in [SILENT, Sight { read: 30, ..SILENT }] {
            let mut pace = pace();
            assert_eq!(pace.look(sight, 9_999), Verdict::GoOn);
            assert!(matches!(pace.look(Sight { read: sight.read + 1, ..sight }, 10_000), Verdict::Cut(_)));
        }
    }

    #[test]
    fn a_later_head_is_awaited_from_its_first_byte() {
        let mut pace = pace();
        assert_eq!(pace.look(SERVED, 1_000), Verdict::GoOn);
        assert_eq!(pace.look(SERVED, 40_000), Verdict::GoOn, "it idles, and may");
        for ms in [41_000, 45_000, 50_999] {
            // a byte now and then makes it no younger
            assert_eq!(pace.look(Sight { read: 100 + ms, ..SERVED }, ms), Verdict::GoOn);
        }
        assert!(matches!(pace.look(Sight { read: 999_999, ..SERVED }, 51_000), Verdict::Cut(_)));
    }

    #[test]
    fn a_head_that_begins_before_the_request_before_it_was_looked_at_is_awaited_as_well() {
        let mut pace = pace();
        let begins = Sight { read: 107, ..SERVED };
        assert_eq!(pace.look(begins, 1_000), Verdict::GoOn);
        assert_eq!(pace.look(begins, 10_999), Verdict::GoOn);
        assert!(matches!(pace.look(begins, 11_000), Verdict::Cut(_)));
        // each head has its own time
        let mut pace = self::pace();
        for begun in 1..40 {
            let begins = Sight { begun, read: begun * 100 + 7, served: begun * 100, ..SILENT };
            assert_eq!(pace.look(begins, begun * 1_000), Verdict::GoOn);
        }
    }

    #[test]
    fn between_the_requests_of_http_2_no_head_is_awaited() {
        let mut pace = pace();
        for ms in 1..59_u64 {
            let pings = Sight { http2: true, read: ms, ..SILENT };
            assert_eq!(pace.look(pings, ms * 1_000), Verdict::GoOn);
        }
    }

    #[test]
    fn what_idles_is_closed_and_then_cut() {
        let mut pace = pace();
        assert_eq!(pace.look(SERVED, 1_000), Verdict::GoOn);
        assert_eq!(pace.look(SERVED, 60_999), Verdict::GoOn);
        assert_eq!(pace.look(SERVED, 61_000), Verdict::Close);
        assert_eq!(pace.look(SERVED, 120_999), Verdict::GoOn);
        assert!(matches!(pace.look(SERVED, 121_000), Verdict::Cut(_)));
    }

    #[test]
    fn what_is_under_way_does_not_idle() {
        let mut pace = pace();
        for ms in (0..1_000_000).step_by(1_000) {
            assert_eq!(pace.look(Sight { under_way: true, ..SERVED }, ms), Verdict::GoOn);
        }
    }

    #[test]
    fn a_reader_takes_as_fast_as_it_must() {
        let taking = |per_s: u64| {
            let mut pace = pace();
            let mut verdicts = (0..90).map(|s: u64| {
                let sight = Sight { begun: 1, under_way: true, written: s * per_s, stuck: true, ..SILENT };
                pace.look(sight, s * 1_000)
            });
            verdicts.any(|verdict| verdict != Verdict::GoOn)
        };
        assert!(!taking(100) && taking(99) && taking(0));
        // with nothing left to take there is nothing to hurry for
        let mut pace = pace();
        let rests = Sight { begun: 1, under_way: true, ..SILENT };
        assert!((0..90).all(|s: u64| pace.look(rests, s * 1_000) == Verdict::GoOn));
    }
}
