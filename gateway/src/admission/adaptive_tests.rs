//! The limit over a machine that is simulated: workers, a queue before them, and callers. Nothing here is random but by a
//! seed of its own.

use std::collections::VecDeque;

use super::adaptive::{Adaptive, SLACK_US, WINDOW_MS, is_strained};

const MOST: usize = 1_024;

/// Calls that each use a worker for `work_us`, in the order in which they came.
struct Machine {
    adaptive: Adaptive,
    workers: Vec<u64>,
    work_us: u64,
    /// When each call under way came and ends.
    under_way: VecDeque<(u64, u64)>,
    peak: usize,
    state: u64,
    took_us: Vec<u64>,
    refused: usize,
}

impl Machine {
    fn new(workers: usize, work_us: u64) -> Self {
        Self {
            adaptive: Adaptive::new(MOST, 4),
            workers: vec![0; workers],
            work_us,
            under_way: VecDeque::new(),
            peak: 0,
            state: 7,
            took_us: Vec::new(),
            refused: 0,
        }
    }

    /// Calls come for `ms`, at random, `per_s` of them in a second.
    fn run(&mut self, from_ms: u64, ms: u64, per_s: u64) {
        let mut now_us = from_ms * 1_000;
        while now_us < (from_ms + ms) * 1_000 {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            now_us += (self.state >> 33) % (2_000_000 / per_s).max(1);
            self.end_until(now_us);
            self.call(now_us);
        }
        self.end_until(now_us);
    }

    fn call(&mut self, now_us: u64) {
        if self.under_way.len() >= self.adaptive.limit() {
            self.refused += 1;
            return;
        }
        let worker = self.workers.iter_mut().min().expect("there are some");
        *worker = now_us.max(*worker) + self.work_us;
        let ends_us = *worker;
        let at = self.under_way.partition_point(|(_, end)| *end <= ends_us);
        self.under_way.insert(at, (now_us, ends_us));
        self.peak = self.peak.max(self.under_way.len());
    }

    fn end_until(&mut self, now_us: u64) {
        while let Some(&(came_us, ends_us)) = self.under_way.front().filter(|(_, end)| *end <= now_us) {
            self.under_way.pop_front();
            self.took_us.push(ends_us - came_us);
            self.adaptive.observe(ends_us - came_us, self.work_us);
            let suspicion = self.adaptive.turn(ends_us / 1_000, self.peak);
            if let Some(suspicion) = suspicion {
                // a question that needs no work waits once for those before it
                let queue_us = self.workers.iter().min().expect("there are some").saturating_sub(ends_us);
                self.adaptive.looked(is_strained(suspicion, queue_us));
                self.peak = 0;
            }
        }
    }

    fn percentile(&mut self, part: f64) -> u64 {
        self.took_us.sort_unstable();
        #[allow(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "a part of what was counted")]
        let at = (self.took_us.len() as f64 * part) as usize;
        self.took_us[at]
    }

    fn forget(&mut self) {
        self.took_us.clear();
        self.refused = 0;
    }
}

/// Twice of what two workers can do: as much is done as can be, and what is let in does not wait.
#[test]
fn under_twice_the_load_as_much_is_done_and_nobody_waits() {
    for (workers, work_us) in [(2, 300), (2, 2_000), (2, 20_000), (16, 1_000)] {
        let capacity = workers as u64 * 1_000_000 / work_us;
        let mut machine = Machine::new(workers, work_us);
        machine.run(0, 5_000, 2 * capacity);
        machine.forget();
        machine.run(5_000, 30_000, 2 * capacity);
        let done = machine.took_us.len() as u64;
        let (p50, p99) = (machine.percentile(0.5), machine.percentile(0.99));
        println!(
            "{workers} x {work_us} us: limit {}, {done} done, p50 {p50}, p99 {p99}",
            machine.adaptive.limit()
        );
        assert!(done * 100 >= 30 * capacity * 95, "{done} done of {}", 30 * capacity);
        assert!(p99 <= 2 * (work_us + work_us.max(SLACK_US)), "p99 is {p99} us of {work_us}");
        // and when it is over, it is over
        machine.run(35_000, 15_000, capacity / 2);
        machine.forget();
        machine.run(50_000, 5_000, capacity / 2);
        assert_eq!((machine.refused, machine.adaptive.limit()), (0, MOST));
    }
}

#[test]
fn under_what_it_can_do_nobody_is_refused() {
    for (workers, work_us) in [(2, 300), (2, 2_000), (16, 1_000)] {
        let capacity = workers as u64 * 1_000_000 / work_us;
        let mut machine = Machine::new(workers, work_us);
        machine.run(0, 60_000, capacity * 7 / 10);
        assert_eq!(machine.refused, 0, "{workers} x {work_us} us");
    }
}

/// Calls that take from a millisecond to four seconds because their callers want it so.
#[test]
fn what_takes_long_by_nature_is_no_load() {
    let mut adaptive = Adaptive::new(MOST, 4);
    for turn in 0..3_000_u64 {
        for _ in 0..20 {
            adaptive.observe(4_000_000, 1_000);
        }
        let suspicion = adaptive.turn(turn * WINDOW_MS, 500);
        if let Some(suspicion) = suspicion {
            adaptive.looked(is_strained(suspicion, 800));
        }
        assert_eq!(adaptive.limit(), MOST);
    }
}

/// A few slow methods beside many quick ones: the quick ones' trouble is seen, the slow ones make none.
#[test]
fn a_mixed_load_is_judged_by_most_of_it() {
    let mut adaptive = Adaptive::new(MOST, 4);
    let window = |adaptive: &mut Adaptive, turn: u64, quick_us: u64| {
        for _ in 0..5 {
            adaptive.observe(4_000_000 + quick_us, 4_000_000);
        }
        for _ in 0..50 {
            adaptive.observe(quick_us, 1_000);
        }
        if let Some(suspicion) = adaptive.turn(turn * WINDOW_MS, adaptive.limit()) {
            adaptive.looked(is_strained(suspicion, quick_us));
        }
    };
    for turn in 1..100 {
        window(&mut adaptive, turn, 2_000);
    }
    assert_eq!(adaptive.limit(), MOST);
    for turn in 100..150 {
        window(&mut adaptive, turn, 100_000);
    }
    assert!(adaptive.limit() < 20, "{}", adaptive.limit());
    for turn in 150..250 {
        window(&mut adaptive, turn, 2_000);
    }
    assert_eq!(adaptive.limit(), MOST);
}

#[test]
fn a_few_answers_are_no_evidence() {
    let mut adaptive = Adaptive::new(MOST, 4);
    adaptive.observe(1_000_000, 1_000);
    adaptive.observe(1_000_000, 1_000);
    assert_eq!(adaptive.turn(WINDOW_MS, 10), None, "it waits for more");
    assert_eq!(adaptive.turn(10 * WINDOW_MS, 10), None, "and they are too few");
    assert_eq!(adaptive.limit(), MOST);
}
