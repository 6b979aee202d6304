//! Places at which a test may have the process end as if it were killed there. Only in builds with debug assertions.

/// Ends the process here when the environment says `OPRC_TEST_CRASH=<place>`, or `<place>:<n>` for the n-th time.
#[cfg(debug_assertions)]
pub fn crash_point(place: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static WANTED: LazyLock<Option<(String, AtomicU64)>> = LazyLock::new(|| {
        let wanted = std::env::var("OPRC_TEST_CRASH").ok()?;
        let (place, times) = wanted.split_once(':').unwrap_or((&wanted, "1"));
        Some((place.to_owned(), AtomicU64::new(times.parse().unwrap_or(1))))
    });
    if let Some((wanted, left)) = &*WANTED
        && wanted == place
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        std::process::abort();
    }
}

/// Does nothing.
#[cfg(not(debug_assertions))]
#[inline]
pub fn crash_point(_: &str) {}
