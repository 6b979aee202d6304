//! The whole key layout of both databases. Assigned bytes never change: they are on disks.
//!
//! Log database (all groups' entries; big-endian numbers, so that byte order is index order):
//!
//! | key | value |
//! | --- | --- |
//! | `group u64, index u64` | a log record; indexes stay below [`LOG_INDEX_END`] |
//! | `group u64, u64::MAX - 2` | that the group was forgotten here, and how far its log went |
//! | `group u64, u64::MAX - 1` | the last purged log id |
//! | `group u64, u64::MAX` | the vote |
//!
//! State database (all groups' data):
//!
//! | key | value |
//! | --- | --- |
//! | `group, 0, 0, 0x01` | the number of the group's current replica generation |
//! | `group, generation, 0, 0x01` | last applied log id and membership |
//! | `group, generation, 0, 0x02, class` | highest revision applied of the class |
//! | `group, generation, 0, 0x03, class, object, home` | a dead home: its fields wait for collection |
//! | `group, generation, 0, 0x04, 0x07 ... 0x0b` | the group's clock and the boxes of messages, see [`crate::mail`] |
//! | `group, generation, 0, 0x05, class, object, invocation` | a call that took effect |
//! | `group, generation, 0, 0x06, expiry u64, number u64` | when one of those is forgotten |
//! | `group, generation, 0, 0x0c, number` | an event |
//! | `group, generation, 0, 0x0d` | where the event log stands |
//! | `group, generation, 0, 0x0d, number` | a full block of events, which begins after that number |
//! | `group, generation, 0, 0x0e` | how much is kept of calls, and as of when |
//! | `group, generation, 0, 0x10, kind, name` | a catalog record (group 0 only) |
//! | `group, generation, class, object, 0x01` | an object's head |
//! | `group, generation, class, object, 0x02, home, field` | a field |
//!
//! `group`, `generation`, `class` and `home` are u64. `object` is escaped so that it ends unmistakably and sorts like
//! the plain bytes: `00` becomes `00 ff`, and `00 00` ends it. `field` is the rest of the key as it is.

/// First index that is not a log entry's: what follows is reserved.
pub(crate) const LOG_INDEX_END: u64 = u64::MAX - 16;
const LOG_FORGOTTEN: u64 = u64::MAX - 2;
const LOG_PURGED: u64 = u64::MAX - 1;
const LOG_VOTE: u64 = u64::MAX;

/// `group, generation, class`: what the state database's prefix filters are built on.
pub(crate) const STATE_PREFIX_BYTES: usize = 24;

/// The class number of the group's own records; classes count from 1.
pub(crate) const OWN: u64 = 0;
/// Replica generations count from 1; 0 holds the pointer to the current one.
const POINTER_GENERATION: u64 = 0;

const OWN_STATE: u8 = 0x01;
const OWN_REVISION: u8 = 0x02;
const OWN_DEAD: u8 = 0x03;
const OWN_CLOCK: u8 = 0x04;
const OWN_KNOWN: u8 = 0x05;
const OWN_EXPIRY: u8 = 0x06;
const OWN_MAIL_FIRST: u8 = 0x07;
const OWN_MAIL_LAST: u8 = 0x0b;
const OWN_EVENT: u8 = 0x0c;
const OWN_EVENT_LOG: u8 = 0x0d;
const OWN_KEEPING: u8 = 0x0e;
const OWN_CATALOG: u8 = 0x10;

const OBJECT_HEAD: u8 = 0x01;
const OBJECT_FIELD: u8 = 0x02;

const ESCAPE: u8 = 0x00;
const ESCAPED_ZERO: u8 = 0xff;
const ESCAPED_END: u8 = 0x00;

/// The key of a log entry.
pub(crate) fn log_entry(group: u64, index: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&group.to_be_bytes());
    key[8..].copy_from_slice(&index.to_be_bytes());
    key
}

/// The key of a group's vote.
pub(crate) fn log_vote(group: u64) -> [u8; 16] {
    log_entry(group, LOG_VOTE)
}

/// The key of the note that a group was forgotten here.
pub(crate) fn log_forgotten(group: u64) -> [u8; 16] {
    log_entry(group, LOG_FORGOTTEN)
}

/// The key of a group's last purged log id.
pub(crate) fn log_purged(group: u64) -> [u8; 16] {
    log_entry(group, LOG_PURGED)
}

/// Group and index of a log key.
pub(crate) fn parse_log(key: &[u8]) -> Option<(u64, u64)> {
    let mut rest = key;
    let parts = (number(&mut rest)?, number(&mut rest)?);
    rest.is_empty().then_some(parts)
}

/// One replica generation of one group: where its keys begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) group: u64,
    pub(crate) generation: u64,
}

impl Space {
    /// The key of the group's pointer to its current generation.
    pub(crate) fn pointer(group: u64) -> Vec<u8> {
        Space { group, generation: POINTER_GENERATION }.state()
    }

    /// The least key of a group.
    pub(crate) fn group(group: u64) -> [u8; 8] {
        group.to_be_bytes()
    }

    /// The least key of the generation; the least key of the next one bounds it.
    pub(crate) fn begin(self) -> Vec<u8> {
        let mut key = Vec::with_capacity(64);
        key.extend_from_slice(&self.group.to_be_bytes());
        key.extend_from_slice(&self.generation.to_be_bytes());
        key
    }

    /// What all keys of a class begin with.
    pub(crate) fn class(self, class: u64) -> Vec<u8> {
        let mut key = self.begin();
        key.extend_from_slice(&class.to_be_bytes());
        key
    }

    fn own(self, kind: u8) -> Vec<u8> {
        let mut key = self.class(OWN);
        key.push(kind);
        key
    }

    /// Last applied log id and membership.
    pub(crate) fn state(self) -> Vec<u8> {
        self.own(OWN_STATE)
    }

    /// What the highest revisions of all classes begin with.
    pub(crate) fn revisions(self) -> Vec<u8> {
        self.own(OWN_REVISION)
    }

    /// The highest revision applied of a class.
    pub(crate) fn revision(self, class: u64) -> Vec<u8> {
        let mut key = self.own(OWN_REVISION);
        key.extend_from_slice(&class.to_be_bytes());
        key
    }

    /// What all dead homes begin with.
    pub(crate) fn dead_homes(self) -> Vec<u8> {
        self.own(OWN_DEAD)
    }

    /// What all dead homes of a class begin with.
    pub(crate) fn dead_homes_of(self, class: u64) -> Vec<u8> {
        let mut key = self.own(OWN_DEAD);
        key.extend_from_slice(&class.to_be_bytes());
        key
    }

    /// A dead home.
    pub(crate) fn dead_home(self, class: u64, object: &str, home: u64) -> Vec<u8> {
        let mut key = self.dead_homes_of(class);
        escape(&mut key, object.as_bytes());
        key.extend_from_slice(&home.to_be_bytes());
        key
    }

    /// How much is kept of calls.
    pub(crate) fn keeping(self) -> Vec<u8> {
        self.own(OWN_KEEPING)
    }

    /// What all calls of a class that took effect begin with.
    pub(crate) fn known_of(self, class: u64) -> Vec<u8> {
        let mut key = self.own(OWN_KNOWN);
        key.extend_from_slice(&class.to_be_bytes());
        key
    }

    /// A call that took effect.
    pub(crate) fn known(self, class: u64, object: &str, invocation: &str) -> Vec<u8> {
        let mut key = self.known_of(class);
        escape(&mut key, object.as_bytes());
        key.extend_from_slice(invocation.as_bytes());
        key
    }

    /// What all times at which calls are forgotten begin with.
    pub(crate) fn expiries(self) -> Vec<u8> {
        self.own(OWN_EXPIRY)
    }

    /// When a call is forgotten; `number` tells those of one moment apart.
    pub(crate) fn expiry(self, at_ms: u64, number: u64) -> Vec<u8> {
        let mut key = self.expiries();
        key.extend_from_slice(&at_ms.to_be_bytes());
        key.extend_from_slice(&number.to_be_bytes());
        key
    }

    /// What all events begin with.
    pub(crate) fn events(self) -> Vec<u8> {
        self.own(OWN_EVENT)
    }

    /// An event.
    pub(crate) fn event(self, seq: u64) -> Vec<u8> {
        let mut key = self.events();
        key.extend_from_slice(&seq.to_be_bytes());
        key
    }

    /// Where the event log stands.
    pub(crate) fn event_log(self) -> Vec<u8> {
        self.own(OWN_EVENT_LOG)
    }

    /// A full block of events.
    pub(crate) fn event_block(self, after: u64) -> Vec<u8> {
        let mut key = self.event_log();
        key.extend_from_slice(&after.to_be_bytes());
        key
    }

    /// A record of the clock or of messages, by its key below the group's own records.
    pub(crate) fn mail(self, below: &[u8]) -> Vec<u8> {
        let mut key = self.class(OWN);
        key.extend_from_slice(below);
        key
    }

    /// What all catalog records begin with; kind and name follow.
    pub(crate) fn catalog(self) -> Vec<u8> {
        self.own(OWN_CATALOG)
    }

    /// What all records of an object begin with.
    pub(crate) fn object(self, class: u64, object: &str) -> Vec<u8> {
        let mut key = self.class(class);
        escape(&mut key, object.as_bytes());
        key
    }

    /// What the records of all objects whose ids begin with `prefix` begin with.
    pub(crate) fn objects(self, class: u64, prefix: &str) -> Vec<u8> {
        let mut key = self.object(class, prefix);
        key.truncate(key.len() - 2);
        key
    }

    /// An object's head.
    pub(crate) fn head(self, class: u64, object: &str) -> Vec<u8> {
        let mut key = self.object(class, object);
        key.push(OBJECT_HEAD);
        key
    }

    /// What all fields in a home begin with; also a field, with its key as `field`.
    pub(crate) fn field(self, class: u64, object: &str, home: u64, field: &str) -> Vec<u8> {
        let mut key = self.object(class, object);
        key.push(OBJECT_FIELD);
        key.extend_from_slice(&home.to_be_bytes());
        key.extend_from_slice(field.as_bytes());
        key
    }
}

/// A state key, taken apart. Borrows nothing: only scans that need it pay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StateKey {
    State,
    Revision { class: u64 },
    DeadHome { class: u64, object: String, home: u64 },
    Keeping,
    Known { class: u64, object: String, invocation: String },
    Expiry { at_ms: u64, number: u64 },
    Event { seq: u64 },
    EventLog,
    EventBlock { after: u64 },
    Catalog { name: Vec<u8> },
    Mail { below: Vec<u8> },
    Head { class: u64, object: String },
    Field { class: u64, object: String, home: u64, field: String },
}

impl StateKey {
    /// Takes a key apart; `None` when this build would never write it.
    pub(crate) fn parse(key: &[u8]) -> Option<(Space, StateKey)> {
        let mut rest = key;
        let space = Space { group: number(&mut rest)?, generation: number(&mut rest)? };
        let class = number(&mut rest)?;
        let key =
            if class == OWN { Self::parse_own(&mut rest)? } else { Self::parse_object(class, &mut rest)? };
        rest.is_empty().then_some((space, key))
    }

    fn parse_own(rest: &mut &[u8]) -> Option<Self> {
        Some(match byte(rest)? {
            OWN_STATE => Self::State,
            OWN_REVISION => Self::Revision { class: number(rest)? },
            OWN_DEAD => Self::DeadHome { class: number(rest)?, object: unescape(rest)?, home: number(rest)? },
            OWN_KEEPING => Self::Keeping,
            OWN_KNOWN => {
                let (class, object) = (number(rest)?, unescape(rest)?);
                let invocation = String::from_utf8(std::mem::take(rest).to_vec()).ok()?;
                Self::Known { class, object, invocation }
            }
            OWN_EXPIRY => Self::Expiry { at_ms: number(rest)?, number: number(rest)? },
            OWN_EVENT => Self::Event { seq: number(rest)? },
            OWN_EVENT_LOG if rest.is_empty() => Self::EventLog,
            OWN_EVENT_LOG => Self::EventBlock { after: number(rest)? },
            OWN_CATALOG => Self::Catalog { name: std::mem::take(rest).to_vec() },
            kind @ (OWN_CLOCK | OWN_MAIL_FIRST..=OWN_MAIL_LAST) => {
                Self::Mail { below: [std::slice::from_ref(&kind), std::mem::take(rest)].concat() }
            }
            _ => return None,
        })
    }

    fn parse_object(class: u64, rest: &mut &[u8]) -> Option<Self> {
        let object = unescape(rest)?;
        Some(match byte(rest)? {
            OBJECT_HEAD => Self::Head { class, object },
            OBJECT_FIELD => {
                let home = number(rest)?;
                let field = String::from_utf8(std::mem::take(rest).to_vec()).ok()?;
                Self::Field { class, object, home, field }
            }
            _ => return None,
        })
    }
}

/// The group of a state key.
pub(crate) fn parse_group(mut key: &[u8]) -> Option<u64> {
    number(&mut key)
}

/// The class of a state key.
pub(crate) fn parse_class(key: &[u8]) -> Option<u64> {
    number(&mut key.get(16..)?)
}

/// The least key past all keys that begin with `prefix`; `None` when there is no such key.
pub(crate) fn successor(mut prefix: Vec<u8>) -> Option<Vec<u8>> {
    while let Some(last) = prefix.pop() {
        if last < u8::MAX {
            prefix.push(last + 1);
            return Some(prefix);
        }
    }
    None
}

/// Adds text that ends unmistakably to a key, in an order of its own.
pub(crate) fn end_text(key: &mut Vec<u8>, text: &str) {
    escape(key, text.as_bytes());
}

/// Takes such text off the front of a key.
pub(crate) fn take_text(rest: &mut &[u8]) -> Option<String> {
    unescape(rest)
}

fn escape(key: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        key.push(byte);
        if byte == ESCAPE {
            key.push(ESCAPED_ZERO);
        }
    }
    key.extend_from_slice(&[ESCAPE, ESCAPED_END]);
}

fn unescape(rest: &mut &[u8]) -> Option<String> {
    let mut text = Vec::new();
    loop {
        match byte(rest)? {
            ESCAPE => match byte(rest)? {
                ESCAPED_END => return String::from_utf8(text).ok(),
                ESCAPED_ZERO => text.push(0),
                _ => return None,
            },
            plain => text.push(plain),
        }
    }
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (&first, tail) = rest.split_first()?;
    *rest = tail;
    Some(first)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (first, tail) = rest.split_first_chunk::<8>()?;
    *rest = tail;
    Some(u64::from_be_bytes(*first))
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
