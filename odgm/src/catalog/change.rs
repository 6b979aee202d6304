//! What a command does to the catalog, decided without clock, randomness or I/O. A refusal changes nothing.

use super::draft::Decision;
use super::state::CatalogState;
use super::{access, canary, classes, nodes, partitions, rollback};
use crate::record::CatalogCommand;

/// What `command`, at `index` of the catalog's log, does.
pub(super) fn decide(state: &CatalogState, command: &CatalogCommand, index: u64) -> Decision {
    match command {
        CatalogCommand::Found(founding) => nodes::found(state, *founding, index),
        CatalogCommand::SetNode(node) => nodes::set_node(state, node, index),
        CatalogCommand::SetState(change) => nodes::set_state(state, *change, index),
        CatalogCommand::Place(place) => partitions::place(state, place, index),
        CatalogCommand::Settle(settle) => partitions::settle(state, settle, index),
        CatalogCommand::Deploy(deploy) => classes::deploy(state, deploy, index),
        CatalogCommand::Rollback(to) => rollback::rollback(state, to, index),
        CatalogCommand::Canary(record) => canary::deploy(state, record, index),
        CatalogCommand::Promote(promote) => canary::promote(state, promote, index),
        CatalogCommand::Remove(remove) => classes::remove(state, remove, index),
        CatalogCommand::ChangeKey(change) => access::change(state, change, index),
    }
}
