//! What may be asked of a caller.

use oprc_mesh::access::Action;
use oprc_mesh::id::ClassName;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need<'r> {
    /// Nothing: it tells nothing but whether the gateway works.
    Nothing,
    /// To be somebody: what is answered depends on who asks, or the body says what is needed.
    Somebody,
    /// Any action in the class.
    AnyIn(&'r ClassName),
    /// The action in the class.
    In(Action, &'r ClassName),
    /// The action everywhere.
    Everywhere(Action),
}
