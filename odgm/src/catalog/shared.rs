//! The catalog's state in memory, shared between the state machine, which changes it, and everybody who reads it.

use std::sync::Arc;

use oprc_mesh::catalog::{CatalogView, Class};
use oprc_mesh::outcome::Problem;
use parking_lot::RwLock;
use tokio::sync::watch;

use super::keys::CatalogEffect;
use super::state::CatalogState;
use super::{CatalogReply, change, rollback};
use crate::error::OdgmError;
use crate::record::{CatalogChange, CatalogRecord};

/// See the module.
pub(crate) struct CatalogShared {
    state: RwLock<CatalogState>,
    view: watch::Sender<Arc<CatalogView>>,
}

impl CatalogShared {
    pub(crate) fn new() -> Self {
        Self { state: RwLock::default(), view: watch::Sender::new(Arc::default()) }
    }

    /// Replaces everything by stored records.
    pub(crate) fn load(&self, records: Vec<CatalogRecord>) -> Result<(), OdgmError> {
        let mut state = CatalogState::default();
        for record in records {
            let unknown = || OdgmError::corrupt("a catalog record", "its kind is unknown to this build");
            state.absorb(CatalogEffect::Put(record.item.ok_or_else(unknown)?));
        }
        *self.state.write() = state;
        self.publish();
        Ok(())
    }

    /// What a change would do; the inner error is a refusal, which every replica comes to alike.
    #[allow(clippy::type_complexity, reason = "a refusal and a failure are different things")]
    pub(crate) fn decide(
        &self,
        change: &CatalogChange,
        index: u64,
    ) -> Result<Result<(Vec<CatalogEffect>, CatalogReply), Problem>, OdgmError> {
        let unknown = || OdgmError::corrupt("a catalog change", "its kind is unknown to this build");
        let command = change.command.as_ref().ok_or_else(unknown)?;
        Ok(change::decide(&self.state.read(), command, index))
    }

    /// What a rollback of a class to version `to`, or to the one before if that is 0, would bring back.
    ///
    /// # Errors
    /// As the rollback itself.
    pub(crate) fn rollback_target(&self, class: &str, to: u64) -> Result<Class, Problem> {
        rollback::target(&self.state.read(), class, to).cloned()
    }

    /// Takes in what a change did and shows it.
    pub(crate) fn absorb(&self, effects: Vec<CatalogEffect>) {
        if effects.is_empty() {
            return;
        }
        {
            let mut state = self.state.write();
            for effect in effects {
                state.absorb(effect);
            }
        }
        self.publish();
    }

    fn publish(&self) {
        let view = Arc::new(self.state.read().view());
        self.view.send_replace(view);
    }

    /// Looks at the state.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&CatalogState) -> R) -> R {
        look(&self.state.read())
    }

    pub(crate) fn view(&self) -> Arc<CatalogView> {
        self.view.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Arc<CatalogView>> {
        self.view.subscribe()
    }
}
