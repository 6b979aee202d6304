//! The stored event log of a group: written with the effects of an entry, read in pages.

use oprc_mesh::limits::EVENT_PAGE_BYTES_MAX;
use oprc_mesh::wire::EventPage;
use prost::Message as _;
use rocksdb::{DB, DBRawIteratorWithThreadMode, ReadOptions, WriteBatch};
use tokio::sync::watch;

use super::group::{GroupState, get};
use crate::apply::Effect;
use crate::error::OdgmError;
use crate::events::{BlockRecord, BoundsRecord, LIMITS, LogChange, append, class_of, decode};
use crate::key::{Space, StateKey, successor};

/// Events that one page passes over, at the most, in search of those that are wanted.
pub(super) const PAGE_STEPS_MAX: usize = 2_048;

/// Which events of a partition are wanted.
#[derive(Debug, Clone, Copy)]
pub struct EventsOf<'a> {
    /// Of objects of this class; none for all.
    pub class: Option<u64>,
    /// Of objects whose ids begin so; empty for all.
    pub prefix: &'a str,
    /// Only of the object whose id is just the prefix.
    pub exact: bool,
}

impl EventsOf<'_> {
    fn wants(&self, object: &str) -> bool {
        if self.exact { object == self.prefix } else { object.starts_with(self.prefix) }
    }
}

impl GroupState {
    /// Where the stored log stands.
    pub(crate) fn event_bounds(&self) -> Result<BoundsRecord, OdgmError> {
        let stored = get::<BoundsRecord>(&self.db, &self.space().event_log(), "the event log's bounds")?;
        Ok(stored.unwrap_or_default())
    }

    /// Adds the events among an entry's effects to the batch that holds the effects. `bounds` is what the batch before left.
    pub(crate) fn append_events(
        &self,
        batch: &mut WriteBatch,
        bounds: &mut BoundsRecord,
        effects: &[Effect<'_>],
    ) -> Result<(), OdgmError> {
        let events = effects.iter().filter_map(|effect| match effect {
            Effect::Tell(told) => Some(&**told),
            _ => None,
        });
        let space = self.space();
        let stored = |after| get::<BlockRecord>(&self.db, &space.event_block(after), "a block of events");
        let changes = append(bounds, LIMITS, events, stored)?;
        if changes.is_empty() {
            return Ok(());
        }
        for change in changes {
            match change {
                LogChange::Put { seq, told } => batch.put(space.event(seq), told.to_bytes()),
                LogChange::Drop { seq } => batch.delete(space.event(seq)),
                LogChange::Close { after, block } => {
                    batch.put(space.event_block(after), block.encode_to_vec());
                }
                LogChange::Forget { after } => batch.delete(space.event_block(after)),
            }
        }
        batch.put(space.event_log(), bounds.encode_to_vec());
        Ok(())
    }

    /// From now on events up to this number can be read: those who wait for them are told.
    pub(crate) fn show_events(&self, last: u64) {
        self.told.send_if_modified(|told| std::mem::replace(told, last) != last);
    }

    /// Follows the number of the newest event.
    pub(crate) fn follow_events(&self) -> watch::Receiver<u64> {
        self.told.subscribe()
    }

    /// A page of the events that are wanted after a number, oldest first. What lies after the newest event is empty.
    pub(crate) fn read_events(&self, wanted: EventsOf<'_>, after: u64) -> Result<EventPage, OdgmError> {
        let last = *self.told.borrow();
        let mut page = EventPage { upto: after, ..EventPage::default() };
        if after >= last {
            return Ok(page);
        }
        let (mut steps, mut bytes) = (0, 0);
        let mut stored = self.scan_events(self.space(), after + 1, last);
        while let Some((key, value)) = stored.item() {
            let Some((_, StateKey::Event { seq })) = StateKey::parse(key) else {
                return Err(OdgmError::corrupt("an event", "its key"));
            };
            if seq != page.upto + 1 {
                // only the oldest are ever missing
                debug_assert!(steps == 0, "the log has a hole before event {seq}");
                page.gap = Some(seq - 1);
                page.upto = seq - 1;
            }
            if wanted.class.is_none_or(|class| class_of(value) == Some(class)) {
                let event = decode(seq, value)?;
                if wanted.wants(&event.object) {
                    bytes += value.len();
                    if bytes > EVENT_PAGE_BYTES_MAX && !page.items.is_empty() {
                        page.more = true;
                        return Ok(page);
                    }
                    page.items.push(event);
                }
            }
            page.upto = seq;
            steps += 1;
            if steps == PAGE_STEPS_MAX {
                page.more = seq < last;
                return Ok(page);
            }
            stored.next();
        }
        stored.status().map_err(OdgmError::database("read the events"))?;
        if page.upto < last {
            page.gap = Some(last); // all that there was is gone
            page.upto = last;
        }
        Ok(page)
    }

    fn scan_events(&self, space: Space, from: u64, last: u64) -> DBRawIteratorWithThreadMode<'_, DB> {
        let mut options = ReadOptions::default();
        options.set_prefix_same_as_start(true);
        // what has come meanwhile is for the next page
        if let Some(end) = successor(space.event(last)) {
            options.set_iterate_upper_bound(end);
        }
        let mut stored = self.db.db.raw_iterator_opt(options);
        stored.seek(space.event(from));
        stored
    }
}
