//! Whether what is sent is taken as fast as it must be: pure, and the same for a connection and for an answer.

/// It is looked at over so long: what a client takes shows only when buffers make room again, which they do by hundreds of KiB.
const STUCK_MS: u64 = 30_000;

/// A span of time that began when so many bytes had been taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) from_ms: u64,
    pub(crate) taken: u64,
}

impl Span {
    /// Whether too little was taken, now that so much has been in all. When it is long enough to tell, the next one begins.
    pub(crate) fn is_too_slow(&mut self, taken: u64, now_ms: u64, bytes_per_s_min: u64) -> bool {
        let spent_ms = now_ms.saturating_sub(self.from_ms);
        if spent_ms < STUCK_MS {
            return false;
        }
        let before = std::mem::replace(self, Self { from_ms: now_ms, taken });
        let taken = taken.saturating_sub(before.taken);
        taken.saturating_mul(1_000) < bytes_per_s_min.saturating_mul(spent_ms)
    }
}
