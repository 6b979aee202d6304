//! A histogram of atomics: observing is two additions and takes no lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Where the buckets of a histogram end.
#[derive(Debug)]
pub struct Buckets {
    /// The largest value of each bucket, ascending; one without an end follows.
    ends: &'static [u64],
    /// So many of what is observed are one of what is told.
    per_unit: u32,
}

/// Durations, observed in nanoseconds and told in seconds.
pub static SECONDS: Buckets = Buckets {
    ends: &[
        100_000,
        250_000,
        500_000,
        1_000_000,
        2_500_000,
        5_000_000,
        10_000_000,
        25_000_000,
        50_000_000,
        100_000_000,
        250_000_000,
        500_000_000,
        1_000_000_000,
        2_500_000_000,
        10_000_000_000,
    ],
    per_unit: 1_000_000_000,
};

/// How many of something come together.
pub static COUNTS: Buckets = Buckets { ends: &[1, 2, 4, 8, 16, 32, 64, 128, 256, 1_024], per_unit: 1 };

/// Sizes in bytes, from 64 KiB to 1 GiB.
pub static SIZES: Buckets = Buckets {
    ends: &[1 << 16, 1 << 18, 1 << 20, 1 << 21, 1 << 22, 1 << 24, 1 << 26, 1 << 28, 1 << 30],
    per_unit: 1,
};

/// See the module.
#[derive(Debug)]
pub struct Histogram {
    buckets: &'static Buckets,
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// What a histogram has seen.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    pub(super) sum: f64,
    pub(super) count: u64,
    /// End and count of each bucket, the last one without an end.
    pub(super) buckets: Vec<(f64, u64)>,
}

impl Histogram {
    /// An empty one.
    pub fn new(buckets: &'static Buckets) -> Self {
        let counts = (0..=buckets.ends.len()).map(|_| AtomicU64::new(0)).collect();
        Self { buckets, counts, sum: AtomicU64::new(0) }
    }

    /// Takes in one value.
    pub fn observe(&self, value: u64) {
        let bucket = self.buckets.ends.partition_point(|end| *end < value);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Takes in a duration, for [`SECONDS`].
    pub fn took(&self, duration: Duration) {
        self.observe(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How many values it has taken in.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    #[allow(clippy::cast_precision_loss, reason = "the format has no other numbers")]
    pub(super) fn seen(&self) -> Seen {
        let per_unit = f64::from(self.buckets.per_unit);
        let ends = self.buckets.ends.iter().map(|end| *end as f64 / per_unit).chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = ends.zip(counts).collect();
        Seen {
            sum: self.sum.load(Ordering::Relaxed) as f64 / per_unit,
            // of the very counts that are told, so that both always agree
            count: buckets.iter().map(|(_, count)| count).sum(),
            buckets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_at_an_end_is_within_and_one_past_it_is_not() {
        for buckets in [&SECONDS, &COUNTS, &SIZES] {
            assert!(buckets.ends.is_sorted());
            for (at, end) in buckets.ends.iter().enumerate() {
                let histogram = Histogram::new(buckets);
                histogram.observe(*end);
                histogram.observe(end + 1);
                let seen = histogram.seen();
                assert_eq!((seen.buckets[at].1, seen.buckets[at + 1].1, seen.count), (1, 1, 2), "{end}");
            }
        }
    }

    #[test]
    fn what_is_told_is_in_base_units() {
        let histogram = Histogram::new(&SECONDS);
        histogram.took(Duration::from_millis(1_500));
        histogram.took(Duration::MAX);
        let seen = histogram.seen();
        assert_eq!(seen.buckets[0].0.to_string(), "0.0001");
        assert_eq!(seen.buckets.last().copied(), Some((f64::INFINITY, 1)));
        assert_eq!((seen.count, histogram.count()), (2, 2));
    }
}
