//! One object's commits that are under way: the state that the next turn starts on before it is durable (the output gate).
//!
//! Turns of an object run one at a time, and each hands its commit over before the next begins, so the commits lie in the
//! log in the order of the turns. A turn may run ahead only of commits that change an object which is there: then it is
//! known where the object will stand. Each commit is fenced by that, so if one fails, those after it cannot take effect;
//! the chain is broken, and their turns run again on what is committed. A reply leaves only with its own commit, or, of a
//! turn that wrote nothing, with the last one that it built on.
//!
//! The fence is a version, and other commits may lead to the same one. So *every* commit of the object is here until it is
//! decided, also one that nobody may run ahead of, whose caller went away, or of which the caller was told that nobody
//! knows: as long as such a one is here no turn begins, and none that has begun hands over a commit that builds on it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use oprc_mesh::id::FieldKey;
use oprc_mesh::wire::FieldWrite;
use oprc_odgm::Head;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::overlay::{Overlay, Seen};

/// Commits of one object that may be under way at once; at so many the next turn waits.
pub(super) const AHEAD_COMMITS_MAX: usize = 256;
/// Keys and values in them; at so many bytes the next turn waits. One commit alone may be larger.
pub(super) const AHEAD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// See the module.
#[derive(Default)]
pub(super) struct Chain {
    inner: Mutex<Inner>,
    /// Told when a commit is decided.
    decided: Notify,
}

#[derive(Default)]
struct Inner {
    links: VecDeque<Arc<Link>>,
    calls: HashMap<String, Arc<Link>>,
    /// The newest write under way of each field, and whose it is.
    fields: BTreeMap<FieldKey, (Option<Bytes>, u64)>,
    bytes: usize,
    /// One of them failed or was given up: nothing may be built on the others.
    broken: bool,
    next: u64,
    term: u64,
    head: Head,
}

/// One commit under way.
pub(super) struct Link {
    number: u64,
    invocation: String,
    keys: Vec<FieldKey>,
    bytes: usize,
    stood: watch::Sender<Option<bool>>,
}

impl Link {
    /// Waits until it is decided; whether it took effect as it was meant to.
    pub(super) async fn stood(&self) -> bool {
        let mut stood = self.stood.subscribe();
        match stood.wait_for(Option::is_some).await {
            Ok(stood) => *stood == Some(true),
            Err(_) => false,
        }
    }
}

/// What a turn starts on while commits are under way.
#[derive(Clone)]
pub(super) struct Ahead {
    pub(super) chain: Arc<Chain>,
    /// Where the object will stand.
    pub(super) head: Head,
    /// In which term that was computed.
    pub(super) term: u64,
    /// The last commit that it builds on.
    pub(super) last: Arc<Link>,
}

impl Ahead {
    /// Whether what it builds on cannot stand any more, as far as is known.
    pub(super) fn is_lost(&self) -> bool {
        *self.last.stood.borrow() == Some(false) || self.chain.is_broken()
    }
}

impl Chain {
    /// Waits until the next turn may begin; what it starts on, or none when that is the committed state alone. To be called
    /// by whoever has the object's turn.
    pub(super) async fn ready(self: &Arc<Self>) -> Option<Ahead> {
        loop {
            // before the look, so that what is decided after it is heard of
            let decided = self.decided.notified();
            {
                let inner = self.inner.lock();
                let last = inner.links.back()?;
                let room = inner.links.len() < AHEAD_COMMITS_MAX && inner.bytes < AHEAD_BYTES_MAX;
                if room && !inner.broken {
                    let (head, term) = (inner.head, inner.term);
                    return Some(Ahead { chain: self.clone(), head, term, last: last.clone() });
                }
            }
            decided.await;
        }
    }

    /// The commit under way of a call.
    pub(super) fn call(&self, invocation: &str) -> Option<Arc<Link>> {
        self.inner.lock().calls.get(invocation).cloned()
    }

    /// Adds a commit that was handed over in `term` and will leave the object at `head`; none when nobody may build on it.
    pub(super) fn push(
        &self,
        term: u64,
        head: Option<Head>,
        writes: Vec<(FieldKey, Option<Bytes>)>,
        invocation: &str,
    ) -> Arc<Link> {
        let mut inner = self.inner.lock();
        let number = inner.next;
        inner.next += 1;
        match head {
            Some(head) => (inner.term, inner.head) = (term, head),
            None => inner.broken = true,
        }
        let size = |(key, value): &(FieldKey, Option<Bytes>)| {
            key.as_str().len() + value.as_ref().map_or(0, Bytes::len)
        };
        let bytes = writes.iter().map(size).sum();
        inner.bytes += bytes;
        let keys = writes.iter().map(|(key, _)| key.clone()).collect();
        let stood = watch::Sender::new(None);
        let link = Arc::new(Link { number, invocation: invocation.to_owned(), keys, bytes, stood });
        inner.fields.extend(writes.into_iter().map(|(key, value)| (key, (value, number))));
        if !invocation.is_empty() {
            inner.calls.insert(invocation.to_owned(), link.clone());
        }
        inner.links.push_back(link.clone());
        link
    }

    /// A commit is decided; `stood` tells whether it took effect as it was meant to.
    pub(super) fn settle(&self, link: &Link, stood: bool) {
        let mut inner = self.inner.lock();
        inner.links.retain(|other| other.number != link.number);
        inner.bytes -= link.bytes;
        inner.broken |= !stood;
        for key in &link.keys {
            if inner.fields.get(key).is_some_and(|(_, number)| *number == link.number) {
                inner.fields.remove(key);
            }
        }
        if inner.calls.get(&link.invocation).is_some_and(|known| known.number == link.number) {
            inner.calls.remove(&link.invocation);
        }
        if inner.links.is_empty() {
            inner.broken = false;
        }
        drop(inner);
        link.stood.send_replace(Some(stood));
        self.decided.notify_one();
    }

    /// Whether one of the commits under way failed, or was given up.
    fn is_broken(&self) -> bool {
        self.inner.lock().broken
    }

    /// Nothing more is built on what is under way.
    pub(super) fn give_up(&self) {
        let mut inner = self.inner.lock();
        inner.broken = !inner.links.is_empty();
    }

    /// What the commits under way make of a field. To be asked before the committed state is, so that a commit which is
    /// applied in between is seen here or there.
    pub(super) fn get(&self, key: &FieldKey) -> Seen {
        let inner = self.inner.lock();
        inner.fields.get(key).map_or(Seen::Below, |(value, _)| Seen::Here(value.clone()))
    }

    /// What they make of all fields. As [`Self::get`].
    pub(super) fn writes(&self) -> Overlay {
        let inner = self.inner.lock();
        Overlay::of(inner.fields.iter().map(|(key, (value, _))| (key.clone(), value.clone())).collect())
    }
}

/// The writes of a commit by their keys.
pub(super) fn keyed(writes: &[FieldWrite]) -> Result<Vec<(FieldKey, Option<Bytes>)>, oprc_mesh::id::IdError> {
    writes.iter().map(|write| Ok((FieldKey::parse(&write.key)?, write.value.clone()))).collect()
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
