//! What a commit does, decided without clock, randomness or I/O: every replica comes to the same effects and replies.
//!
//! The fences, in this order:
//! 1. a known invocation id is answered with its stored outcome: its place is here, before anything can reject it
//!    (the records' key bytes are kept free in [`crate::key`]);
//! 2. a commit computed in another term is rejected: its leader may have missed what a later one wrote;
//! 3. a commit of a message's turn is rejected when the message was settled before;
//! 4. a commit computed by an older revision of the class's code is rejected;
//! 5. a commit computed on another state of the object, or of its timers, is rejected.
//!
//! A rejected commit has no effect at all.

use std::cell::RefCell;
use std::collections::HashMap;

use oprc_mesh::wire::Tag;

use crate::error::OdgmError;
use crate::mail::Desk;
use crate::record::CommitRecord;
use crate::types::{Change, CommitReply, Head, INCARNATION_PLACE_BITS, Rejection};

/// The committed state, as far as fences need it.
pub(crate) trait View {
    fn head(&self, class: u64, object: &str) -> Result<Option<Head>, OdgmError>;
    /// The highest revision applied of the class; 0 for none.
    fn revision(&self, class: u64) -> Result<u64, OdgmError>;
}

/// One write to the partition's state.
#[derive(Debug, PartialEq)]
pub(crate) enum Effect<'a> {
    SetHead {
        class: u64,
        object: &'a str,
        head: Head,
    },
    DropHead {
        class: u64,
        object: &'a str,
    },
    SetField {
        class: u64,
        object: &'a str,
        home: u64,
        key: &'a str,
        value: &'a [u8],
    },
    DropField {
        class: u64,
        object: &'a str,
        home: u64,
        key: &'a str,
    },
    /// Nothing refers to this home any more; its fields may be collected.
    DeadHome {
        class: u64,
        object: &'a str,
        home: u64,
    },
    SetRevision {
        class: u64,
        revision: u64,
    },
}

/// Applies the commits of the entry `(term, index)` in order; a later one sees what an earlier one did. What they do to the
/// partition's messages, they do on `desk`.
pub(crate) fn apply_batch<'a>(
    view: &impl View,
    desk: &mut Desk<'_>,
    commits: &'a [CommitRecord],
    term: u64,
    index: u64,
) -> Result<(Vec<Effect<'a>>, Vec<CommitReply>), OdgmError> {
    let mut overlay = Overlay::new(view);
    let mut effects = Vec::with_capacity(commits.len() * 3);
    let mut replies = Vec::with_capacity(commits.len());
    for (place, commit) in (0..).zip(commits) {
        let fresh = (index << INCARNATION_PLACE_BITS) | place;
        let from = effects.len();
        replies.push(apply(&overlay, desk, commit, term, fresh, &mut effects)?);
        overlay.absorb(&effects[from..]);
    }
    Ok((effects, replies))
}

/// Applies one commit. `fresh` is a number never used before in the group: a new incarnation or home.
fn apply<'a>(
    view: &impl View,
    desk: &mut Desk<'_>,
    commit: &'a CommitRecord,
    term: u64,
    fresh: u64,
    effects: &mut Vec<Effect<'a>>,
) -> Result<CommitReply, OdgmError> {
    let change = Change::try_from(commit.change)
        .map_err(|unknown| OdgmError::corrupt("a commit in the log", format!("its kind: {unknown}")))?;
    if commit.term != term {
        return Ok(CommitReply::Rejected(Rejection::Term { current: term }));
    }
    if let Some(settle) = &commit.settle
        && !desk.is_ready(settle.ready)?
    {
        return Ok(CommitReply::Rejected(Rejection::Settled));
    }
    let revision = view.revision(commit.class)?;
    if commit.revision < revision {
        return Ok(CommitReply::Rejected(Rejection::Revision { current: revision }));
    }
    let head = view.head(commit.class, &commit.object)?;
    let current = head.map_or_else(Tag::default, |head| head.tag);
    if commit.base != current || !has_timers(desk, commit)? {
        return Ok(CommitReply::Rejected(Rejection::Base { current }));
    }
    if commit.revision > revision {
        effects.push(Effect::SetRevision { class: commit.class, revision: commit.revision });
    }
    mail(desk, commit)?;
    let next = next_head(change, head, fresh);
    if change != Change::Keep {
        write_object(commit, head, next, effects);
    }
    Ok(CommitReply::Committed(next.map(|head| head.tag)))
}

/// Whether every timer is there that the turn was told it cancels: one may have gone off since.
fn has_timers(desk: &Desk<'_>, commit: &CommitRecord) -> Result<bool, OdgmError> {
    for name in &commit.cancels {
        if !desk.has_timer(commit.class, &commit.object, name)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What the commit does to messages.
fn mail(desk: &mut Desk<'_>, commit: &CommitRecord) -> Result<(), OdgmError> {
    for name in &commit.cancels {
        desk.cancel(commit.class, &commit.object, name)?;
    }
    for outgoing in &commit.sends {
        desk.send(commit.class, outgoing)?;
    }
    match &commit.settle {
        Some(settle) => desk.settle(settle),
        None => Ok(()),
    }
}

/// Where the object stands after `change`; `None` when it is gone.
fn next_head(change: Change, head: Option<Head>, fresh: u64) -> Option<Head> {
    let created = Head { tag: Tag { incarnation: fresh, version: 1 }, home: fresh };
    let follow = |head: Head| Tag { version: head.tag.version + 1, ..head.tag };
    match (change, head) {
        (Change::Keep, head) => head,
        (Change::Delete, _) => None,
        (Change::Recreate, _) | (_, None) => Some(created),
        (Change::Merge, Some(head)) => Some(Head { tag: follow(head), ..head }),
        (Change::Replace, Some(head)) => Some(Head { tag: follow(head), home: fresh }),
    }
}

fn write_object<'a>(
    commit: &'a CommitRecord,
    before: Option<Head>,
    after: Option<Head>,
    effects: &mut Vec<Effect<'a>>,
) {
    let (class, object) = (commit.class, commit.object.as_str());
    if let Some(before) = before
        && after.is_none_or(|after| after.home != before.home)
    {
        effects.push(Effect::DeadHome { class, object, home: before.home });
    }
    let Some(head) = after else {
        if before.is_some() {
            effects.push(Effect::DropHead { class, object });
        }
        return;
    };
    effects.push(Effect::SetHead { class, object, head });
    for write in &commit.writes {
        let (home, key) = (head.home, write.key.as_str());
        effects.push(match &write.value {
            Some(value) => Effect::SetField { class, object, home, key, value },
            None => Effect::DropField { class, object, home, key },
        });
    }
}

/// The state with the effects of an entry's earlier commits on top.
struct Overlay<'v, 'a, V> {
    below: &'v V,
    heads: HashMap<(u64, &'a str), Option<Head>>,
    // filled on reads as well: most commits of a batch ask for the same few classes
    revisions: RefCell<HashMap<u64, u64>>,
}

impl<'v, 'a, V: View> Overlay<'v, 'a, V> {
    fn new(below: &'v V) -> Self {
        Self { below, heads: HashMap::new(), revisions: RefCell::default() }
    }

    fn absorb(&mut self, effects: &[Effect<'a>]) {
        for effect in effects {
            match *effect {
                Effect::SetHead { class, object, head } => {
                    self.heads.insert((class, object), Some(head));
                }
                Effect::DropHead { class, object } => {
                    self.heads.insert((class, object), None);
                }
                Effect::SetRevision { class, revision } => {
                    self.revisions.get_mut().insert(class, revision);
                }
                Effect::SetField { .. } | Effect::DropField { .. } | Effect::DeadHome { .. } => {}
            }
        }
    }
}

impl<V: View> View for Overlay<'_, '_, V> {
    fn head(&self, class: u64, object: &str) -> Result<Option<Head>, OdgmError> {
        if let Some(head) = self.heads.get(&(class, object)) {
            return Ok(*head);
        }
        self.below.head(class, object)
    }

    fn revision(&self, class: u64) -> Result<u64, OdgmError> {
        if let Some(revision) = self.revisions.borrow().get(&class) {
            return Ok(*revision);
        }
        let revision = self.below.revision(class)?;
        self.revisions.borrow_mut().insert(class, revision);
        Ok(revision)
    }
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
