//! Identifiers, parsed once at the edge. A value of these types is valid by construction; nothing deeper in the
//! house looks at raw strings. Nothing is normalised: what was written is what is kept.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::limits::{CLASS_NAME_BYTES_MAX, FIELD_KEY_BYTES_MAX, OBJECT_ID_BYTES_MAX, SLOTS};

/// Why a text is not an identifier of some kind. Its `Display` says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a valid {kind}: allowed is {allowed}")]
pub struct IdError {
    /// What was expected, for example `class name`.
    pub kind: &'static str,
    /// The beginning of what was given.
    pub given: String,
    /// What is allowed, in words.
    pub allowed: &'static str,
}

impl IdError {
    fn new(kind: &'static str, given: &str, allowed: &'static str) -> Self {
        Self { kind, given: given.chars().take(64).collect(), allowed }
    }
}

/// Declares a string identifier: an immutable, cheaply cloned text with a check.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $allowed:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses and checks `text`.
            ///
            /// # Errors
            /// [`IdError`] naming what is allowed.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                if $check(text) { Ok(Self(text.into())) } else { Err(IdError::new($kind, text, $allowed)) }
            }

            /// The text as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

text_id!(
    /// The name of a class: `[A-Za-z][A-Za-z0-9_-]{0,63}`.
    ClassName,
    "class name",
    "a letter, then up to 63 letters, digits, '_' or '-'",
    is_name
);
text_id!(
    /// The name of a method or function: `[A-Za-z][A-Za-z0-9_-]{0,63}`.
    MethodName,
    "method name",
    "a letter, then up to 63 letters, digits, '_' or '-'",
    is_name
);
text_id!(
    /// The id of an object within its class: `[A-Za-z0-9_][A-Za-z0-9._:@~+=-]{0,159}`.
    ObjectId,
    "object id",
    "a letter, digit or '_', then up to 159 letters, digits or any of '._:@~+=-'",
    is_object_id
);
text_id!(
    /// The key of a field within its object: 1 to 256 bytes of UTF-8 without control characters.
    FieldKey,
    "field key",
    "1 to 256 bytes of UTF-8 without control characters",
    is_field_key
);

text_id!(
    /// The name of a key of those who may use the cluster: `[A-Za-z][A-Za-z0-9_-]{0,63}`.
    KeyName,
    "key name",
    "a letter, then up to 63 letters, digits, '_' or '-'",
    is_name
);

/// [`ClassName`] and [`MethodName`] as a regular expression (ECMA 262), for those who check before they ask.
pub const NAME_PATTERN: &str = "^[A-Za-z][A-Za-z0-9_-]{0,63}$";
/// [`ObjectId`] likewise.
pub const OBJECT_ID_PATTERN: &str = "^[A-Za-z0-9_][A-Za-z0-9._:@~+=-]{0,159}$";
/// [`FieldKey`] likewise, but for its length in bytes, which characters do not tell.
pub const FIELD_KEY_PATTERN: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]{1,256}$";

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=CLASS_NAME_BYTES_MAX).contains(&bytes.len())
        && bytes[0].is_ascii_alphabetic()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

fn is_object_id(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=OBJECT_ID_BYTES_MAX).contains(&bytes.len())
        && (bytes[0].is_ascii_alphanumeric() || bytes[0] == b'_')
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._:@~+=-".contains(b))
}

fn is_field_key(text: &str) -> bool {
    (1..=FIELD_KEY_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// A host's id: made once at random, kept in its data directory, never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The SHA-256 digest that names a component.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Takes the 32 bytes of a digest.
    ///
    /// # Errors
    /// [`IdError`] when `bytes` are not 32.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdError> {
        let digest = bytes.try_into().map_err(|_| digest_error(&format!("{} bytes", bytes.len())))?;
        Ok(Self(digest))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

fn digest_error(given: &str) -> IdError {
    IdError::new("digest", given, "a SHA-256: 64 lower-case hexadecimal digits, or 32 bytes")
}

impl FromStr for Digest {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(digest_error(text));
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| digest_error(text))?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| digest_error(text))?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{self}")
    }
}

/// The slot of an object: `XXH3-64(class 0x00 id, seed 0) mod 4096`. The unit of the partition map; part of the
/// on-disk and on-wire contract, so it never changes.
pub fn slot(class: &ClassName, object: &ObjectId) -> u16 {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    hash.update(class.as_str().as_bytes());
    hash.update(&[0]);
    hash.update(object.as_str().as_bytes());
    (hash.digest() % u64::from(SLOTS)) as u16
}

/// The slot of an asynchronous call of a function, which has no object: by its id, so that a class's calls are spread. As
/// [`slot`]; no object's id begins with a zero.
pub fn call_slot(class: &ClassName, invocation: &str) -> u16 {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    hash.update(class.as_str().as_bytes());
    hash.update(&[0, 0]);
    hash.update(invocation.as_bytes());
    (hash.digest() % u64::from(SLOTS)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_at_the_limit_and_not_past_it() {
        assert!(ClassName::parse(&"a".repeat(64)).is_ok());
        assert!(ClassName::parse(&"a".repeat(65)).is_err());
        for bad in ["", "1a", "_a", "a b", "ä", "a/b"] {
            assert!(ClassName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn object_ids_hold_at_the_limit_and_not_past_it() {
        assert!(ObjectId::parse(&"7".repeat(160)).is_ok());
        assert!(ObjectId::parse(&"7".repeat(161)).is_err());
        assert!(ObjectId::parse("_a.b:c@d~e+f=g-h").is_ok());
        for bad in ["", ".a", "-a", "a/b", "a b", "é", "a\0"] {
            assert!(ObjectId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn field_keys_are_utf8_without_control_characters() {
        assert!(FieldKey::parse(&"k".repeat(256)).is_ok());
        assert!(FieldKey::parse(&"k".repeat(257)).is_err());
        assert!(FieldKey::parse("größe/日本").is_ok());
        for bad in ["", "a\nb", "a\0", "\u{85}"] {
            assert!(FieldKey::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_error_says_what_is_allowed() {
        let error = ClassName::parse("1").unwrap_err().to_string();
        assert_eq!(
            error,
            "\"1\" is not a valid class name: allowed is a letter, then up to 63 letters, digits, '_' or '-'"
        );
    }

    #[test]
    fn digests_round_trip() {
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        assert!("BA".repeat(32).parse::<Digest>().is_err());
    }

    /// These numbers are on disks: a change here loses objects.
    #[test]
    fn slots_never_change() {
        let slot_of = |class, id| slot(&ClassName::parse(class).unwrap(), &ObjectId::parse(id).unwrap());
        assert_eq!(slot_of("Counter", "alice"), 2853);
        assert_eq!(slot_of("Counter", "bob"), 2170);
        assert_ne!(slot_of("Counter", "a"), slot_of("CounterA", "a"));
        assert_eq!(call_slot(&ClassName::parse("Counter").unwrap(), "alice"), 3837);
    }
}
