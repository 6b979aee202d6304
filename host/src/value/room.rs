//! How much memory the arguments of a call may take on the host. A short text may stand for large values: each `{}` of a
//! list of wide records is all of the record's fields. So values are counted before they are made.

use super::path::Refused;

/// What a small allocation costs beside its bytes.
pub(super) const ALLOCATION_BYTES: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Room {
    bytes_max: usize,
    taken: usize,
}

impl Room {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, taken: 0 }
    }

    /// Takes `bytes`.
    ///
    /// # Errors
    /// There is no room for them; [`Self::is_over`] then says so for the whole call.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Refused> {
        self.taken = self.taken.saturating_add(bytes);
        if self.is_over() {
            return Err(Refused(format!(
                "the arguments take more than {} MiB of the host's memory",
                self.bytes_max / (1024 * 1024)
            )));
        }
        Ok(())
    }

    pub(super) fn is_over(&self) -> bool {
        self.taken > self.bytes_max
    }

    pub(super) fn taken(&self) -> usize {
        self.taken
    }
}
