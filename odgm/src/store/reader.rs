//! Reads of a partition's committed state. Each call is a short blocking read, mostly from memory.

use std::sync::Arc;

use bytes::Bytes;
use oprc_mesh::id::{FieldKey, ObjectId};
use oprc_mesh::wire::{Field, ObjectEntry};
use prost::Message as _;
use rocksdb::{DB, DBPinnableSlice, DBRawIteratorWithThreadMode, ReadOptions};

use super::group::{GroupState, decode};
use super::snapshot::OwnedSnapshot;
use crate::error::OdgmError;
use crate::key::{Space, StateKey, successor};
use crate::mail::timer_named;
use crate::record::KnownRecord;
use crate::types::{Head, Known};

/// Steps over records of one object before a listing seeks past the rest: stepping is cheap, and most objects are
/// small; seeking costs a search, and some objects have millions of fields.
const STEPS_BEFORE_SEEK: usize = 8;

/// Reads one partition: either the newest committed state at each call ([`crate::Partition::reader`]), or one moment
/// for all calls ([`crate::Partition::snapshot`]). What is read in several calls and must fit together needs the
/// latter: between two calls of the former the object may change, and the fields of a replaced one be collected.
#[derive(Clone)]
pub struct Reader(Source);

#[derive(Clone)]
enum Source {
    Newest(Arc<GroupState>),
    Moment { snapshot: Arc<OwnedSnapshot>, space: Space },
}

impl Reader {
    pub(crate) fn newest(group: Arc<GroupState>) -> Self {
        Self(Source::Newest(group))
    }

    pub(crate) fn moment(group: &GroupState) -> Self {
        // the space first: should a snapshot be installed in between, the old generation is still there and whole
        let space = group.space();
        let snapshot = Arc::new(OwnedSnapshot::take(group.db()));
        Self(Source::Moment { snapshot, space })
    }

    /// Where the object stands; `None` when it does not exist.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn head(&self, class: u64, object: &ObjectId) -> Result<Option<Head>, OdgmError> {
        let key = self.space().head(class, object.as_str());
        self.get(&key)?.map(|bytes| decode(&bytes, "an object's head")).transpose()
    }

    /// What is kept of a call.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn known(&self, class: u64, object: &ObjectId, invocation: &str) -> Result<Option<Known>, OdgmError> {
        let stored = self.get(&self.space().known(class, object.as_str(), invocation))?;
        let record =
            stored.map(|bytes| decode::<KnownRecord>(&bytes, "a call that took effect")).transpose()?;
        Ok(record.map(|KnownRecord { outcome, tag }| Known { outcome, tag }))
    }

    /// A field's value; `None` when the object has no such field. `head` says which object it was.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn field(
        &self,
        class: u64,
        object: &ObjectId,
        head: &Head,
        key: &FieldKey,
    ) -> Result<Option<Bytes>, OdgmError> {
        let key = self.space().field(class, object.as_str(), head.home, key.as_str());
        Ok(self.get(&key)?.map(|bytes| Bytes::copy_from_slice(&bytes)))
    }

    /// Whether the object has a timer of that name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn has_timer(&self, class: u64, object: &ObjectId, name: &str) -> Result<bool, OdgmError> {
        let key = self.space().mail(&timer_named(class, object.as_str(), name));
        Ok(self.get(&key)?.is_some())
    }

    /// A page of the object's fields in key order, and whether more follow: those whose keys begin with `prefix` and
    /// come after `after` (empty: from the first), at most `items`, ending early before it would pass `bytes` of keys
    /// and values, but never before the first.
    ///
    /// # Errors
    /// The database cannot be read.
    #[allow(
        clippy::too_many_arguments,
        reason = "a page is what they describe; a struct would only rename them"
    )]
    pub fn fields(
        &self,
        class: u64,
        object: &ObjectId,
        head: &Head,
        prefix: &str,
        after: &str,
        items: usize,
        bytes: usize,
    ) -> Result<(Vec<Field>, bool), OdgmError> {
        let space = self.space();
        let home = space.field(class, object.as_str(), head.home, "");
        let first = space.field(class, object.as_str(), head.home, prefix);
        let mut start = space.field(class, object.as_str(), head.home, after);
        if after.is_empty() || start < first {
            start.clone_from(&first);
        } else {
            // the least key after `after` itself
            start.push(0);
        }
        let mut records = self.scan(start, first);
        let mut page = Vec::new();
        let mut total = 0;
        while let Some((key, value)) = records.item() {
            total += key.len() - home.len() + value.len();
            if page.len() == items || (total > bytes && !page.is_empty()) {
                return Ok((page, true));
            }
            let key = std::str::from_utf8(&key[home.len()..])
                .map_err(|error| OdgmError::corrupt("a field's key", error))?;
            page.push(Field { key: key.to_owned(), value: Bytes::copy_from_slice(value) });
            records.next();
        }
        records.status().map_err(OdgmError::database("read the state"))?;
        Ok((page, false))
    }

    /// A page of the class's objects in id order, and whether more follow: those whose ids begin with `prefix` and
    /// come after `after` (empty: from the first), at most `items`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn objects(
        &self,
        class: u64,
        prefix: &str,
        after: &str,
        items: usize,
    ) -> Result<(Vec<ObjectEntry>, bool), OdgmError> {
        let space = self.space();
        let first = space.objects(class, prefix);
        let start =
            if after.is_empty() { first.clone() } else { past(space, class, after).max(first.clone()) };
        let mut records = self.scan(start, first);
        let mut page: Vec<ObjectEntry> = Vec::new();
        let mut steps = 0;
        while let Some((key, value)) = records.item() {
            let (_, parsed) =
                StateKey::parse(key).ok_or_else(|| OdgmError::corrupt("a state key", "its form"))?;
            match parsed {
                StateKey::Head { object, .. } => {
                    if page.len() == items {
                        return Ok((page, true));
                    }
                    let head =
                        Head::decode(value).map_err(|error| OdgmError::corrupt("an object's head", error))?;
                    page.push(ObjectEntry { id: object, tag: head.tag });
                    steps = 0;
                    records.next();
                }
                StateKey::Field { object, .. } if steps == STEPS_BEFORE_SEEK => {
                    steps = 0;
                    records.seek(past(space, class, &object));
                }
                _ => {
                    steps += 1;
                    records.next();
                }
            }
        }
        records.status().map_err(OdgmError::database("read the state"))?;
        Ok((page, false))
    }

    fn space(&self) -> Space {
        match &self.0 {
            Source::Newest(group) => group.space(),
            Source::Moment { space, .. } => *space,
        }
    }

    fn get(&self, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>, OdgmError> {
        match &self.0 {
            Source::Newest(group) => group.db().get(key),
            Source::Moment { snapshot, .. } => {
                snapshot.view().get_pinned(key).map_err(OdgmError::database("read the state"))
            }
        }
    }

    /// Records from `start` on that begin with `within`, which holds at least a class's whole prefix.
    fn scan(&self, start: Vec<u8>, within: Vec<u8>) -> DBRawIteratorWithThreadMode<'_, DB> {
        let mut options = ReadOptions::default();
        options.set_prefix_same_as_start(true);
        if let Some(end) = successor(within) {
            options.set_iterate_upper_bound(end);
        }
        let mut records = match &self.0 {
            Source::Newest(group) => group.db().db.raw_iterator_opt(options),
            Source::Moment { snapshot, .. } => snapshot.view().raw_iterator_opt(options),
        };
        records.seek(start);
        records
    }
}

/// The least key past all records of an object.
fn past(space: Space, class: u64, object: &str) -> Vec<u8> {
    let mut key = space.object(class, object);
    key.push(u8::MAX);
    key
}
