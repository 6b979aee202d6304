//! The latch that stops a node whose storage failed. After a failed write or fsync nobody knows what is on the disk,
//! and a later success proves nothing (the kernel may have dropped the dirty pages). So the first failure is kept,
//! every later operation fails with it, and only a restart, which reads what is really there, clears it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use crate::error::OdgmError;

/// See the module. Clones share the latch.
#[derive(Clone)]
pub(crate) struct Poison(Arc<Latch>);

struct Latch {
    // spares the healthy path the lock of `reason`
    set: AtomicBool,
    reason: watch::Sender<Option<String>>,
}

impl Poison {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Latch { set: AtomicBool::new(false), reason: watch::Sender::new(None) }))
    }

    /// Fails once the latch is set.
    pub(crate) fn check(&self) -> Result<(), OdgmError> {
        if !self.0.set.load(Ordering::Acquire) {
            return Ok(());
        }
        let reason = self.0.reason.borrow().clone().unwrap_or_default();
        Err(OdgmError::Poisoned { reason })
    }

    /// Sets the latch, unless an earlier failure did; gives the error to report.
    pub(crate) fn latch(&self, error: &dyn std::fmt::Display) -> OdgmError {
        let reason = error.to_string();
        let first = self.0.reason.send_if_modified(|kept| {
            let first = kept.is_none();
            if first {
                *kept = Some(reason.clone());
            }
            first
        });
        self.0.set.store(true, Ordering::Release);
        if first {
            tracing::error!(%reason, "storage failed: this node serves nothing more until it is restarted");
        }
        OdgmError::Poisoned { reason }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Option<String>> {
        self.0.reason.subscribe()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_first_reason_stays() {
        let poison = Poison::new();
        assert!(poison.check().is_ok());
        poison.latch(&"disk full");
        poison.latch(&"something later");
        assert!(poison.check().unwrap_err().to_string().ends_with("disk full"));
        assert_eq!(poison.watch().borrow().as_deref(), Some("disk full"));
    }
}
