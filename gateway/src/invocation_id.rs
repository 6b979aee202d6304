//! What names an asynchronous call for everybody: opaque to clients, and enough for any gateway to find the call without
//! keeping anything. Inside, base64url of a version, the first bytes of the call's fingerprint, class, object and key. The
//! fingerprint tells the call from a later one under the same key.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use oprc_mesh::id::{ClassName, ObjectId};
use oprc_mesh::wire::FINGERPRINT_BYTES;

use crate::address::decode;
use crate::call_id::is_key;
use crate::problem::Refusal;

const VERSION: u8 = 1;
/// No part holds one.
const BETWEEN: u8 = 0;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InvocationId {
    pub(crate) class: ClassName,
    /// None for a function.
    pub(crate) object: Option<ObjectId>,
    pub(crate) invocation: String,
    pub(crate) fingerprint: Bytes,
}

impl InvocationId {
    /// None when the fingerprint is not one.
    pub(crate) fn new(
        class: &ClassName,
        object: Option<&ObjectId>,
        invocation: &str,
        fingerprint: &Bytes,
    ) -> Option<Self> {
        let (class, object, invocation) = (class.clone(), object.cloned(), invocation.to_owned());
        let fingerprint = fingerprint.clone();
        (fingerprint.len() == FINGERPRINT_BYTES).then_some(Self { class, object, invocation, fingerprint })
    }

    /// Reads a path's segment.
    ///
    /// # Errors
    /// `invalid` for what no gateway ever gave out.
    pub(crate) fn parse(segment: &str) -> Result<Self, Refusal> {
        let text = decode(segment)?;
        let id = Self::read(&text).filter(|id| id.to_string() == text);
        id.ok_or_else(|| {
            Refusal::invalid("that is not the id of an invocation")
                .hint("take it from Location, or from member `id`, of the answer to a call with Prefer: respond-async")
        })
    }

    fn read(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (fingerprint, names) = bytes.strip_prefix(&[VERSION])?.split_at_checked(FINGERPRINT_BYTES)?;
        let mut parts = names.split(|byte| *byte == BETWEEN).map(std::str::from_utf8);
        let (class, object, invocation) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
        let object = Some(object).filter(|object| !object.is_empty());
        let object = object.map(ObjectId::parse).transpose().ok()?;
        let class = ClassName::parse(class).ok()?;
        let id = Self {
            class,
            object,
            invocation: invocation.to_owned(),
            fingerprint: Bytes::copy_from_slice(fingerprint),
        };
        (parts.next().is_none() && is_key(invocation)).then_some(id)
    }
}

impl fmt::Display for InvocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = self.object.as_ref().map_or("", ObjectId::as_str);
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.fingerprint);
        for part in [self.class.as_str(), object] {
            bytes.extend_from_slice(part.as_bytes());
            bytes.push(BETWEEN);
        }
        bytes.extend_from_slice(self.invocation.as_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn id(object: Option<&str>, key: &str) -> InvocationId {
        let object = object.map(|object| ObjectId::parse(object).unwrap());
        InvocationId::new(
            &ClassName::parse("Counter").unwrap(),
            object.as_ref(),
            key,
            &Bytes::from_static(b"\x00\xff345678"),
        )
        .unwrap()
    }

    #[test]
    fn ids_read_back() {
        for id in [id(Some("alice"), "k"), id(None, "k"), id(Some(&"o".repeat(160)), &"~".repeat(256))] {
            assert_eq!(InvocationId::parse(&id.to_string()).unwrap(), id);
        }
        let class = ClassName::parse("Counter").unwrap();
        assert!(InvocationId::new(&class, None, "k", &Bytes::from_static(b"short")).is_none());
    }

    #[test]
    fn garbage_is_refused() {
        let good = id(Some("alice"), "k").to_string();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        for bad in [
            String::new(),
            "alice".into(),
            "%ff".into(),
            format!("{good}A"),
            good[..good.len() - 1].to_owned(),
            encode(b"\x0212345678C\0o\0k"),
            encode(b"\x0112345678C\0o"),
            encode(b"\x0112345678C\0o\0"),
            encode(b"\x0112345678C\0o\0k\0x"),
            encode(b"\x01123"),
            encode(b"\x01123456789\0o\0k"),
            encode(b"\x0112345678C\0a b\0k"),
            encode(b"\x0112345678C\0o\0a b"),
            encode("\u{1}12345678C\0o\0\u{e4}".as_bytes()),
            encode(format!("\u{1}12345678C\0o\0{}", "k".repeat(257)).as_bytes()),
        ] {
            assert!(InvocationId::parse(&bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_only_its_own_form_counts(text in "[A-Za-z0-9_-]{0,80}") {
            if let Ok(id) = InvocationId::parse(&text) {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
