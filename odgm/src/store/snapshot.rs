//! A consistent view of the state database that keeps the database open.

use std::sync::Arc;

use self_cell::self_cell;

use super::state::StateDb;

type Borrowed<'db> = rocksdb::Snapshot<'db>;

self_cell!(
    /// Old versions that it sees stay on disk while it lives, so it is to be short-lived.
    pub(crate) struct OwnedSnapshot {
        owner: Arc<StateDb>,
        #[covariant]
        dependent: Borrowed,
    }
);

impl OwnedSnapshot {
    pub(crate) fn take(state: &Arc<StateDb>) -> Self {
        Self::new(state.clone(), |state| state.db.snapshot())
    }

    pub(crate) fn view(&self) -> &rocksdb::Snapshot<'_> {
        self.borrow_dependent()
    }
}
