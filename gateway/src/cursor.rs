//! Cursors of listings: where a page ended, as opaque text. Inside, base64url of a version, the kind of listing and the
//! last name; clients must not look. A cursor names a position, so it stays good when things come and go.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oprc_mesh::limits::FIELD_KEY_BYTES_MAX;

use crate::problem::Refusal;

const VERSION: u8 = 1;

/// The listing that a cursor belongs to; one from another listing is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Class = 1,
    Object = 2,
    Field = 3,
    Version = 4,
    DeadLetter = 5,
}

/// The cursor for what follows after `last`.
pub(crate) fn encode(kind: Kind, last: &str) -> String {
    let mut bytes = vec![VERSION, kind as u8];
    bytes.extend_from_slice(last.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The name that the cursor stands after; never empty.
///
/// # Errors
/// `invalid` for what no listing of this kind ever gave.
pub(crate) fn decode(kind: Kind, cursor: &str) -> Result<String, Refusal> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
    let last = bytes.as_deref().and_then(|bytes| bytes.strip_prefix(&[VERSION, kind as u8]));
    let last = last.filter(|last| (1..=FIELD_KEY_BYTES_MAX).contains(&last.len()));
    last.and_then(|last| std::str::from_utf8(last).ok()).map(str::to_owned).ok_or_else(|| {
        Refusal::invalid("the cursor is not from this listing")
            .hint("send back `next` of the previous page as it was, or leave it out to begin anew")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_its_own_cursors_count() {
        let cursor = encode(Kind::Object, "alice");
        assert_eq!(decode(Kind::Object, &cursor).unwrap(), "alice");
        assert!(decode(Kind::Field, &cursor).is_err());
        for bad in ["", "alice", "AQ", "AQI", "!!", &encode(Kind::Object, &"x".repeat(257))] {
            assert!(decode(Kind::Object, bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_name_survives(name in "\\PC{1,60}") {
            prop_assert_eq!(decode(Kind::Field, &encode(Kind::Field, &name)).unwrap(), name);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,60}") {
            let _ = decode(Kind::Class, &text);
        }
    }
}
