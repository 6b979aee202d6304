//! What a turn is told from outside.

use std::sync::Arc;

use bytes::Bytes;
use oprc_mesh::catalog::ClassLimits;
use oprc_mesh::egress::Egress;
use oprc_mesh::id::{ClassName, MethodName};
use oprc_mesh::wire::{Form, Header, Waiting};
use tokio::time::Instant;

use crate::logs::Said;

/// One call of a method or function.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The class.
    pub(crate) class: ClassName,
    /// The method's or function's name.
    pub(crate) method: MethodName,
    /// The arguments; empty is no arguments.
    pub(crate) payload: Bytes,
    /// What `payload` is.
    pub(crate) form: Form,
    /// What a `list<u8>` result should leave as.
    pub(crate) accept: Form,
    /// Names the call.
    pub(crate) invocation: String,
    /// Who calls; empty for nobody in particular.
    pub(crate) caller: String,
    /// Request headers that the guest may see.
    pub(crate) headers: Vec<Header>,
    /// The class's limits.
    pub(crate) limits: ClassLimits,
    /// The caller's own.
    pub(crate) deadline: Instant,
    /// Somebody may make it again hours later.
    pub(crate) keyed: bool,
    /// Run for a message: which try of it. No two tries have the same, also when it was a dead letter in between.
    pub(crate) attempts: u64,
    /// Who waits for it, one through the other, from the outermost on.
    pub(crate) chain: Vec<Waiting>,
    /// Where its requests may go.
    pub(crate) egress: Arc<Egress>,
    /// Who listens to what the guest says.
    pub(crate) said: Said,
}
