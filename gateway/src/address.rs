//! One segment of a path, as typed identifiers. A segment is percent-decoded exactly once and never normalised: a field
//! key may hold a slash (`%2F`), a percent sign (`%25`) or a plus, and comes out as it went in.

use std::borrow::Cow;

use oprc_mesh::id::{ClassName, FieldKey, KeyName, MethodName, NodeId, ObjectId};
use percent_encoding::percent_decode_str;

use crate::problem::Refusal;

/// Decodes a segment.
///
/// # Errors
/// `invalid` for a `%` without two hexadecimal digits and for bytes that are not UTF-8.
pub(crate) fn decode(segment: &str) -> Result<Cow<'_, str>, Refusal> {
    if !segment.contains('%') {
        return Ok(Cow::Borrowed(segment));
    }
    let stray = segment.split('%').skip(1).find(|after| {
        let digits = after.as_bytes();
        digits.len() < 2 || !digits[..2].iter().all(u8::is_ascii_hexdigit)
    });
    if let Some(after) = stray {
        let shown: String = after.chars().take(2).collect();
        return Err(Refusal::invalid(format!("\"%{shown}\" is not a percent-encoded byte"))
            .hint("write a percent sign itself as %25"));
    }
    percent_decode_str(segment).decode_utf8().map_err(|_| {
        Refusal::invalid("a percent-encoded part of the request is not UTF-8")
            .hint("percent-encode the UTF-8 bytes of the text")
    })
}

pub(crate) fn class(segment: &str) -> Result<ClassName, Refusal> {
    Ok(ClassName::parse(&decode(segment)?)?)
}

pub(crate) fn key(segment: &str) -> Result<KeyName, Refusal> {
    Ok(KeyName::parse(&decode(segment)?)?)
}

pub(crate) fn object(segment: &str) -> Result<ObjectId, Refusal> {
    Ok(ObjectId::parse(&decode(segment)?)?)
}

pub(crate) fn method(segment: &str) -> Result<MethodName, Refusal> {
    Ok(MethodName::parse(&decode(segment)?)?)
}

pub(crate) fn field(segment: &str) -> Result<FieldKey, Refusal> {
    Ok(FieldKey::parse(&decode(segment)?)?)
}

pub(crate) fn node(segment: &str) -> Result<NodeId, Refusal> {
    let text = decode(segment)?;
    let bad = || {
        Refusal::invalid(format!(
            "{text:?} is not a host's id: allowed are up to 16 hexadecimal digits, not all 0"
        ))
    };
    // from_str_radix alone would take a plus, and any number of zeros
    let digits = text.len() <= 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = digits.then(|| u64::from_str_radix(&text, 16).ok()).flatten();
    id.filter(|id| *id != 0).map(NodeId).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use oprc_mesh::outcome::Code;
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    #[test]
    fn a_field_key_may_hold_what_a_path_may_not() {
        for (segment, key) in [
            ("a%2Fb", "a/b"),
            ("a%2fb", "a/b"),
            ("100%25", "100%"),
            ("%2541", "%41"),
            ("a+b", "a+b"),
            ("gr%C3%B6%C3%9Fe", "größe"),
            ("%E6%97%A5%E6%9C%AC", "日本"),
            ("%F0%9F%A6%80", "🦀"),
            ("%2E%2E", ".."),
            ("a%20b%3Fc%23d", "a b?c#d"),
        ] {
            assert_eq!(field(segment).unwrap().as_str(), key);
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for segment in ["%", "a%", "%4", "%zz", "%4g", "%C3", "%FF%FE", "%é9"] {
            let problem = field(segment).unwrap_err();
            assert_eq!(problem.problem().kind(), Code::Invalid, "{segment}");
            assert!(!problem.problem().hint.is_empty());
        }
    }

    #[test]
    fn limits_count_decoded_bytes() {
        assert!(field(&"%C3%A4".repeat(128)).is_ok());
        assert!(field(&"%C3%A4".repeat(129)).is_err());
        assert!(object(&"%41".repeat(160)).is_ok());
        assert!(object(&"a".repeat(161)).is_err());
        assert!(class(&"a".repeat(64)).is_ok() && class(&"a".repeat(65)).is_err());
        assert!(method(&"m".repeat(64)).is_ok() && method(&"m".repeat(65)).is_err());
    }

    #[test]
    fn a_host_is_named_by_its_digits_and_nothing_else() {
        assert_eq!(node("00000000000000aB").unwrap(), NodeId(0xab));
        assert_eq!(node(&"f".repeat(16)).unwrap(), NodeId(u64::MAX));
        for segment in ["", "0", "+ab", "-1", "00000000000000000ab", "0xab", "a b"] {
            assert!(node(segment).is_err(), "{segment}");
        }
    }

    #[test]
    fn control_characters_and_empty_segments_are_refused() {
        for segment in ["", "a%00", "a%0Ab", "%7F", "%C2%85"] {
            assert!(field(segment).is_err(), "{segment}");
        }
        assert!(object("a%2Fb").is_err() && object("").is_err() && class("").is_err());
    }

    proptest! {
        #[test]
        fn any_key_survives_its_encoding(key in "[^\\p{Cc}]{1,60}") {
            prop_assume!(key.len() <= 256);
            let segment = utf8_percent_encode(&key, NON_ALPHANUMERIC).to_string();
            let parsed = field(&segment).unwrap();
            prop_assert_eq!(parsed.as_str(), key.as_str());
        }

        #[test]
        fn no_segment_panics(segment in "\\PC{0,40}") {
            let _ = decode(&segment);
        }
    }
}
