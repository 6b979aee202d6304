//! One group's part of the state database: its current replica generation, how far it has applied the log, and the
//! writes of effects.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use prost::Message;
use rocksdb::WriteBatch;
use tokio::sync::watch;

use super::mail::Bell;
use super::snapshot::OwnedSnapshot;
use super::state::StateDb;
use crate::apply::{Effect, View};
use crate::catalog::{CatalogEffect, CatalogKey};
use crate::error::OdgmError;
use crate::keeping::{Expiry, Kept};
use crate::key::{OWN, Space, StateKey, parse_class, successor};
use crate::record::{
    CatalogRecord, ClockRecord, ExpiryRecord, FORMAT, KnownRecord, NumberRecord, StateRecord,
};
use crate::types::Head;

/// Fields that nothing refers to any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DeadHome {
    /// The key of the note that says so.
    pub(crate) note: Vec<u8>,
    /// What the keys of the fields begin with.
    pub(crate) fields: Vec<u8>,
}

/// See the module.
pub(crate) struct GroupState {
    pub(super) db: Arc<StateDb>,
    id: u64,
    /// The number of the newest event that can be read.
    pub(super) told: watch::Sender<u64>,
    generation: AtomicU64,
    /// The least generation that was never handed out.
    next: Mutex<u64>,
    /// A view that a checkpoint has made durable, for the snapshot that it is about to ask for.
    durable: Mutex<Option<(Arc<OwnedSnapshot>, Space)>>,
    /// See [`Kept::earliest_ms`].
    earliest_ms: AtomicU64,
    bell: Bell,
}

impl GroupState {
    /// Reads the group's pointer; a group that is new here begins with generation 1.
    pub(crate) fn open(db: &Arc<StateDb>, id: u64) -> Result<Self, OdgmError> {
        let pointer = get::<NumberRecord>(db, &Space::pointer(id), "a generation pointer")?;
        let generation = pointer.map_or(1, |pointer| pointer.value);
        let state = Self {
            db: db.clone(),
            id,
            told: watch::Sender::new(0),
            generation: AtomicU64::new(generation),
            next: Mutex::new(generation + 1),
            durable: Mutex::new(None),
            earliest_ms: AtomicU64::new(0),
            bell: Bell::default(),
        };
        state.drop_other_generations()?;
        state.show_events(state.event_bounds()?.last);
        Ok(state)
    }

    pub(crate) fn db(&self) -> &Arc<StateDb> {
        &self.db
    }

    /// Told of messages.
    pub(crate) fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Where the current generation's keys begin.
    pub(crate) fn space(&self) -> Space {
        Space { group: self.id, generation: self.generation.load(Ordering::Acquire) }
    }

    /// How far the log is applied.
    pub(crate) fn state(&self) -> Result<StateRecord, OdgmError> {
        checked(get::<StateRecord>(&self.db, &self.space().state(), "a group's state")?)
    }

    /// The same as a snapshot sees it.
    pub(crate) fn state_in(snapshot: &OwnedSnapshot, space: Space) -> Result<StateRecord, OdgmError> {
        let bytes =
            snapshot.view().get_pinned(space.state()).map_err(OdgmError::database("read the state"))?;
        checked(bytes.map(|bytes| decode(&bytes, "a group's state")).transpose()?)
    }

    /// Writes a batch together with how far it brings the group.
    pub(crate) fn write(&self, mut batch: WriteBatch, state: &StateRecord) -> Result<(), OdgmError> {
        batch.put(self.space().state(), state.encode_to_vec());
        self.db.write(batch)
    }

    /// A space that is empty and was never handed out before, for a snapshot to be written to before [`Self::flip`].
    /// What an earlier, interrupted installation left is forgotten, and so is the generation before the current one.
    pub(crate) fn next_space(&self) -> Result<Space, OdgmError> {
        let newest = self.drop_other_generations()?;
        let mut next = self.next.lock();
        let generation = (newest + 1).max(*next);
        *next = generation + 1;
        Ok(Space { group: self.id, generation })
    }

    /// Makes a filled generation the current one: pointer, applied index and membership in one flushed write. Blocks.
    pub(crate) fn flip(&self, to: Space, state: &StateRecord) -> Result<(), OdgmError> {
        let mut batch = WriteBatch::default();
        batch.put(to.state(), StateRecord { installed: true, ..state.clone() }.encode_to_vec());
        batch.put(Space::pointer(self.id), NumberRecord { value: to.generation }.encode_to_vec());
        self.db.write(batch)?;
        self.db.flush_through(self.db.sequence())?;
        self.generation.store(to.generation, Ordering::Release);
        *self.durable.lock() = None;
        self.earliest_ms.store(0, Ordering::Release);
        Ok(())
    }

    /// Offers a view that is durable to the next snapshot, which then needs no flush of its own.
    pub(crate) fn offer_durable(&self, view: &Arc<OwnedSnapshot>, space: Space) {
        *self.durable.lock() = Some((view.clone(), space));
    }

    pub(crate) fn take_durable(&self) -> Option<(Arc<OwnedSnapshot>, Space)> {
        self.durable.lock().take()
    }

    /// Forgets what an interrupted installation left, and generations that were replaced; gives the highest generation
    /// that there was. Not done at the flip itself: a reader may still be in the old one.
    pub(crate) fn drop_other_generations(&self) -> Result<u64, OdgmError> {
        let current = self.space();
        let mut options = rocksdb::ReadOptions::default();
        options.set_total_order_seek(true);
        options.set_iterate_upper_bound(Space::group(self.id + 1));
        let mut keys = self.db.db.raw_iterator_opt(options);
        let mut newest = current.generation;
        keys.seek(Space { group: self.id, generation: 1 }.begin());
        while let Some((space, _)) = keys.key().and_then(StateKey::parse) {
            newest = newest.max(space.generation);
            if space != current {
                self.db.drop_range(space.begin())?;
            }
            keys.seek(Space { generation: space.generation + 1, ..space }.begin());
        }
        keys.status().map_err(OdgmError::database("read the state"))?;
        Ok(newest)
    }

    /// The stored records of the catalog, in key order.
    pub(crate) fn catalog_records(&self) -> Result<Vec<CatalogRecord>, OdgmError> {
        let prefix = self.space().catalog();
        let mut options = rocksdb::ReadOptions::default();
        options.set_prefix_same_as_start(true);
        options.set_iterate_upper_bound(successor(prefix.clone()).unwrap_or_default());
        let mut records = Vec::new();
        let mut stored = self.db.db.raw_iterator_opt(options);
        stored.seek(&prefix);
        while let Some(value) = stored.value() {
            records.push(decode(value, "a catalog record")?);
            stored.next();
        }
        stored.status().map_err(OdgmError::database("read the state"))?;
        Ok(records)
    }

    /// Adds effects on the catalog to a batch.
    pub(crate) fn put_catalog(&self, batch: &mut WriteBatch, effects: &[CatalogEffect]) {
        let prefix = self.space().catalog();
        let key = |key: &CatalogKey| [prefix.as_slice(), &key.to_bytes()].concat();
        for effect in effects {
            match effect {
                CatalogEffect::Put(item) => {
                    let record = CatalogRecord { item: Some(item.clone()) };
                    batch.put(key(&CatalogKey::of(item)), record.encode_to_vec());
                }
                CatalogEffect::Drop(dropped) => batch.delete(key(dropped)),
            }
        }
    }

    /// Up to `limit` dead homes.
    pub(crate) fn dead_homes(&self, limit: usize) -> Result<Vec<DeadHome>, OdgmError> {
        let space = self.space();
        let notes = self.keys(&space.dead_homes(), limit)?;
        let homes = notes.into_iter().map(|note| match StateKey::parse(&note) {
            Some((_, StateKey::DeadHome { class, object, home })) => {
                Ok(DeadHome { note, fields: space.field(class, &object, home, "") })
            }
            _ => Err(OdgmError::corrupt("a dead home", "its key")),
        });
        homes.collect()
    }

    /// Up to `limit` keys that begin with `prefix`, which holds at least a class's whole prefix.
    pub(crate) fn keys(&self, prefix: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, OdgmError> {
        let mut options = rocksdb::ReadOptions::default();
        options.set_prefix_same_as_start(true);
        options.fill_cache(false);
        if let Some(end) = successor(prefix.to_vec()) {
            options.set_iterate_upper_bound(end);
        }
        let mut stored = self.db.db.raw_iterator_opt(options);
        stored.seek(prefix);
        let mut keys = Vec::new();
        while let Some(key) = stored.key().filter(|_| keys.len() < limit) {
            keys.push(key.to_vec());
            stored.next();
        }
        stored.status().map_err(OdgmError::database("read the state"))?;
        Ok(keys)
    }

    /// The classes that it holds anything of.
    pub(crate) fn classes(&self) -> Result<Vec<u64>, OdgmError> {
        let space = self.space();
        let mut classes: Vec<u64> = Vec::new();
        // objects, found by seeking from class to class
        let mut options = rocksdb::ReadOptions::default();
        options.set_total_order_seek(true);
        options.set_iterate_upper_bound(Space { generation: space.generation + 1, ..space }.begin());
        let mut stored = self.db.db.raw_iterator_opt(options);
        stored.seek(space.class(OWN + 1));
        while let Some(class) = stored.key().and_then(parse_class) {
            classes.push(class);
            let Some(next) = class.checked_add(1) else { break };
            stored.seek(space.class(next));
        }
        stored.status().map_err(OdgmError::database("read the state"))?;
        // and what is noted of them among the group's own records
        for key in self.keys(&space.revisions(), usize::MAX)? {
            if let Some((_, StateKey::Revision { class })) = StateKey::parse(&key) {
                classes.push(class);
            }
        }
        classes.sort_unstable();
        classes.dedup();
        Ok(classes)
    }

    /// Forgets a class whole. Only for a class whose number is never used again.
    pub(crate) fn drop_class(&self, class: u64) -> Result<(), OdgmError> {
        let space = self.space();
        self.db.drop_range(space.dead_homes_of(class))?;
        self.db.drop_range(space.class(class))?;
        self.db.drop_range(space.known_of(class))?;
        let mut batch = WriteBatch::default();
        batch.delete(space.revision(class));
        self.db.write(batch)
    }

    /// Adds effects to a batch.
    pub(crate) fn put(&self, batch: &mut WriteBatch, effects: &[Effect<'_>]) {
        let space = self.space();
        for effect in effects {
            match *effect {
                Effect::SetHead { class, object, head } => {
                    batch.put(space.head(class, object), head.encode_to_vec());
                }
                Effect::DropHead { class, object } => batch.delete(space.head(class, object)),
                Effect::SetField { class, object, home, key, value } => {
                    batch.put(space.field(class, object, home, key), value);
                }
                Effect::DropField { class, object, home, key } => {
                    batch.delete(space.field(class, object, home, key));
                }
                Effect::Tell(_) => {} // see `append_events`
                Effect::DeadHome { class, object, home } => {
                    batch.put(space.dead_home(class, object, home), []);
                }
                Effect::SetRevision { class, revision } => {
                    batch.put(space.revision(class), NumberRecord { value: revision }.encode_to_vec());
                }
                Effect::Remember { class, object, invocation, outcome, tag, ref expiry } => {
                    let known = KnownRecord { outcome: outcome.clone(), tag };
                    batch.put(space.known(class, object, invocation), known.encode_to_vec());
                    batch.put(space.expiry(expiry.at_ms, expiry.number), expiry.record.encode_to_vec());
                    self.earliest_ms.fetch_min(expiry.at_ms, Ordering::AcqRel);
                }
                Effect::Forget(ref expiry) => {
                    let ExpiryRecord { class, object, invocation, .. } = &expiry.record;
                    batch.delete(space.known(*class, object, invocation));
                    batch.delete(space.expiry(expiry.at_ms, expiry.number));
                }
                Effect::SetClock(clock) => batch.put(space.keeping(), clock.encode_to_vec()),
            }
        }
    }
}

impl Kept for GroupState {
    fn clock(&self) -> Result<ClockRecord, OdgmError> {
        let clock = get::<ClockRecord>(&self.db, &self.space().keeping(), "a group's time")?;
        Ok(clock.unwrap_or_default())
    }

    fn earliest_ms(&self) -> u64 {
        self.earliest_ms.load(Ordering::Acquire)
    }

    fn expiring(&self, limit: usize) -> Result<Vec<Expiry>, OdgmError> {
        let prefix = self.space().expiries();
        let mut options = rocksdb::ReadOptions::default();
        options.set_prefix_same_as_start(true);
        options.set_iterate_upper_bound(successor(prefix.clone()).unwrap_or_default());
        let mut stored = self.db.db.raw_iterator_opt(options);
        stored.seek(&prefix);
        let mut expiring = Vec::new();
        while let Some((key, value)) = stored.item().filter(|_| expiring.len() < limit) {
            let Some((_, StateKey::Expiry { at_ms, number })) = StateKey::parse(key) else {
                return Err(OdgmError::corrupt("a state key", "its form"));
            };
            expiring.push(Expiry { at_ms, number, record: decode(value, "when a call is forgotten")? });
            stored.next();
        }
        stored.status().map_err(OdgmError::database("read the state"))?;
        // only this thread adds any: what is not there yet is later than this, or lowers it
        self.earliest_ms.store(expiring.first().map_or(u64::MAX, |first| first.at_ms), Ordering::Release);
        Ok(expiring)
    }
}

impl View for GroupState {
    fn head(&self, class: u64, object: &str) -> Result<Option<Head>, OdgmError> {
        get::<Head>(&self.db, &self.space().head(class, object), "an object's head")
    }

    fn has_field(&self, class: u64, object: &str, home: u64, key: &str) -> Result<bool, OdgmError> {
        Ok(self.db.get(&self.space().field(class, object, home, key))?.is_some())
    }

    fn revision(&self, class: u64) -> Result<u64, OdgmError> {
        let record = get::<NumberRecord>(&self.db, &self.space().revision(class), "a class's revision")?;
        Ok(record.map_or(0, |record| record.value))
    }

    fn known(&self, class: u64, object: &str, invocation: &str) -> Result<Option<KnownRecord>, OdgmError> {
        get::<KnownRecord>(
            &self.db,
            &self.space().known(class, object, invocation),
            "a call that took effect",
        )
    }
}

fn checked(state: Option<StateRecord>) -> Result<StateRecord, OdgmError> {
    let state = state.unwrap_or(StateRecord { format: FORMAT, ..StateRecord::default() });
    match state.format {
        1..=FORMAT => Ok(state),
        other => Err(OdgmError::corrupt("a group's state", format!("format version {other}"))),
    }
}

pub(super) fn get<R: Message + Default>(
    db: &StateDb,
    key: &[u8],
    what: &str,
) -> Result<Option<R>, OdgmError> {
    db.get(key)?.map(|bytes| decode(&bytes, what)).transpose()
}

pub(super) fn decode<R: Message + Default>(bytes: &[u8], what: &str) -> Result<R, OdgmError> {
    R::decode(bytes).map_err(|error| OdgmError::corrupt(what, error))
}
