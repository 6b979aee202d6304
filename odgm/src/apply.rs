//! What a commit does, decided without clock, randomness or I/O: every replica comes to the same effects and replies.
//!
//! The fences, in this order:
//! 1. a known invocation id is answered with its stored outcome, before anything can reject it: a call that took effect
//!    stays done, whatever came after it;
//! 2. a commit computed in another term is rejected: its leader may have missed what a later one wrote;
//! 3. a commit of a message's turn is rejected when the message was settled before;
//! 4. a commit computed by an older revision of the class's code is rejected;
//! 5. a commit computed on another state of the object, or of its timers, is rejected.
//!
//! A rejected commit has no effect at all. What is kept of calls goes by [`crate::keeping`].

use std::cell::RefCell;
use std::collections::HashMap;

use oprc_mesh::wire::Tag;

use crate::error::OdgmError;
use crate::events::{Step, Told, note};
use crate::keeping::{Expiry, Keeper, Kept};
use crate::mail::Desk;
use crate::record::{ClockRecord, CommitBatch, CommitRecord, KnownRecord};
use crate::types::{Change, CommitReply, Head, INCARNATION_PLACE_BITS, Known, Outcome, Rejection};

/// The committed state, as far as fences need it.
pub(crate) trait View {
    fn head(&self, class: u64, object: &str) -> Result<Option<Head>, OdgmError>;
    /// The highest revision applied of the class; 0 for none.
    fn revision(&self, class: u64) -> Result<u64, OdgmError>;
    /// What is kept of a call.
    fn known(&self, class: u64, object: &str, invocation: &str) -> Result<Option<KnownRecord>, OdgmError>;
    /// Whether the object has the field in this home.
    fn has_field(&self, class: u64, object: &str, home: u64, key: &str) -> Result<bool, OdgmError>;
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
    /// A call took effect.
    Remember {
        class: u64,
        object: &'a str,
        invocation: &'a str,
        outcome: &'a Outcome,
        /// Where it left the object.
        tag: Option<Tag>,
        /// When it may be forgotten.
        expiry: Expiry,
    },
    /// Nothing is kept of a call any more.
    Forget(Expiry),
    SetClock(ClockRecord),
    /// What the commit did, to be numbered and logged.
    Tell(Box<Told>),
}

/// Applies the commits of the entry `(term, index)` in order; a later one sees what an earlier one did. What they do to the
/// partition's messages, they do on `desk`.
pub(crate) fn apply_batch<'a>(
    view: &(impl View + Kept),
    desk: &mut Desk<'_>,
    batch: &'a CommitBatch,
    term: u64,
    index: u64,
) -> Result<(Vec<Effect<'a>>, Vec<CommitReply>), OdgmError> {
    let mut overlay = Overlay::new(view);
    let mut keeper = Keeper::new(view, batch.now_ms)?;
    let mut effects = Vec::with_capacity(batch.commits.len() * 5 + 1);
    let mut replies = Vec::with_capacity(batch.commits.len());
    for (place, commit) in (0..).zip(&batch.commits) {
        let fresh = (index << INCARNATION_PLACE_BITS) | place;
        let from = effects.len();
        replies.push(apply(&overlay, (desk, &mut keeper), commit, term, fresh, &mut effects)?);
        // nobody looks after the last one
        if place + 1 < batch.commits.len() as u64 {
            overlay.absorb(&effects[from..]);
        }
    }
    let (forgotten, clock) = keeper.finish(view, batch.commits.len())?;
    effects.extend(forgotten.into_iter().map(Effect::Forget));
    effects.extend(clock.map(Effect::SetClock));
    Ok((effects, replies))
}

/// Applies one commit. `fresh` is a number never used before in the group: a new incarnation or home.
fn apply<'a>(
    view: &impl View,
    (desk, keeper): (&mut Desk<'_>, &mut Keeper),
    commit: &'a CommitRecord,
    term: u64,
    fresh: u64,
    effects: &mut Vec<Effect<'a>>,
) -> Result<CommitReply, OdgmError> {
    if commit.outcome.is_some()
        && let Some(known) = view.known(commit.class, &commit.object, &commit.invocation)?
    {
        let KnownRecord { outcome, tag } = known;
        return Ok(CommitReply::Known(Box::new(Known { outcome, tag })));
    }
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
    let bound = change != Change::Keep || !commit.unbound;
    if (bound && commit.base != current) || !has_timers(desk, commit)? {
        return Ok(CommitReply::Rejected(Rejection::Base { current }));
    }
    if commit.revision > revision {
        effects.push(Effect::SetRevision { class: commit.class, revision: commit.revision });
    }
    mail(desk, commit)?;
    let next = next_head(change, head, fresh);
    let told = note(Step { commit, change, before: head, after: next }, |home, key| {
        view.has_field(commit.class, &commit.object, home, key)
    })?;
    if change != Change::Keep {
        write_object(commit, head, next, effects);
    }
    effects.extend(told.map(|told| Effect::Tell(Box::new(told))));
    let tag = next.map(|head| head.tag);
    if let Some(outcome) = &commit.outcome {
        let expiry = keeper.remember(commit, outcome, fresh);
        let CommitRecord { class, object, invocation, .. } = commit;
        effects.push(Effect::Remember { class: *class, object, invocation, outcome, tag, expiry });
    }
    Ok(CommitReply::Committed(tag))
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
    // by home, which no two objects share, and key
    fields: HashMap<(u64, &'a str), bool>,
    // filled on reads as well: most commits of a batch ask for the same few classes
    revisions: RefCell<HashMap<u64, u64>>,
    known: HashMap<(u64, &'a str, &'a str), (&'a Outcome, Option<Tag>)>,
}

impl<'v, 'a, V: View> Overlay<'v, 'a, V> {
    fn new(below: &'v V) -> Self {
        Self {
            below,
            heads: HashMap::new(),
            fields: HashMap::new(),
            revisions: RefCell::default(),
            known: HashMap::new(),
        }
    }

    fn absorb(&mut self, effects: &[Effect<'a>]) {
        for effect in effects {
            match effect {
                Effect::SetHead { class, object, head } => {
                    self.heads.insert((*class, *object), Some(*head));
                }
                Effect::DropHead { class, object } => {
                    self.heads.insert((*class, *object), None);
                }
                Effect::SetRevision { class, revision } => {
                    self.revisions.get_mut().insert(*class, *revision);
                }
                Effect::Remember { class, object, invocation, outcome, tag, .. } => {
                    self.known.insert((*class, *object, *invocation), (outcome, *tag));
                }
                Effect::SetField { home, key, .. } => {
                    self.fields.insert((*home, *key), true);
                }
                Effect::DropField { home, key, .. } => {
                    self.fields.insert((*home, *key), false);
                }
                Effect::DeadHome { .. } | Effect::Tell(_) | Effect::Forget(_) | Effect::SetClock(_) => {}
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

    fn has_field(&self, class: u64, object: &str, home: u64, key: &str) -> Result<bool, OdgmError> {
        match self.fields.get(&(home, key)) {
            Some(there) => Ok(*there),
            None => self.below.has_field(class, object, home, key),
        }
    }

    fn revision(&self, class: u64) -> Result<u64, OdgmError> {
        if let Some(revision) = self.revisions.borrow().get(&class) {
            return Ok(*revision);
        }
        let revision = self.below.revision(class)?;
        self.revisions.borrow_mut().insert(class, revision);
        Ok(revision)
    }

    fn known(&self, class: u64, object: &str, invocation: &str) -> Result<Option<KnownRecord>, OdgmError> {
        if let Some((outcome, tag)) = self.known.get(&(class, object, invocation)) {
            return Ok(Some(KnownRecord { outcome: Outcome::clone(outcome), tag: *tag }));
        }
        self.below.known(class, object, invocation)
    }
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
