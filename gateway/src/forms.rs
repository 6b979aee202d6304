//! Objects as JSON and back. A field whose bytes are JSON text stands in the document verbatim; other UTF-8 shows as
//! `{"$text": "..."}`, other bytes as `{"$base64": "..."}`. So does JSON text that would itself read as such a form: an
//! object with one key that begins with `$`. The same forms are taken on write, so what was read can be written back and
//! gives the same bytes (only white space around a JSON text is not kept: it cannot be told from the document's own).

use std::borrow::Cow;
use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use oprc_mesh::id::{ClassName, FieldKey, ObjectId};
use oprc_mesh::json::{Dollar, Entries, dollar, write_string, write_value};
use oprc_mesh::limits::FIELD_VALUE_BYTES_MAX;
use oprc_mesh::outcome::Code;
use oprc_mesh::wire::{Field, FieldWrite};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::problem::Refusal;

/// Writes the document of an object.
pub(crate) fn write_object(class: &ClassName, object: &ObjectId, version: u64, fields: &[Field]) -> Vec<u8> {
    let bytes: usize = fields.iter().map(|field| field.key.len() + field.value.len() + 8).sum();
    let mut out = Vec::with_capacity(bytes + 128);
    out.extend_from_slice(b"{\"class\":");
    write_string(&mut out, class.as_str());
    out.extend_from_slice(b",\"id\":");
    write_string(&mut out, object.as_str());
    out.extend_from_slice(format!(",\"version\":{version},\"fields\":{{").as_bytes());
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_string(&mut out, &field.key);
        out.push(b':');
        write_value(&mut out, &field.value);
    }
    out.extend_from_slice(b"}}");
    out
}

/// Writes a page of fields: `{"items": [{"key", "value"}], "next"}`.
pub(crate) fn write_fields(fields: &[Field], next: Option<&str>) -> Vec<u8> {
    let bytes: usize = fields.iter().map(|field| field.key.len() + field.value.len() + 24).sum();
    let mut out = Vec::with_capacity(bytes + 64);
    out.extend_from_slice(b"{\"items\":[");
    for (at, field) in fields.iter().enumerate() {
        out.extend_from_slice(if at > 0 { b",{\"key\":" } else { b"{\"key\":" });
        write_string(&mut out, &field.key);
        out.extend_from_slice(b",\"value\":");
        write_value(&mut out, &field.value);
        out.push(b'}');
    }
    out.extend_from_slice(b"],\"next\":");
    match next {
        Some(next) => write_string(&mut out, next),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
    out
}

/// The document of an object as clients write it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<'a> {
    class: Option<String>,
    id: Option<String>,
    /// Taken so that a document that was read can be sent back; If-Match is what compares.
    #[serde(rename = "version")]
    _version: Option<u64>,
    #[serde(borrow)]
    fields: Entries<'a>,
}

/// Whether a write may delete single fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// PUT: the document is the whole object.
    Replace,
    /// PATCH: the document names what changes; `{"$delete": true}` deletes a field.
    Merge,
}

/// Reads the document of a write. Values share `body`'s memory where they stand in it verbatim.
///
/// # Errors
/// `invalid` for what is no such document, a bad or repeated key, a reserved form, or a class or id that is not the
/// path's; `payload-too-large` for a value past its limit.
pub(crate) fn read_object(
    body: &Bytes,
    class: &ClassName,
    object: &ObjectId,
    kind: Kind,
) -> Result<Vec<FieldWrite>, Refusal> {
    let document: Document<'_> = serde_json::from_slice(body).map_err(|error| {
        Refusal::invalid(format!("the body is not an object document: {error}"))
            .hint("send {\"fields\": {\"key\": value, ...}}; class, id and version may stand beside it")
    })?;
    for (member, given, path) in
        [("class", document.class, class.as_str()), ("id", document.id, object.as_str())]
    {
        if given.as_ref().is_some_and(|given| given != path) {
            return Err(Refusal::invalid(format!("member {member} of the body is not the path's {path:?}")));
        }
    }
    let mut writes = Writes::default();
    for (key, raw) in &document.fields.0 {
        let value = read_value(body, key, raw, kind)?;
        writes.add(key.to_string(), value)?;
    }
    Ok(writes.done())
}

/// The fields that a write changes, each at most once.
#[derive(Default)]
pub(crate) struct Writes {
    keys: HashSet<String>,
    writes: Vec<FieldWrite>,
}

impl Writes {
    /// One more; without a value it is deleted.
    ///
    /// # Errors
    /// `invalid` for a bad or repeated key; `payload-too-large` for a value past its limit.
    pub(crate) fn add(&mut self, key: String, value: Option<Bytes>) -> Result<(), Refusal> {
        FieldKey::parse(&key)?;
        if !self.keys.insert(key.clone()) {
            return Err(Refusal::invalid(format!("field {key:?} is named twice")));
        }
        if value.as_ref().is_some_and(|value| value.len() > FIELD_VALUE_BYTES_MAX) {
            let detail = format!("field {key:?} is past {FIELD_VALUE_BYTES_MAX} bytes");
            return Err(Refusal::new(Code::PayloadTooLarge, detail));
        }
        self.writes.push(FieldWrite { key, value });
        Ok(())
    }

    pub(crate) fn done(self) -> Vec<FieldWrite> {
        self.writes
    }
}

/// One field's value; none deletes it.
pub(crate) fn read_value(
    body: &Bytes,
    key: &str,
    raw: &RawValue,
    kind: Kind,
) -> Result<Option<Bytes>, Refusal> {
    let text = raw.get();
    match dollar(text) {
        Dollar::No => Ok(Some(body.slice_ref(text.as_bytes()))),
        Dollar::Repeated => Err(reserved(key, "it holds one key twice", kind)),
        Dollar::One(name) => match (&*name, kind) {
            ("$text", _) => {
                let form: TextForm<'_> = serde_json::from_str(text)
                    .map_err(|_| reserved(key, "$text must be a string without lone surrogates", kind))?;
                Ok(Some(Bytes::from(form.text.into_owned())))
            }
            ("$base64", _) => {
                let refused = || reserved(key, "$base64 must be a string of standard, padded base64", kind);
                let form: Base64Form<'_> = serde_json::from_str(text).map_err(|_| refused())?;
                STANDARD.decode(&*form.base64).map(|bytes| Some(Bytes::from(bytes))).map_err(|_| refused())
            }
            ("$delete", Kind::Merge) => match serde_json::from_str::<DeleteForm>(text) {
                Ok(DeleteForm { delete: true }) => Ok(None),
                _ => Err(reserved(key, "$delete must be true", kind)),
            },
            ("$delete", Kind::Replace) => Err(reserved(key, "$delete is only for PATCH", kind)),
            (name, _) => Err(reserved(key, &format!("{name:?} is not a form"), kind)),
        },
    }
}

#[derive(Deserialize)]
struct TextForm<'a> {
    #[serde(rename = "$text", borrow)]
    text: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Base64Form<'a> {
    #[serde(rename = "$base64", borrow)]
    base64: Cow<'a, str>,
}

#[derive(Deserialize)]
struct DeleteForm {
    #[serde(rename = "$delete")]
    delete: bool,
}

fn reserved(key: &str, why: &str, kind: Kind) -> Refusal {
    let delete = if kind == Kind::Merge { ", {\"$delete\": true}" } else { "" };
    Refusal::invalid(format!("field {key:?}: an object with one key that begins with $ is a form, and {why}")).hint(
        format!("the forms are {{\"$text\": \"...\"}}, {{\"$base64\": \"...\"}}{delete}; send other such JSON as $text"),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    fn names() -> (ClassName, ObjectId) {
        (ClassName::parse("A").unwrap(), ObjectId::parse("b").unwrap())
    }

    fn shown(value: &[u8]) -> String {
        let mut out = Vec::new();
        write_value(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    fn read(body: &str, kind: Kind) -> Result<Vec<FieldWrite>, Refusal> {
        let (class, object) = names();
        read_object(&Bytes::copy_from_slice(body.as_bytes()), &class, &object, kind)
    }

    fn stored(value: &str) -> Option<Vec<u8>> {
        let writes = read(&format!("{{\"fields\":{{\"k\":{value}}}}}"), Kind::Merge).unwrap();
        writes[0].value.as_ref().map(|value| value.to_vec())
    }

    fn refused(body: &str, kind: Kind) -> String {
        read(body, kind).unwrap_err().problem().to_string()
    }

    #[test]
    fn json_stands_verbatim() {
        for text in
            ["5", "null", "\"x\"", "[1,  2]", "{\"b\":1,\"a\" :1.50}", "{}", "1e999", "{\"$a\":1,\"b\":2}"]
        {
            assert_eq!(shown(text.as_bytes()), text);
            assert_eq!(stored(text).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn what_is_not_json_is_wrapped() {
        assert_eq!(shown(b"hello"), r#"{"$text":"hello"}"#);
        assert_eq!(shown(b""), r#"{"$text":""}"#);
        assert_eq!(shown(b"{\"a\":"), r#"{"$text":"{\"a\":"}"#);
        assert_eq!(shown(b"NaN"), r#"{"$text":"NaN"}"#);
        assert_eq!(shown(&[0xff, 0]), r#"{"$base64":"/wA="}"#);
    }

    #[test]
    fn what_would_read_as_a_form_is_wrapped_too() {
        for text in [r#"{"$text":"x"}"#, r#"{"$other":1}"#, r#" {"\u0024a":1} "#, r#"{"$a":1,"$a":2}"#] {
            assert!(shown(text.as_bytes()).starts_with("{\"$text\":"), "{text}");
            assert_eq!(stored(&shown(text.as_bytes())).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn forms_are_taken_on_write() {
        assert_eq!(stored(r#"{"$text":"h\u00e4llo"}"#).unwrap(), "hällo".as_bytes());
        assert_eq!(stored(r#"{"$base64":"/wA="}"#).unwrap(), [0xff, 0]);
        assert_eq!(stored(r#"{ "$delete" : true }"#), None);
        assert_eq!(stored("null").unwrap(), b"null");
    }

    #[test]
    fn misused_forms_are_refused() {
        for value in [
            r#"{"$text":5}"#,
            r#"{"$text":"\ud800"}"#,
            r#"{"$base64":"/wA"}"#,
            r#"{"$base64":"_-=="}"#,
            r#"{"$delete":false}"#,
            r#"{"$other":1}"#,
            r#"{"$text":"a","$text":"b"}"#,
        ] {
            assert!(
                refused(&format!("{{\"fields\":{{\"k\":{value}}}}}"), Kind::Merge).contains("\"k\""),
                "{value}"
            );
        }
        assert!(refused(r#"{"fields":{"k":{"$delete":true}}}"#, Kind::Replace).contains("only for PATCH"));
    }

    #[test]
    fn a_document_says_only_what_is_known() {
        assert!(read(r#"{"class":"A","id":"b","version":7,"fields":{}}"#, Kind::Replace).unwrap().is_empty());
        for (body, names) in [
            ("", "EOF"),
            ("[]", "object document"),
            ("{}", "fields"),
            (r#"{"count":5}"#, "count"),
            (r#"{"fields":{"":1}}"#, "field key"),
            (r#"{"fields":{"a":1,"a":2}}"#, "twice"),
            (r#"{"fields":{"a":1}} x"#, "trailing"),
            (r#"{"class":"B","fields":{}}"#, "class"),
            (r#"{"id":"c","fields":{}}"#, "id"),
            (r#"{"version":"7","fields":{}}"#, "u64"),
        ] {
            assert!(refused(body, Kind::Replace).contains(names), "{body}");
        }
    }

    #[test]
    fn a_value_may_be_1_mib_and_no_more() {
        let body = |bytes: usize| format!("{{\"fields\":{{\"k\":\"{}\"}}}}", "x".repeat(bytes - 2));
        assert!(read(&body(FIELD_VALUE_BYTES_MAX), Kind::Merge).is_ok());
        let error = read(&body(FIELD_VALUE_BYTES_MAX + 1), Kind::Merge).unwrap_err();
        assert_eq!(error.problem().kind(), Code::PayloadTooLarge);
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        let json = "[\\[\\]{}\",:$ a0-9.e+\\\\-]{0,24}";
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..32),
            "\\PC{0,24}".prop_map(String::into_bytes),
            json.prop_map(String::into_bytes),
            "\\{\"\\$[a-z]{0,6}\":(1|\"x\"|true|\\{\\})\\}".prop_map(String::into_bytes),
        ]
    }

    proptest! {
        #[test]
        fn what_is_read_can_be_written_back(
            fields in proptest::collection::btree_map("[^\\p{Cc}]{1,12}", value(), 0..6),
            version in any::<u64>(),
        ) {
            let (class, object) = names();
            let fields: Vec<_> =
                fields.into_iter().map(|(key, value)| Field { key, value: value.into() }).collect();
            let document = write_object(&class, &object, version, &fields);
            let writes = read_object(&document.into(), &class, &object, Kind::Replace).unwrap();
            prop_assert_eq!(writes.len(), fields.len());
            for (write, field) in writes.iter().zip(&fields) {
                prop_assert_eq!(&write.key, &field.key);
                // white space around JSON text is the only thing that may differ
                let json = serde_json::from_slice::<IgnoredAny>(&field.value).is_ok();
                let expected = if json { field.value.trim_ascii() } else { &field.value[..] };
                let same = write.value.as_deref() == Some(expected)
                    || write.value.as_deref() == Some(&field.value[..]);
                prop_assert!(same, "{:?} came back as {:?}", field, write);
            }
        }

        #[test]
        fn no_body_panics(body in "\\PC{0,60}") {
            let _ = read(&body, Kind::Merge);
        }
    }
}
