//! Bytes as JSON: JSON text verbatim, other UTF-8 as `{"$text": "..."}`, other bytes as `{"$base64": "..."}`. So does JSON
//! text that would itself read as such a form: an object with one key that begins with `$`.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Writes one field's value in the form that reads back to its bytes.
pub fn write_value(out: &mut Vec<u8>, value: &[u8]) {
    let Ok(text) = std::str::from_utf8(value) else {
        out.extend_from_slice(b"{\"$base64\":");
        write_string(out, &STANDARD.encode(value));
        return out.push(b'}');
    };
    let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
    if is_json && !matches!(dollar(text), Dollar::One(_) | Dollar::Repeated) {
        return out.extend_from_slice(value);
    }
    out.extend_from_slice(b"{\"$text\":");
    write_string(out, text);
    out.push(b'}');
}

/// Writes a string with its quotes.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    let before = out.len();
    if serde_json::to_writer(&mut *out, text).is_err() {
        debug_assert!(false, "a string always serialises, and writing to memory never fails");
        out.truncate(before);
    }
}

/// The members of a JSON object in their order, values as they stand.
pub struct Entries<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of fields")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((Text(key), value)) = map.next_entry()? {
                    entries.push((key, value));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A string, borrowed where it holds no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Whether a JSON text is an object with one `$` key.
pub enum Dollar<'a> {
    /// It is not.
    No,
    /// It is, with this key.
    One(Cow<'a, str>),
    /// The same `$` key several times: a form to some readers, so never passed through.
    Repeated,
}

/// Looks at a JSON text.
pub fn dollar(text: &str) -> Dollar<'_> {
    if !text.trim_ascii_start().starts_with('{') {
        return Dollar::No;
    }
    let Ok(Entries(entries)) = serde_json::from_str(text) else { return Dollar::No };
    let mut names = entries.into_iter().map(|(name, _)| name);
    let Some(first) = names.next().filter(|name| name.starts_with('$')) else { return Dollar::No };
    let mut repeated = false;
    for name in names {
        if name != first {
            return Dollar::No;
        }
        repeated = true;
    }
    if repeated { Dollar::Repeated } else { Dollar::One(first) }
}
