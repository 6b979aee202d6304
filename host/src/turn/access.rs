//! One turn's view of the grid: committed state below, its own writes above.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use oprc_mesh::catalog::ClassLimits;
use oprc_mesh::id::{ClassName, FieldKey, ObjectId};
use oprc_mesh::limits::{PAGE_BYTES_MAX, PAGE_ITEMS_MAX};
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::{Emitted, Field, FieldWrite, Tag};
use oprc_odgm::{Change, Head, Partition, Reader};
use tokio::time::Instant;

use super::chain::Ahead;
use super::emits::Emits;
use super::gate::Gate;
use super::mail::Mail;
use super::nested::{self, Caller};
use super::others::Others;
use super::overlay::{Merged, Overlay, Seen};
use crate::wasm::{Call, Called, Callee, Exit, Letter, ObjectAccess, OtherObjects, PassGate};

/// What a turn is bound to.
pub(crate) struct Bound {
    /// The object's class.
    pub(crate) class: ClassName,
    /// The class's number.
    pub(crate) class_id: u64,
    /// The object.
    pub(crate) object: ObjectId,
    /// How to read its partition.
    pub(crate) reader: Reader,
    /// Where the object stood when the turn began; none when it did not exist.
    pub(crate) head: Option<Head>,
    /// Commits under way that it builds on.
    pub(super) ahead: Option<Ahead>,
    /// In which term a turn runs that may write, and where.
    pub(super) led: Option<(Arc<Partition>, u64)>,
}

impl Bound {
    /// A field as the turn found it. What is under way is looked at first: a commit that is applied in between is seen
    /// there or below.
    pub(super) fn field(&self, key: &FieldKey) -> Result<Option<Bytes>, Problem> {
        if let Some(Seen::Here(value)) = self.ahead.as_ref().map(|ahead| ahead.chain.get(key)) {
            return Ok(value);
        }
        match &self.head {
            Some(head) => Ok(self.reader.field(self.class_id, &self.object, head, key)?),
            None => Ok(None),
        }
    }

    /// A page of its fields, in the same way.
    pub(super) fn page(
        &self,
        prefix: &str,
        after: &str,
        items: usize,
    ) -> Result<(Vec<Field>, bool), Problem> {
        let Some(head) = &self.head else { return Ok((Vec::new(), false)) };
        let below = |after: &str, items| {
            self.reader.fields(self.class_id, &self.object, head, prefix, after, items, PAGE_BYTES_MAX)
        };
        let Some(ahead) = &self.ahead else { return Ok(below(after, items)?) };
        let writes = ahead.chain.writes();
        let mut after = after.to_owned();
        loop {
            let (page, more) = below(&after, items)?;
            let Merged { items: found, more, resume } = writes.merge(&page, more, prefix, &after, items);
            match resume {
                Some(key) if found.is_empty() => after = key,
                _ => return Ok((found, more)),
            }
        }
    }
}

/// What becomes of an object, and the fields that are written.
pub(crate) type Changed = (Change, Vec<FieldWrite>);

/// What a turn has done; see [`TurnAccess::into_parts`].
pub(crate) struct Parts {
    pub(crate) change: Option<Changed>,
    pub(crate) emitted: Vec<Emitted>,
    pub(crate) letters: Vec<Letter>,
    pub(crate) cancels: Vec<String>,
    /// The object as it found it.
    pub(crate) bound: Option<Bound>,
}

/// Whether a turn may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Its writes are buffered and committed.
    ReadWrite,
    /// A write is an error.
    ReadOnly,
}

/// How often a turn has waited for others, whose work does not end with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Waits {
    /// Calls. When the turn is run again they answer at once.
    pub(crate) calls: u64,
    /// Requests that left the cluster. They are sent again.
    pub(crate) requests: u64,
}

impl Waits {
    pub(crate) fn any(self) -> bool {
        self != Self::default()
    }
}

/// See the module.
pub(crate) struct TurnAccess {
    others: Arc<Others>,
    bound: Option<Bound>,
    mode: Mode,
    limits: ClassLimits,
    overlay: Overlay,
    emits: Emits,
    mail: Mail,
    calls: u64,
    requests: Arc<AtomicU64>,
}

impl TurnAccess {
    pub(crate) fn new(others: Arc<Others>, bound: Option<Bound>, mode: Mode, limits: ClassLimits) -> Self {
        let (emits, mail) = (Emits::default(), Mail::default());
        let requests = Arc::default();
        Self { others, bound, mode, limits, overlay: Overlay::default(), emits, mail, calls: 0, requests }
    }

    /// How often the turn has waited for others.
    pub(crate) fn waits(&self) -> Waits {
        Waits { calls: self.calls, requests: self.requests.load(Ordering::Relaxed) }
    }

    /// The object's position before the turn; (0, 0) when it did not exist.
    pub(crate) fn base(&self) -> Tag {
        self.head().map(|head| head.tag).unwrap_or_default()
    }

    /// What the turn wants to commit: its writes, none when it wrote nothing; what it emitted and what it sent; and the names
    /// whose message it cancelled.
    pub(crate) fn into_parts(self) -> Parts {
        let exists = self.head().is_some();
        let (letters, cancels) = self.mail.into_parts();
        let (change, emitted) = (self.overlay.into_change(exists), self.emits.into_items());
        Parts { change, emitted, letters, cancels, bound: self.bound }
    }

    /// What has to be passed before anything leaves; none for a function and for what only reads.
    fn gate(&self) -> Option<Gate> {
        let bound = self.bound.as_ref()?;
        let (partition, term) = bound.led.clone()?;
        Some(Gate { partition, term, ahead: bound.ahead.clone() })
    }

    /// A method that only reads; a function is none.
    fn reads_only(&self) -> bool {
        self.bound.is_some() && self.mode == Mode::ReadOnly
    }

    fn head(&self) -> Option<&Head> {
        self.bound.as_ref().and_then(|bound| bound.head.as_ref())
    }

    fn bound(&self) -> Result<&Bound, Problem> {
        self.bound.as_ref().ok_or_else(|| {
            Problem::new(Code::Invalid, "no object is bound: this is a function, called without an object")
                .hint("call it as a method of an object, or address another object with `objects`")
        })
    }

    fn writable(&self, what: &str) -> Result<(), Problem> {
        self.bound()?;
        match self.mode {
            Mode::ReadWrite => Ok(()),
            Mode::ReadOnly => Err(Problem::new(Code::Invalid, format!("{what} in a read-only method"))
                .hint("take the method out of `readonly` in the manifest, or do not write in it")),
        }
    }

    fn committed(&self, key: &FieldKey) -> Result<Option<Bytes>, Problem> {
        self.bound()?.field(key)
    }

    fn committed_page(&self, prefix: &str, after: &str, items: usize) -> Result<(Vec<Field>, bool), Problem> {
        let bound = self.bound()?;
        if self.overlay.shows_below() { bound.page(prefix, after, items) } else { Ok((Vec::new(), false)) }
    }
}

impl ObjectAccess for TurnAccess {
    fn object(&self) -> Option<(&ClassName, &ObjectId)> {
        self.bound.as_ref().map(|bound| (&bound.class, &bound.object))
    }

    fn version(&self) -> u64 {
        self.base().version
    }

    fn get(&mut self, key: &FieldKey) -> Result<Option<Bytes>, Problem> {
        self.bound()?;
        match self.overlay.get(key) {
            Seen::Here(value) => Ok(value),
            Seen::Below => self.committed(key),
        }
    }

    fn set(&mut self, key: FieldKey, value: Bytes) -> Result<(), Problem> {
        self.writable("set")?;
        self.overlay.set(key, value, &self.limits)
    }

    fn delete(&mut self, key: &FieldKey) -> Result<bool, Problem> {
        self.writable("delete")?;
        let exists = self.get(key)?.is_some();
        if exists {
            self.overlay.delete(key.clone(), &self.limits)?;
        }
        Ok(exists)
    }

    fn list(&mut self, prefix: &str, after: &str, limit: usize) -> Result<(Vec<Field>, bool), Problem> {
        let limit = limit.min(PAGE_ITEMS_MAX);
        let (mut found, mut bytes, mut after) = (Vec::new(), 0, after.to_owned());
        loop {
            // one more than asked for: only then is it certain that something follows that this turn has not deleted
            let room = limit + 1 - found.len();
            let (page, more) = self.committed_page(prefix, &after, room)?;
            let Merged { items, more, resume } = self.overlay.merge(&page, more, prefix, &after, room);
            bytes += items.iter().map(|field| field.key.len() + field.value.len()).sum::<usize>();
            found.extend(items);
            match resume {
                Some(key) if found.is_empty() || bytes < PAGE_BYTES_MAX => after = key,
                _ => {
                    let more = more || found.len() > limit;
                    found.truncate(limit);
                    return Ok((found, more));
                }
            }
        }
    }

    fn clear(&mut self) -> Result<(), Problem> {
        self.writable("clear")?;
        self.overlay.clear();
        Ok(())
    }

    fn emit(&mut self, emitted: Emitted) -> Result<(), Problem> {
        self.writable("emit")?;
        self.emits.add(emitted)
    }

    fn send(&mut self, letter: Letter) -> Result<(), Problem> {
        self.writable("send")?;
        self.mail.send(letter, &self.limits)
    }

    fn cancel(&mut self, key: &FieldKey) -> Result<bool, Problem> {
        self.writable("cancel")?;
        let Some(bound) = &self.bound else { return Ok(false) };
        let committed = || Ok(bound.reader.has_timer(bound.class_id, &bound.object, key.as_str())?);
        self.mail.cancel(key, committed)
    }

    fn call(
        &mut self,
        call: &Call,
        callee: Callee,
        until: Instant,
    ) -> BoxFuture<'static, Result<Called, Problem>> {
        let object = self.bound.as_ref().map(|bound| &bound.object);
        let from = Caller { call, object, reads_only: self.reads_only(), number: self.calls };
        self.calls += 1;
        nested::call(&self.others, &from, callee, until, self.gate()).boxed()
    }

    fn settled(&self, until: Instant) -> BoxFuture<'static, Result<(), Problem>> {
        // what is durable is what is read of others: only of its own object does the turn know more
        match self.gate().filter(|gate| gate.ahead.is_some()) {
            Some(gate) => gate.pass(until).boxed(),
            None => std::future::ready(Ok(())).boxed(),
        }
    }

    fn used(&self, class: &ClassName, memory_bytes: usize) {
        self.others.metrics.calls.size(&self.others.view(), class.as_str(), memory_bytes as u64);
    }

    fn exit(&self) -> Exit {
        let gate = self.gate();
        let pass: PassGate = Box::new(move |until| match gate.clone() {
            Some(gate) => gate.pass(until).boxed(),
            None => std::future::ready(Ok(())).boxed(),
        });
        Exit { reads_only: self.reads_only(), made: self.requests.clone(), gate: pass }
    }

    fn others(&self) -> Arc<dyn OtherObjects> {
        self.others.clone()
    }
}
