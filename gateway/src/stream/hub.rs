//! One class's readers, and what each of them gets of the class's events.
//!
//! A hub takes the events of each partition in their order and puts all of them into one order. Its place in it, the
//! number of the last event of each partition, is the id of an event for those who watch several partitions: whoever
//! comes back with it misses nothing, whatever the order was. Who watches one object is given its partition's part alone.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use oprc_mesh::events::{Cursor, write_members};
use oprc_mesh::id::{ClassName, ObjectId};
use oprc_mesh::wire::{Event, EventPage, ObjectAction};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::queue::{Budget, Queue};
use super::text::{End, Gap, event, gap, heartbeat};

/// What of a class a reader wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) scope: Scope,
    /// Only events that change a field whose key begins so; empty for all.
    pub(crate) keys: String,
}

/// Which objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// One, in the partition of this group.
    Object(ObjectId, u64),
    /// Those whose ids begin so.
    Prefix(String),
}

impl Filter {
    /// Whether the reader wants an event of an object in its scope.
    pub(crate) fn wants(&self, event: &Event) -> bool {
        wants_keys(&self.keys, event)
    }

    /// Where a reader of it is, when its class is at `cursor`.
    pub(crate) fn place(&self, cursor: &Cursor) -> Cursor {
        match &self.scope {
            Scope::Object(_, group) => {
                Cursor::at(cursor.class, *group, cursor.positions.get(group).copied().unwrap_or(0))
            }
            Scope::Prefix(_) => cursor.clone(),
        }
    }
}

/// An event that takes all fields, or does not name all that it changed, may concern any key.
fn wants_keys(keys: &str, event: &Event) -> bool {
    keys.is_empty()
        || event.unlisted > 0
        || matches!(event.action(), ObjectAction::Delete | ObjectAction::Replace | ObjectAction::Recreate)
        || event.changes.iter().any(|change| change.key.starts_with(keys))
}

/// See the module.
pub(crate) struct Hub {
    class: ClassName,
    groups: Vec<u64>,
    budget: Arc<Budget>,
    state: Mutex<State>,
    /// Held while partitions are begun to be followed.
    pub(crate) starting: tokio::sync::Mutex<()>,
    /// Cancelled when nobody needs it any more.
    pub(crate) stop: CancellationToken,
    pub(super) holds: AtomicUsize,
}

struct State {
    /// How far each partition is that is followed.
    at: Cursor,
    /// Readers of single objects.
    objects: HashMap<String, Vec<Audience>>,
    /// Readers of many.
    wide: Vec<Audience>,
    ended: Option<End>,
    next_reader: u64,
}

/// Readers that want the same.
struct Audience {
    filter: Filter,
    readers: HashMap<u64, Arc<Queue>>,
    /// What a page has for them.
    pending: Vec<u8>,
}

impl Hub {
    pub(super) fn new(class: ClassName, number: u64, groups: Vec<u64>, budget: Arc<Budget>) -> Self {
        let at = Cursor { class: number, positions: BTreeMap::new() };
        let (objects, wide) = (HashMap::new(), Vec::new());
        Self {
            class,
            groups,
            budget,
            state: Mutex::new(State { at, objects, wide, ended: None, next_reader: 0 }),
            starting: tokio::sync::Mutex::default(),
            stop: CancellationToken::new(),
            holds: AtomicUsize::new(0),
        }
    }

    pub(crate) fn class(&self) -> &ClassName {
        &self.class
    }

    /// The groups of the partitions that the class's objects lie in.
    pub(crate) fn groups(&self) -> &[u64] {
        &self.groups
    }

    /// Whether it goes on, for the class of this number in these partitions.
    pub(crate) fn is_of(&self, number: u64, groups: &[u64]) -> bool {
        let state = self.state.lock();
        state.ended.is_none() && state.at.class == number && self.groups == groups
    }

    /// Those of `groups` that are not followed yet.
    pub(crate) fn missing(&self, groups: &[u64]) -> Vec<u64> {
        let state = self.state.lock();
        groups.iter().copied().filter(|group| !state.at.positions.contains_key(group)).collect()
    }

    /// Why it is over, if it is.
    pub(crate) fn ended(&self) -> Option<End> {
        self.state.lock().ended
    }

    /// How far it is.
    pub(crate) fn at(&self) -> Cursor {
        self.state.lock().at.clone()
    }

    /// A partition is followed from here on.
    pub(crate) fn begin(&self, group: u64, seq: u64) {
        self.state.lock().at.positions.insert(group, seq);
    }

    /// A queue for a reader; see [`Queue::new`].
    pub(crate) fn queue(&self, behind: bool) -> Arc<Queue> {
        Queue::new(&self.budget, behind)
    }

    /// From now on `queue` gets what `filter` wants. Gives the reader's number and where the class is: everything after it
    /// is queued, and nothing up to it.
    ///
    /// # Errors
    /// It is over.
    pub(crate) fn join(&self, filter: &Filter, queue: &Arc<Queue>) -> Result<(u64, Cursor), End> {
        let mut state = self.state.lock();
        if let Some(end) = state.ended {
            return Err(end);
        }
        state.next_reader += 1;
        let reader = state.next_reader;
        let audiences = match &filter.scope {
            Scope::Object(object, _) => state.objects.entry(object.as_str().to_owned()).or_default(),
            Scope::Prefix(_) => &mut state.wide,
        };
        let at = audiences.iter().position(|audience| audience.filter == *filter).unwrap_or_else(|| {
            audiences.push(Audience { filter: filter.clone(), readers: HashMap::new(), pending: Vec::new() });
            audiences.len() - 1
        });
        audiences[at].readers.insert(reader, queue.clone());
        Ok((reader, state.at.clone()))
    }

    /// A reader is gone.
    pub(crate) fn leave(&self, filter: &Filter, reader: u64) {
        let mut state = self.state.lock();
        let remove = |audiences: &mut Vec<Audience>| {
            let Some(at) = audiences.iter().position(|audience| audience.filter == *filter) else { return };
            audiences[at].readers.remove(&reader);
            if audiences[at].readers.is_empty() {
                audiences.swap_remove(at);
            }
        };
        match &filter.scope {
            Scope::Prefix(_) => remove(&mut state.wide),
            Scope::Object(object, _) => {
                let Some(audiences) = state.objects.get_mut(object.as_str()) else { return };
                remove(audiences);
                if audiences.is_empty() {
                    state.objects.remove(object.as_str());
                }
            }
        }
    }

    /// Takes what a partition told, and hands it to all whom it concerns. Never waits for one of them.
    pub(crate) fn deliver(&self, group: u64, page: &EventPage) {
        let state = &mut *self.state.lock();
        if let Some(upto) = page.gap {
            state.at.positions.insert(group, upto);
            state.tell_gap(group, self.class.as_str());
        }
        for event in &page.items {
            state.at.positions.insert(group, event.seq);
            state.tell(group, event, self.class.as_str());
        }
        state.at.positions.insert(group, page.upto);
        let told: Vec<&str> = page.items.iter().map(|event| event.object.as_str()).collect();
        state.flush(&self.budget, &told, page.gap.is_some());
    }

    /// Shows every reader that its stream is alive, and where it is.
    pub(crate) fn beat(&self) {
        let state = &mut *self.state.lock();
        for audience in state.objects.values_mut().flatten().chain(&mut state.wide) {
            let chunk = self.budget.chunk(heartbeat(&audience.filter.place(&state.at).id()));
            for queue in audience.readers.values() {
                queue.beat(&chunk);
            }
        }
    }

    /// Ends every stream.
    pub(crate) fn end(&self, why: End) {
        let mut state = self.state.lock();
        if state.ended.is_some() {
            return;
        }
        state.ended = Some(why);
        for audience in state.objects.values().flatten().chain(&state.wide) {
            for queue in audience.readers.values() {
                queue.end(why);
            }
        }
    }
}

impl State {
    fn tell(&mut self, group: u64, told: &Event, class: &str) {
        let mut members = Vec::new();
        let mut id = None;
        for audience in &mut self.wide {
            let Scope::Prefix(prefix) = &audience.filter.scope else { continue };
            if told.object.starts_with(prefix.as_str()) && audience.filter.wants(told) {
                let id = id.get_or_insert_with(|| self.at.id());
                event(&mut audience.pending, id, written(&mut members, class, told));
            }
        }
        let Some(audiences) = self.objects.get_mut(told.object.as_str()) else { return };
        let id = Cursor::at(self.at.class, group, told.seq).id();
        for audience in audiences.iter_mut().filter(|audience| audience.filter.wants(told)) {
            event(&mut audience.pending, &id, written(&mut members, class, told));
        }
    }

    fn tell_gap(&mut self, group: u64, class: &str) {
        for audience in self.objects.values_mut().flatten().chain(&mut self.wide) {
            let object = match &audience.filter.scope {
                Scope::Object(_, lies_in) if *lies_in != group => continue,
                Scope::Object(object, _) => Some(object.as_str()),
                Scope::Prefix(_) => None,
            };
            let id = audience.filter.place(&self.at).id();
            gap(&mut audience.pending, &id, class, object, Gap::Trimmed);
        }
    }

    /// Hands out what is pending: for many, for the objects that were told of, or for all.
    fn flush(&mut self, budget: &Arc<Budget>, told: &[&str], all: bool) {
        let send = |audience: &mut Audience| {
            if !audience.pending.is_empty() {
                let chunk = budget.chunk(std::mem::take(&mut audience.pending));
                for queue in audience.readers.values() {
                    queue.push(&chunk);
                }
            }
        };
        self.wide.iter_mut().for_each(send);
        if all {
            self.objects.values_mut().flatten().for_each(send);
        } else if !self.objects.is_empty() {
            for object in told {
                self.objects.get_mut(*object).into_iter().flatten().for_each(send);
            }
        }
    }
}

/// The event's members, written when they are first needed.
fn written<'a>(members: &'a mut Vec<u8>, class: &str, told: &Event) -> &'a [u8] {
    if members.is_empty() {
        write_members(members, class, told);
    }
    members
}
