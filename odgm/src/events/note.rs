//! What a commit did, as its event tells it.

use oprc_mesh::limits::EVENT_CHANGES_MAX;
use oprc_mesh::wire::{Event, FieldAction, FieldChange, FieldWrite, ObjectAction, Tag};

use super::record::Told;
use crate::error::OdgmError;
use crate::record::CommitRecord;
use crate::types::{Change, Head};

/// A commit that is applied.
#[derive(Clone, Copy)]
pub(crate) struct Step<'a> {
    pub(crate) commit: &'a CommitRecord,
    pub(crate) change: Change,
    /// Where the object stood.
    pub(crate) before: Option<Head>,
    /// Where it stands now.
    pub(crate) after: Option<Head>,
}

/// The event of a commit; none when it did nothing at all. `has` tells whether a field was there before, by the home of
/// its object and its key; it is asked for the fields that the event names and no others.
pub(crate) fn note(
    step: Step<'_>,
    has: impl Fn(u64, &str) -> Result<bool, OdgmError>,
) -> Result<Option<Told>, OdgmError> {
    let Step { commit, change, before, after } = step;
    let action = action(change, before, after);
    if action == ObjectAction::None && commit.emitted.is_empty() {
        return Ok(None);
    }
    // what was there before the commit, as far as the commit left it in place
    let below = before.filter(|_| matches!(action, ObjectAction::Update | ObjectAction::Replace));
    let writes: &[FieldWrite] =
        if matches!(action, ObjectAction::Delete | ObjectAction::None) { &[] } else { &commit.writes };
    let named = &writes[..writes.len().min(EVENT_CHANGES_MAX)];
    let mut changes = Vec::with_capacity(named.len());
    for write in named {
        let was = below.map_or(Ok(false), |head| has(head.home, &write.key))?;
        changes.extend(
            field_action(action, write, was)
                .map(|field| FieldChange { key: write.key.clone(), action: field as i32 }),
        );
    }
    let event = Event {
        seq: 0,
        object: commit.object.clone(),
        tag: tag(before, after),
        action: action as i32,
        changes,
        unlisted: (writes.len() - named.len()) as u64,
        emitted: commit.emitted.clone(),
        class: 0,
    };
    Ok(Some(Told { class: commit.class, event }))
}

fn action(change: Change, before: Option<Head>, after: Option<Head>) -> ObjectAction {
    match (change, before, after) {
        (Change::Keep, ..) | (_, None, None) => ObjectAction::None,
        (_, Some(_), None) => ObjectAction::Delete,
        (_, None, Some(_)) => ObjectAction::Create,
        (Change::Recreate, ..) => ObjectAction::Recreate,
        (Change::Replace, ..) => ObjectAction::Replace,
        (Change::Merge | Change::Delete, ..) => ObjectAction::Update,
    }
}

/// What a write did to a field that was, or was not, there. One that deletes what is not there, or what a replacement takes
/// away anyway, is not told of.
fn field_action(action: ObjectAction, write: &FieldWrite, was: bool) -> Option<FieldAction> {
    match (&write.value, was) {
        (Some(_), false) => Some(FieldAction::Create),
        (Some(_), true) => Some(FieldAction::Update),
        (None, true) if action == ObjectAction::Update => Some(FieldAction::Delete),
        (None, _) => None,
    }
}

/// Where the commit brought the object. A deletion counts as a version of its own.
fn tag(before: Option<Head>, after: Option<Head>) -> Tag {
    let gone = |head: Head| Tag { version: head.tag.version + 1, ..head.tag };
    after.map(|head| head.tag).or(before.map(gone)).unwrap_or_default()
}
