//! What a turn sees of the grid.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use futures::future::BoxFuture;
use oprc_mesh::id::{ClassName, FieldKey, MethodName, ObjectId};
use oprc_mesh::outcome::Problem;
use oprc_mesh::wire;
use tokio::time::Instant;

use super::call::Call;

/// Why an access fails. It ends the turn, and the caller gets it as it is.
pub(crate) type TurnError = Problem;

/// The state that one turn reads and writes: the committed fields under the turn's own buffered writes. One per turn;
/// every call is quick and does not wait.
///
/// The imports have checked keys, ids, value sizes and page limits before; the rest is up to the implementation: a write
/// in a read-only method is `invalid`, too many writes are `write-limit`.
pub(crate) trait ObjectAccess: Any + Send {
    /// The object that the method is called on; `None` in a function. Without one, only [`Self::others`] is called.
    fn object(&self) -> Option<(&ClassName, &ObjectId)>;
    /// The version that the turn started from; 0 when the object does not exist.
    fn version(&self) -> u64;
    /// A field's value.
    fn get(&mut self, key: &FieldKey) -> Result<Option<Bytes>, TurnError>;
    /// Sets a field.
    fn set(&mut self, key: FieldKey, value: Bytes) -> Result<(), TurnError>;
    /// Deletes a field and tells whether it was there.
    fn delete(&mut self, key: &FieldKey) -> Result<bool, TurnError>;
    /// Fields in key order from after `after` on, and whether more follow. May end early after at least one item.
    fn list(
        &mut self,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<(Vec<wire::Field>, bool), TurnError>;
    /// Deletes the object.
    fn clear(&mut self) -> Result<(), TurnError>;
    /// Tells something with the turn's commit.
    fn emit(&mut self, emitted: wire::Emitted) -> Result<(), TurnError>;

    /// Sends a message once the turn is committed.
    fn send(&mut self, letter: Letter) -> Result<(), TurnError>;
    /// Cancels the object's message of that name; tells whether there was one that was not due.
    fn cancel(&mut self, key: &FieldKey) -> Result<bool, TurnError>;

    /// Makes the next call of the turn that `call` asked for; it is over by `until`. An error ends the turn.
    fn call(
        &mut self,
        call: &Call,
        callee: Callee,
        until: Instant,
    ) -> BoxFuture<'static, Result<Called, TurnError>>;

    /// How the turn's requests leave the cluster.
    fn exit(&self) -> Exit;

    /// Waits until all that the turn sees of its object is committed, so that reads of objects are not older.
    ///
    /// # Errors
    /// What ends the turn.
    fn settled(&self, _until: Instant) -> BoxFuture<'static, Result<(), Problem>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// The run is over; it had so much memory at the most.
    fn used(&self, _class: &ClassName, _memory_bytes: usize) {}

    /// Other objects.
    fn others(&self) -> Arc<dyn OtherObjects>;
}

/// Waits until all that a turn builds on is durable, or until the time is over; see [`Exit`].
pub(crate) type PassGate = Box<dyn Fn(Instant) -> BoxFuture<'static, Result<(), TurnError>> + Send>;

/// How a turn's requests leave the cluster.
pub(crate) struct Exit {
    /// The method may only read, and so may its requests.
    pub(crate) reads_only: bool,
    /// How many requests the turn has made.
    pub(crate) made: Arc<AtomicU64>,
    /// To be passed before each of them.
    pub(crate) gate: PassGate,
}

/// A message as a guest sends it, checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Letter {
    /// The receiver's class.
    pub(crate) class: ClassName,
    /// The receiver; none for a function.
    pub(crate) object: Option<ObjectId>,
    /// The method or function.
    pub(crate) method: MethodName,
    /// Its arguments.
    pub(crate) payload: Bytes,
    /// When it is due, in milliseconds since the Unix epoch; 0 for at once.
    pub(crate) due_ms: u64,
    /// Its name within the sender.
    pub(crate) key: Option<FieldKey>,
}

/// What a guest calls, checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Callee {
    /// The class.
    pub(crate) class: ClassName,
    /// The object; none for a function.
    pub(crate) object: Option<ObjectId>,
    /// The method or function.
    pub(crate) method: MethodName,
    /// Its arguments.
    pub(crate) payload: Bytes,
}

impl fmt::Display for Callee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.object {
            Some(object) => write!(f, "{}/{object}.{}", self.class, self.method),
            None => write!(f, "{}.{}", self.class, self.method),
        }
    }
}

/// What a call came to, as the guest may see it: its result, or why there is none.
pub(crate) type Called = Result<Bytes, Problem>;

/// Committed reads of any object. They may lie on another host, so these wait, until `until` at the longest.
pub(crate) trait OtherObjects: Send + Sync + 'static {
    /// A field of an object.
    fn read<'a>(
        &'a self,
        class: &'a ClassName,
        object: &'a ObjectId,
        key: &'a FieldKey,
        until: Instant,
    ) -> BoxFuture<'a, Result<Option<Bytes>, TurnError>>;

    /// A class's objects in id order from after `after` on, and whether more follow.
    fn list<'a>(
        &'a self,
        class: &'a ClassName,
        prefix: &'a str,
        after: &'a str,
        limit: usize,
        until: Instant,
    ) -> BoxFuture<'a, Result<(Vec<wire::ObjectEntry>, bool), TurnError>>;
}
