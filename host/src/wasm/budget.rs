//! The memory of all turns together. Each turn has its own limit; this one keeps many of them from taking the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::slots::bytes_kept;

/// Of the machine's memory, guests may take this part ...
const MACHINE_PART: usize = 2;
/// ... and so much where the machine does not tell.
const BYTES_UNKNOWN: usize = 2 * 1024 * 1024 * 1024;

/// What is left for guests. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    left: Arc<AtomicUsize>,
    total: usize,
}

/// One turn's part of it; dropping it gives everything back.
#[derive(Debug)]
pub(super) struct Share {
    budget: Budget,
    bytes: usize,
    /// What is left to others that this one may wait for.
    kept: usize,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self { left: Arc::new(AtomicUsize::new(bytes)), total: bytes }
    }

    /// Half of the machine's memory.
    pub(super) fn of_machine() -> Self {
        Self::new(machine_bytes().map_or(BYTES_UNKNOWN, |bytes| bytes / MACHINE_PART))
    }

    /// What is taken, and what there is.
    pub(super) fn taken(&self) -> (usize, usize) {
        (self.total.saturating_sub(self.left.load(Ordering::Relaxed)), self.total)
    }

    /// The part of a turn that `depth` others wait for.
    pub(super) fn share(&self, depth: usize) -> Share {
        Share { budget: self.clone(), bytes: 0, kept: bytes_kept(self.total, depth) }
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
        let kept = self.kept;
        let rest = |left: usize| left.checked_sub(bytes).filter(|rest| *rest >= kept);
        let taken = self.budget.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest).is_ok();
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
        self.budget.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_turn_holds_another_cannot_have_until_it_ends() {
        let budget = Budget::new(100);
        let (mut first, mut second) = (budget.share(0), budget.share(0));
        assert!(first.grow(60) && second.grow(40));
        assert!(!second.grow(1));
        drop(first);
        assert!(second.grow(60) && !second.grow(1));
        assert_eq!(second.bytes(), 100);
    }

    #[test]
    fn what_is_kept_for_nested_turns_an_outer_one_cannot_have() {
        let budget = Budget::new(512);
        let (mut outer, mut inner) = (budget.share(0), budget.share(64));
        assert!(!outer.grow(449) && outer.grow(448));
        assert!(!outer.grow(1) && inner.grow(64) && !inner.grow(1));
    }

    #[test]
    fn the_machine_tells_its_memory() {
        assert!(machine_bytes().is_some_and(|bytes| bytes > 64 * 1024 * 1024));
    }
}
