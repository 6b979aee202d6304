//! Which keys there are. Segments are percent-decoded as those of a path are: a field's key may hold what a key
//! expression may not (`*`, `$`, `?`, `#`, `/`, or a `@` at its beginning); names and ids never do.

use oprc_mesh::outcome::Code;

use crate::address;
use crate::problem::Refusal;
use crate::router::{Resource, Verb};

/// What all keys begin with.
const ROOT: &str = "oprc/api/";
/// Segments of the longest key after that, plus one to notice longer ones.
const SEGMENTS_MAX: usize = 6;
/// What there is, for those who ask for something else.
const FORMS: &str = "ask oprc/api/CLASS/objects/ID, oprc/api/CLASS/objects/ID/fields/KEY, oprc/api/CLASS/objects/ID/invokes/METHOD or \
     oprc/api/CLASS/invokes/FUNCTION";

/// Finds what `key` names.
///
/// # Errors
/// `invalid` for wildcards and for identifiers that cannot be, `not-found` for a key that is none.
pub(super) fn find(key: &str) -> Result<Resource, Refusal> {
    if key.contains('*') {
        return Err(
            Refusal::invalid("a key with wildcards names nothing that could be called or read").hint(FORMS)
        );
    }
    let no_such_key = || Refusal::new(Code::NotFound, "nothing has this key").hint(FORMS);
    let rest = key.strip_prefix(ROOT).ok_or_else(no_such_key)?;
    let mut segments = [""; SEGMENTS_MAX];
    let mut count = 0;
    for (segment, slot) in rest.split('/').zip(&mut segments) {
        *slot = segment;
        count += 1;
    }
    Ok(match &segments[..count] {
        [c, "objects", o, "invokes", m] => {
            Resource::Call(address::class(c)?, address::object(o)?, address::method(m)?)
        }
        [c, "objects", o] => Resource::Object(address::class(c)?, address::object(o)?),
        [c, "objects", o, "fields", f] => {
            Resource::Field(address::class(c)?, address::object(o)?, address::field(f)?)
        }
        [c, "invokes", m] => Resource::Function(address::class(c)?, address::method(m)?),
        _ => return Err(no_such_key()),
    })
}

/// What is done to it, and what that is called: the same as in REST.
pub(super) const fn verb(resource: &Resource) -> (Verb, &'static str) {
    match resource {
        Resource::Call(..) | Resource::Function(..) => (Verb::Post, "invoke"),
        Resource::Field(..) => (Verb::Get, "read field"),
        _ => (Verb::Get, "read object"),
    }
}

/// Refuses parameters but for Zenoh's own, which begin with `_`.
///
/// # Errors
/// `invalid`.
pub(super) fn expect_no_parameters(parameters: &str) -> Result<(), Refusal> {
    let names = parameters.split(';').map(|pair| pair.split('=').next().unwrap_or_default());
    match names.into_iter().find(|name| !name.is_empty() && !name.starts_with('_')) {
        None => Ok(()),
        Some(name) => {
            let name: String = name.chars().take(64).collect();
            Err(Refusal::invalid(format!("unknown parameter {name:?} of the selector"))
                .hint("say it in the attachment, a JSON object"))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_name_what_paths_name() {
        for (key, path) in [
            ("oprc/api/A/objects/b/invokes/m", "/api/v1/classes/A/objects/b/invoke/m"),
            ("oprc/api/A/objects/a:b@c~d+e=f-g.h", "/api/v1/classes/A/objects/a:b@c~d+e=f-g.h"),
            ("oprc/api/A/objects/b", "/api/v1/classes/A/objects/b"),
            ("oprc/api/A/objects/b/fields/k", "/api/v1/classes/A/objects/b/fields/k"),
            (
                "oprc/api/A/objects/b/fields/%2A%24%3F%23%2F%40",
                "/api/v1/classes/A/objects/b/fields/%2A%24%3F%23%2F%40",
            ),
            ("oprc/api/A/invokes/f", "/api/v1/classes/A/functions/f"),
        ] {
            let found = find(key).unwrap();
            assert_eq!(found, crate::router::find(path).unwrap(), "{key}");
            let (verb, operation) = verb(&found);
            assert!(found.operations().contains(&(verb, operation)), "{key}");
        }
    }

    #[test]
    fn wildcards_are_refused_and_all_else_is_not_found() {
        for key in ["**", "oprc/api/**", "oprc/api/A/objects/*", "oprc/api/A/objects/b$*/invokes/m"] {
            let refusal = find(key).unwrap_err();
            assert_eq!(refusal.problem().kind(), Code::Invalid, "{key}");
            assert!(refusal.problem().detail.contains("wildcard"), "{key}");
        }
        let long = format!("oprc/api{}", "/A".repeat(1_000));
        for key in [
            "oprc/api",
            "oprc/api/A",
            "oprc/api/A/objects",
            "oprc/api/A/objects/b/fields",
            "oprc/api/A/objects/b/invokes/m/x",
            "oprc/n/1/call",
            &long,
        ] {
            assert_eq!(find(key).unwrap_err().problem().kind(), Code::NotFound, "{key}");
        }
        for key in
            ["oprc/api/1/objects/b", "oprc/api/A/objects/.b", "oprc/api/A/invokes/1", "oprc/api/A/objects/b%"]
        {
            assert_eq!(find(key).unwrap_err().problem().kind(), Code::Invalid, "{key}");
        }
    }

    #[test]
    fn parameters_are_zenohs_own_or_none() {
        for fine in ["", "_anyke", "_time=[now(-1h)..];_x"] {
            assert!(expect_no_parameters(fine).is_ok(), "{fine}");
        }
        for bad in ["consistency=stale", "_anyke;x"] {
            assert!(expect_no_parameters(bad).is_err(), "{bad}");
        }
    }
}
