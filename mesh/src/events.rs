//! Events as the world sees them: their ids and their documents. The same on the mesh and at the gateway.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::json::{write_string, write_value};
use crate::limits::GRID_PARTITIONS_MAX;
use crate::wire::{Event, Tag};

const VERSION: u8 = 1;
/// The longest id of all: every partition of the largest grid, with the largest numbers.
const ID_BYTES_MAX: usize = (GRID_PARTITIONS_MAX as usize * 20 + 16) * 4 / 3;

/// A place in the streams of events of some partitions: everything up to it was told. Its text is an event's id, which is
/// opaque to clients: base64url of a version, the class's number, and for each partition how far its group is past the
/// one before and the number of its event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The class's number: another class of the same name, deployed after a purge, has other events.
    pub class: u64,
    /// The number of the last event, by the partition's Raft group.
    pub positions: BTreeMap<u64, u64>,
}

/// A text that is no id of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not the id of an event")]
pub struct NoCursor;

impl Cursor {
    /// A place in one partition.
    pub fn at(class: u64, group: u64, seq: u64) -> Self {
        Self { class, positions: BTreeMap::from([(group, seq)]) }
    }

    /// The text that stands for it.
    pub fn id(&self) -> String {
        let mut bytes = vec![VERSION];
        push(&mut bytes, self.class);
        let mut before = 0;
        for (group, seq) in &self.positions {
            push(&mut bytes, group - before);
            push(&mut bytes, *seq);
            before = *group;
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads an id.
    ///
    /// # Errors
    /// [`NoCursor`] for what was never one.
    pub fn parse(id: &str) -> Result<Self, NoCursor> {
        if id.len() > ID_BYTES_MAX {
            return Err(NoCursor);
        }
        let bytes = URL_SAFE_NO_PAD.decode(id).map_err(|_| NoCursor)?;
        let mut rest = bytes.strip_prefix(&[VERSION]).ok_or(NoCursor)?;
        let class = take(&mut rest)?;
        let mut positions = BTreeMap::new();
        let mut before: u64 = 0;
        while !rest.is_empty() {
            let group = before.checked_add(take(&mut rest)?).ok_or(NoCursor)?;
            if positions.insert(group, take(&mut rest)?).is_some() {
                return Err(NoCursor);
            }
            before = group;
        }
        if positions.is_empty() { Err(NoCursor) } else { Ok(Self { class, positions }) }
    }
}

/// LEB128: seven bits to a byte, the lowest first.
fn push(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(rest: &mut &[u8]) -> Result<u64, NoCursor> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, tail) = rest.split_first().ok_or(NoCursor)?;
        *rest = tail;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(NoCursor);
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(NoCursor)
}

/// Writes the members of an event's document after its id: `,"class":...}`. Whoever sends one event under several ids
/// writes them once. It holds no line break.
pub fn write_members(out: &mut Vec<u8>, class: &str, event: &Event) {
    let from = out.len();
    out.extend_from_slice(b",\"class\":");
    write_string(out, class);
    out.extend_from_slice(b",\"object\":");
    write_string(out, &event.object);
    let Tag { incarnation, version } = event.tag;
    let action = event.action().as_str();
    let text =
        format!(",\"version\":{version},\"incarnation\":{incarnation},\"action\":\"{action}\",\"changes\":[");
    out.extend_from_slice(text.as_bytes());
    for (at, change) in event.changes.iter().enumerate() {
        out.extend_from_slice(if at > 0 { b",{\"key\":" } else { b"{\"key\":" });
        write_string(out, &change.key);
        out.extend_from_slice(format!(",\"action\":\"{}\"}}", change.action().as_str()).as_bytes());
    }
    out.push(b']');
    if event.unlisted > 0 {
        out.extend_from_slice(format!(",\"unlisted\":{}", event.unlisted).as_bytes());
    }
    out.extend_from_slice(b",\"emitted\":[");
    for (at, emitted) in event.emitted.iter().enumerate() {
        out.extend_from_slice(if at > 0 { b",{\"topic\":" } else { b"{\"topic\":" });
        write_string(out, &emitted.topic);
        out.extend_from_slice(b",\"payload\":");
        write_value(out, &emitted.payload);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    // a payload that is JSON text stands there as it is, and between its tokens it may have line breaks
    for byte in out[from..].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
}

/// The document of an event.
pub fn document(id: &str, class: &str, event: &Event) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"id\":");
    write_string(&mut out, id);
    write_members(&mut out, class, event);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Emitted, FieldAction, FieldChange, ObjectAction};
    use proptest::prelude::*;

    #[test]
    fn an_event_is_one_line_of_json() {
        let emitted = |topic: &str, payload: &'static [u8]| Emitted {
            topic: topic.into(),
            payload: bytes::Bytes::from_static(payload),
        };
        let event = Event {
            seq: 7,
            object: "alice".into(),
            tag: Tag { incarnation: 4096, version: 3 },
            action: ObjectAction::Update as i32,
            changes: vec![FieldChange { key: "a\"b".into(), action: FieldAction::Create as i32 }],
            unlisted: 2,
            emitted: vec![
                emitted("json", b"{\n\"a\": [1,\r\n2]}"),
                emitted("text", b"x\ny"),
                emitted("b", b"\xff"),
            ],
            ..Event::default()
        };
        let text = String::from_utf8(document("X", "Counter", &event)).unwrap();
        let expected = concat!(
            r#"{"id":"X","class":"Counter","object":"alice","version":3,"incarnation":4096,"action":"update","#,
            r#""changes":[{"key":"a\"b","action":"create"}],"unlisted":2,"emitted":["#,
            r#"{"topic":"json","payload":{ "a": [1,  2]}},{"topic":"text","payload":{"$text":"x\ny"}},"#,
            r#"{"topic":"b","payload":{"$base64":"/w=="}}]}"#
        );
        assert_eq!(text, expected);
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }

    #[test]
    fn ids_are_short_and_never_change() {
        assert_eq!(Cursor::at(1, 3, 300).id(), "AQEDrAI");
        let positions: BTreeMap<u64, u64> = (1..=16).map(|group| (group, 1_000_000)).collect();
        assert!(Cursor { class: 1, positions }.id().len() < 100);
        let positions = (0..u64::from(GRID_PARTITIONS_MAX)).map(|n| (u64::MAX - 300 + n, u64::MAX)).collect();
        let largest = Cursor { class: u64::MAX, positions };
        assert_eq!(Cursor::parse(&largest.id()), Ok(largest));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let long = "A".repeat(ID_BYTES_MAX + 1);
        for bad in ["", "AQ", "AQE", "AQED", "x y", "AgEDrAI", "AQEDrA", "AQH_____________fwE", &long] {
            assert_eq!(Cursor::parse(bad), Err(NoCursor), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_place_survives(class: u64, positions: BTreeMap<u64, u64>) {
            prop_assume!(!positions.is_empty());
            let cursor = Cursor { class, positions };
            prop_assert_eq!(Cursor::parse(&cursor.id()), Ok(cursor));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,60}") {
            let _ = Cursor::parse(&text);
        }
    }
}
