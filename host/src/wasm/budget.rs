//! The memory of all turns together. Each turn has its own limit; this one keeps many of them from taking the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Of the machine's memory, guests may take this part ...
const MACHINE_PART: usize = 2;
/// ... and so much where the machine does not tell.
const BYTES_UNKNOWN: usize = 2 * 1024 * 1024 * 1024;

/// What is left for guests. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<AtomicUsize>);

/// One turn's part of it; dropping it gives everything back.
#[derive(Debug)]
pub(super) struct Share {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    /// Half of the machine's memory.
    pub(super) fn of_machine() -> Self {
        Self::new(machine_bytes().map_or(BYTES_UNKNOWN, |bytes| bytes / MACHINE_PART))
    }

    pub(super) fn share(&self) -> Share {
        Share { budget: self.clone(), bytes: 0 }
    }
}

/// `MemTotal` of proc(5), in bytes.
fn machine_bytes() -> Option<usize> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

impl Share {
    /// Takes `bytes` more; false when that is not left.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let taken = self
            .budget
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes))
            .is_ok();
        if taken {
            self.bytes += bytes;
        }
        taken
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_turn_holds_another_cannot_have_until_it_ends() {
        let budget = Budget::new(100);
        let (mut first, mut second) = (budget.share(), budget.share());
        assert!(first.grow(60) && second.grow(40));
        assert!(!second.grow(1));
        drop(first);
        assert!(second.grow(60) && !second.grow(1));
        assert_eq!(second.bytes(), 100);
    }

    #[test]
    fn the_machine_tells_its_memory() {
        assert!(machine_bytes().is_some_and(|bytes| bytes > 64 * 1024 * 1024));
    }
}
