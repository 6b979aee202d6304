//! How many bytes of entries are under way to each host, of all groups together: what a host that catches up on many groups
//! has to hold in memory at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// At so many bytes a group sends nothing more to the host than one request after the other.
const WINDOW_BYTES: usize = 16 * 1024 * 1024;

/// The windows of all hosts.
#[derive(Default)]
pub(super) struct Windows(Mutex<HashMap<u64, Window>>);

/// One host's.
#[derive(Clone, Default)]
pub(super) struct Window(Arc<AtomicUsize>);

/// Bytes under way, for as long as it lives.
pub(super) struct Taken {
    window: Window,
    bytes: usize,
}

impl Windows {
    pub(super) fn of(&self, host: u64) -> Window {
        self.0.lock().entry(host).or_default().clone()
    }
}

impl Window {
    pub(super) fn is_full(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= WINDOW_BYTES
    }

    pub(super) fn take(&self, bytes: usize) -> Taken {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Taken { window: self.clone(), bytes }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.window.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_window_for_all_groups_and_no_other_hosts() {
        let windows = Windows::default();
        let most = windows.of(1).take(WINDOW_BYTES - 1);
        assert!(!windows.of(1).is_full());
        let last = windows.of(1).take(1);
        assert!(windows.of(1).is_full() && !windows.of(2).is_full());
        drop(last);
        assert!(!windows.of(1).is_full());
        drop(most);
    }
}
