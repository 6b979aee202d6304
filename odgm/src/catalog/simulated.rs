//! A catalog without Raft and disk, for tests of what steers it.

use oprc_mesh::catalog::CatalogView;
use oprc_mesh::outcome::Problem;

use super::CatalogReply;
use super::change::decide;
use super::state::CatalogState;
use crate::record::CatalogCommand;

/// See the module.
#[derive(Default)]
pub(crate) struct Simulated {
    state: CatalogState,
    index: u64,
}

impl Simulated {
    pub(crate) fn run(&mut self, command: &CatalogCommand) -> Result<CatalogReply, Problem> {
        self.index += 1;
        let (effects, reply) = decide(&self.state, command, self.index)?;
        for effect in effects {
            self.state.absorb(effect);
        }
        Ok(reply)
    }

    pub(crate) fn view(&self) -> CatalogView {
        self.state.view()
    }
}
