//! What a commit's triggers send: a function of the manifest, of the writes, and of what was there before. It is found out
//! before the commit, whose fence makes sure that nothing has changed in between.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use oprc_mesh::catalog::{Class, Trigger, TriggerEvent};
use oprc_mesh::id::{ClassName, FieldKey, MethodName, ObjectId};
use oprc_mesh::limits::PAGE_ITEMS_MAX;
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::triggers::SAME_ID;
use oprc_mesh::wire::FieldWrite;
use oprc_odgm::Change;
use serde::Serialize;

use super::access::Bound;
use crate::wasm::Letter;

/// Values of one message, at the most: what is larger is left out, as if it had not been asked for.
const VALUES_BYTES_MAX: usize = 512 * 1024;

/// What happened to a field or a method, as triggers see it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    pub(super) kind: TriggerEvent,
    /// The field's key, or the method's name.
    pub(super) subject: String,
    pub(super) old: Option<Bytes>,
    pub(super) new: Option<Bytes>,
    pub(super) problem: Option<String>,
}

/// What is told to the method that a trigger calls: `change` of the interface `triggers` in wit/, as the one argument.
#[derive(Serialize)]
struct Told<'a> {
    class: &'a str,
    object: &'a str,
    action: &'static str,
    key: Option<&'a str>,
    method: Option<&'a str>,
    version: u64,
    old: Option<String>,
    new: Option<String>,
    problem: Option<&'a str>,
}

/// The events of fields that some trigger of `class` fires on, in key order.
///
/// # Errors
/// `write-limit` when there are more than the class may send.
pub(super) fn of_fields(
    class: &Class,
    before: &Bound,
    change: Change,
    writes: &[FieldWrite],
) -> Result<Vec<Event>, Problem> {
    let triggers: Vec<&Trigger> = field_triggers(class);
    if triggers.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = |key: &str| triggers.iter().any(|trigger| fires(trigger, key));
    let mut old = match change {
        Change::Keep | Change::Merge => BTreeMap::new(),
        Change::Replace | Change::Delete | Change::Recreate => matching(before, &triggers, class)?,
    };
    let mut events = Vec::new();
    for write in writes.iter().filter(|write| wanted(&write.key)) {
        let was = match change {
            Change::Merge => before.field(&FieldKey::parse(&write.key)?)?,
            _ => old.remove(&write.key),
        };
        let kind = match (&was, &write.value) {
            (None, Some(_)) => TriggerEvent::Create,
            (Some(_), Some(_)) => TriggerEvent::Update,
            (Some(_), None) => TriggerEvent::Delete,
            (None, None) => continue, // deleting what is not there is no event
        };
        events.push(Event {
            kind,
            subject: write.key.clone(),
            old: was,
            new: write.value.clone(),
            problem: None,
        });
    }
    let gone = |(key, was)| Event {
        kind: TriggerEvent::Delete,
        subject: key,
        old: Some(was),
        new: None,
        problem: None,
    };
    events.extend(old.into_iter().map(gone));
    events.sort_by(|a, b| a.subject.cmp(&b.subject));
    Ok(events)
}

fn field_triggers(class: &Class) -> Vec<&Trigger> {
    let of_field = |trigger: &&Trigger| {
        TriggerEvent::ALL.iter().any(|event| event.is_of_field() && trigger.listens_to(*event))
    };
    class.settings.triggers.iter().filter(of_field).collect()
}

fn fires(trigger: &Trigger, key: &str) -> bool {
    TriggerEvent::ALL.iter().any(|event| event.is_of_field() && trigger.fires_on(*event, key))
}

/// The fields that triggers are about, as the commit found them; no more of them than the class may send messages.
fn matching(
    object: &Bound,
    triggers: &[&Trigger],
    class: &Class,
) -> Result<BTreeMap<String, Bytes>, Problem> {
    let mut found = BTreeMap::new();
    for trigger in triggers {
        let Some(prefix) = trigger.subject.strip_suffix('*') else {
            if let Some(value) = object.field(&FieldKey::parse(&trigger.subject)?)? {
                found.insert(trigger.subject.clone(), value);
            }
            continue;
        };
        let mut after = String::new();
        loop {
            let (page, more) = object.page(prefix, &after, PAGE_ITEMS_MAX)?;
            after = page.last().map(|field| field.key.clone()).unwrap_or_default();
            found.extend(page.into_iter().map(|field| (field.key, field.value)));
            if found.len() as u64 > class.settings.limits.sends {
                return Err(too_many(class));
            }
            if !more {
                break;
            }
        }
    }
    Ok(found)
}

/// What the triggers of `class` send for these events of `object`, which stands at `version` after the commit.
///
/// # Errors
/// `write-limit` when there are more messages than the class may send, or more bytes than it may write.
pub(super) fn letters(
    class: &Class,
    name: &ClassName,
    object: &ObjectId,
    version: u64,
    events: &[Event],
) -> Result<Vec<Letter>, Problem> {
    let limits = &class.settings.limits;
    let (mut letters, mut bytes) = (Vec::new(), 0);
    for event in events {
        let triggers = class.settings.triggers.iter();
        for trigger in triggers.filter(|trigger| trigger.fires_on(event.kind, &event.subject)) {
            let letter = letter(trigger, name, object, version, event)?;
            bytes += letter.payload.len();
            letters.push(letter);
            if letters.len() as u64 > limits.sends || bytes as u64 > limits.write_kib * 1024 {
                return Err(too_many(class));
            }
        }
    }
    Ok(letters)
}

fn letter(
    trigger: &Trigger,
    name: &ClassName,
    object: &ObjectId,
    version: u64,
    event: &Event,
) -> Result<Letter, Problem> {
    let of_field = event.kind.is_of_field();
    let size = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
    let values = trigger.values && size(&event.old) + size(&event.new) <= VALUES_BYTES_MAX;
    let value = |value: &Option<Bytes>| value.as_ref().filter(|_| values).map(|bytes| STANDARD.encode(bytes));
    let told = Told {
        class: name.as_str(),
        object: object.as_str(),
        action: event.kind.as_str(),
        key: Some(event.subject.as_str()).filter(|_| of_field),
        method: Some(event.subject.as_str()).filter(|_| !of_field),
        version,
        old: value(&event.old),
        new: value(&event.new),
        problem: event.problem.as_deref(),
    };
    let payload = serde_json::to_vec(&[told]).map_err(|error| {
        Problem::new(Code::Internal, format!("a trigger's message cannot be written: {error}"))
    })?;
    let target = match trigger.object.as_deref() {
        None => None,
        Some(SAME_ID) => Some(object.clone()),
        Some(id) => Some(ObjectId::parse(id)?),
    };
    Ok(Letter {
        class: ClassName::parse(&trigger.class)?,
        object: target,
        method: MethodName::parse(&trigger.method)?,
        payload: payload.into(),
        due_ms: 0,
        key: None,
    })
}

fn too_many(class: &Class) -> Problem {
    let limits = &class.settings.limits;
    let detail = format!(
        "the triggers of class {} would send more than sends = {} messages or write_kib = {} KiB at once",
        class.name, limits.sends, limits.write_kib
    );
    Problem::new(Code::WriteLimit, detail).hint("change less at once, or raise the limit in the manifest")
}

#[cfg(test)]
#[path = "triggers_tests.rs"]
mod tests;
