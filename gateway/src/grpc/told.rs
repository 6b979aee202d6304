//! The pieces of a stream of events as messages. A piece is encoded once for all its readers, as Server-Sent Events
//! ([`crate::stream`]); readers of this protocol have their messages made from it.

use std::borrow::Cow;

use bytes::Bytes;
use oprc_mesh::outcome::{Code, Effect};
use oprc_mesh::wire::{FieldAction, ObjectAction};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::pb;
use super::pb::watch_response::Told;
use crate::forms::{Kind, read_value};
use crate::problem::Refusal;

/// Reads the blocks of one piece. The last one of a stream is why it ends.
pub(super) fn read(piece: &Bytes) -> Vec<Result<pb::WatchResponse, Refusal>> {
    let Ok(text) = std::str::from_utf8(piece) else { return vec![Err(unreadable("it is not text"))] };
    text.split("\n\n").filter(|block| !block.is_empty()).map(|block| message(piece, block)).collect()
}

fn message(piece: &Bytes, block: &str) -> Result<pb::WatchResponse, Refusal> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let id = field("id").unwrap_or_default().to_owned();
    let told = match (field("event"), field("data")) {
        (Some("end"), Some(data)) => return Err(end(&parse::<End<'_>>(data)?)),
        (Some("gap"), Some(data)) => Told::Gap(gap(&parse::<Gap<'_>>(data)?)),
        (None, Some(data)) => Told::Event(event(piece, &parse(data)?)?),
        (None, None) => Told::Heartbeat(pb::Heartbeat {}),
        (Some(name), _) => return Err(unreadable(&format!("it has a block of the name {name:?}"))),
    };
    Ok(pb::WatchResponse { id, told: Some(told) })
}

fn parse<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, Refusal> {
    serde_json::from_str(data).map_err(|error| unreadable(&error.to_string()))
}

fn unreadable(why: &str) -> Refusal {
    Refusal::new(Code::Internal, format!("a piece of the stream could not be read: {why}"))
}

#[derive(Deserialize)]
struct End<'a> {
    reason: &'a str,
    detail: &'a str,
}

#[derive(Deserialize)]
struct Gap<'a> {
    reason: &'a str,
}

#[derive(Deserialize)]
struct Document<'a> {
    class: String,
    object: String,
    version: u64,
    incarnation: u64,
    action: &'a str,
    #[serde(borrow)]
    changes: Vec<Change<'a>>,
    #[serde(default)]
    unlisted: u64,
    #[serde(borrow)]
    emitted: Vec<Emitted<'a>>,
}

#[derive(Deserialize)]
struct Change<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    action: &'a str,
}

#[derive(Deserialize)]
struct Emitted<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

fn end(End { reason, detail }: &End<'_>) -> Refusal {
    let code = match *reason {
        "slow-reader" => Code::Overloaded,
        "class-removed" => Code::NotFound,
        "denied" => Code::Unauthenticated,
        _ => Code::Unavailable,
    };
    Refusal::new(code, *detail).effect(Effect::NotRun)
}

fn gap(gap: &Gap<'_>) -> pb::Gap {
    let reason = match gap.reason {
        "trimmed" => pb::GapReason::Trimmed,
        "unknown-id" => pb::GapReason::UnknownId,
        _ => pb::GapReason::Unspecified,
    };
    pb::Gap { reason: reason as i32 }
}

fn event(piece: &Bytes, document: &Document<'_>) -> Result<pb::Event, Refusal> {
    let changes = document.changes.iter().map(|change| {
        let action = field_action(change.action) as i32;
        pb::FieldChange { key: change.key.to_string(), action }
    });
    let emitted = document.emitted.iter().map(|emitted| {
        let payload = read_value(piece, &emitted.topic, emitted.payload, Kind::Replace)?;
        Ok::<_, Refusal>(pb::Emitted {
            topic: emitted.topic.to_string(),
            payload: payload.unwrap_or_default(),
        })
    });
    Ok(pb::Event {
        class_name: document.class.clone(),
        object: document.object.clone(),
        version: document.version,
        incarnation: document.incarnation,
        action: object_action(document.action) as i32,
        changes: changes.collect(),
        unlisted: document.unlisted,
        emitted: emitted.collect::<Result<_, _>>()?,
    })
}

fn object_action(text: &str) -> pb::ObjectAction {
    let known = [
        (ObjectAction::Update, pb::ObjectAction::Update),
        (ObjectAction::Create, pb::ObjectAction::Create),
        (ObjectAction::Replace, pb::ObjectAction::Replace),
        (ObjectAction::Delete, pb::ObjectAction::Delete),
        (ObjectAction::Recreate, pb::ObjectAction::Recreate),
        (ObjectAction::None, pb::ObjectAction::None),
    ];
    let found = known.into_iter().find(|(action, _)| action.as_str() == text);
    found.map_or(pb::ObjectAction::Unspecified, |(_, told)| told)
}

fn field_action(text: &str) -> pb::FieldAction {
    let known = [
        (FieldAction::Update, pb::FieldAction::Update),
        (FieldAction::Create, pb::FieldAction::Create),
        (FieldAction::Delete, pb::FieldAction::Delete),
    ];
    let found = known.into_iter().find(|(action, _)| action.as_str() == text);
    found.map_or(pb::FieldAction::Unspecified, |(_, told)| told)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::stream::{End, Gap, event, gap, opening};
    use oprc_mesh::events::write_members;
    use oprc_mesh::wire::{Emitted, Event, FieldChange, Tag};

    #[test]
    fn a_piece_reads_back_as_what_it_was_made_of() {
        let change = |key: &str, action: FieldAction| FieldChange { key: key.into(), action: action as i32 };
        let emit = |payload: &'static [u8]| Emitted { topic: "t\"1".into(), payload: payload.into() };
        let made = Event {
            object: "o\"1".into(),
            tag: Tag { incarnation: 7, version: 3 },
            action: ObjectAction::Recreate as i32,
            changes: vec![change("k\\", FieldAction::Create), change("l", FieldAction::Delete)],
            unlisted: 2,
            emitted: vec![emit(b"{\"a\":1}"), emit(b"plain"), emit(b"\xff\n\n"), emit(b"{\"$text\":\"x\"}")],
            ..Event::default()
        };
        let (mut text, mut members) = (opening("AQ"), Vec::new());
        write_members(&mut members, "C", &made);
        event(&mut text, "Ag", &members);
        gap(&mut text, "Aw", "C", None, Gap::Trimmed);
        text.extend_from_slice(&End::Removed.block());
        let mut told = read(&text.into()).into_iter();
        let first = told.next().unwrap().unwrap();
        assert_eq!((first.id.as_str(), first.told), ("AQ", Some(Told::Heartbeat(pb::Heartbeat {}))));
        let second = told.next().unwrap().unwrap();
        let Some(Told::Event(event)) = second.told else { panic!("an event") };
        assert_eq!(
            (second.id.as_str(), event.class_name.as_str(), event.object.as_str()),
            ("Ag", "C", "o\"1")
        );
        assert_eq!((event.version, event.incarnation, event.unlisted), (3, 7, 2));
        assert_eq!(event.action(), pb::ObjectAction::Recreate);
        let changes: Vec<_> = event.changes.iter().map(|one| (one.key.as_str(), one.action())).collect();
        assert_eq!(changes, [("k\\", pb::FieldAction::Create), ("l", pb::FieldAction::Delete)]);
        let payloads: Vec<_> = event.emitted.iter().map(|one| &one.payload[..]).collect();
        assert_eq!(payloads, [&b"{\"a\":1}"[..], b"plain", b"\xff\n\n", b"{\"$text\":\"x\"}"]);
        let third = told.next().unwrap().unwrap();
        assert_eq!(third.told, Some(Told::Gap(pb::Gap { reason: pb::GapReason::Trimmed as i32 })));
        assert_eq!(told.next().unwrap().unwrap_err().problem().kind(), Code::NotFound);
        assert!(told.next().is_none());
    }

    #[test]
    fn every_action_and_end_has_its_own() {
        for number in 0..6 {
            let action = ObjectAction::try_from(number).unwrap();
            assert_eq!(object_action(action.as_str()) as i32, number + 1);
        }
        for number in 0..3 {
            let action = FieldAction::try_from(number).unwrap();
            assert_ne!(field_action(action.as_str()), pb::FieldAction::Unspecified);
        }
        let code = |end: End| read(&end.block().into()).remove(0).unwrap_err().problem().kind();
        assert_eq!(code(End::Slow), Code::Overloaded);
        assert_eq!(code(End::Stopping), Code::Unavailable);
        assert_eq!(code(End::Moved), Code::Unavailable);
    }
}
