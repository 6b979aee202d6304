//! Entity tags: an object's place in its history as `"<incarnation>.<version>"`, always strong, and the conditions that
//! requests make with them (RFC 9110, section 13).

use hyper::HeaderMap;
use hyper::header::{GetAll, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use oprc_mesh::outcome::{Code, Effect};
use oprc_mesh::wire::{Precondition, Tag};

use crate::problem::Refusal;

/// Tags in one condition, at the most; more is `invalid`.
const TAGS_MAX: usize = 64;

/// The tag as a header value.
pub(crate) fn render(tag: Tag) -> Result<HeaderValue, Refusal> {
    HeaderValue::try_from(format!("\"{}.{}\"", tag.incarnation, tag.version))
        .map_err(|error| Refusal::new(Code::Internal, error.to_string()))
}

/// What a write must find; none when the request makes no condition.
///
/// # Errors
/// `invalid` for what is no list of tags; `version-mismatch` for tags that no object can ever have.
pub(crate) fn for_write(headers: &HeaderMap) -> Result<Option<Precondition>, Refusal> {
    let matches = Condition::of(headers, &IF_MATCH)?;
    let none_matches = Condition::of(headers, &IF_NONE_MATCH)?;
    let absent = match none_matches {
        None => false,
        Some(Condition::Any) => true,
        Some(Condition::Tags(_)) => {
            return Err(Refusal::invalid("If-None-Match with tags is not taken in a write")
                .hint("send `If-None-Match: *` to create only, or If-Match to compare and set"));
        }
    };
    match matches {
        None if !absent => Ok(None),
        None => Ok(Some(Precondition { absent, present: false, tags: Vec::new() })),
        Some(Condition::Any) => Ok(Some(Precondition { absent, present: true, tags: Vec::new() })),
        Some(Condition::Tags(listed)) => {
            // a weak tag, or one that is not of our making, matches nothing (strong comparison)
            let tags: Vec<_> = listed.iter().filter_map(|one| one.tag.filter(|_| !one.weak)).collect();
            if tags.is_empty() {
                return Err(mismatch("no tag in If-Match is one that an object here can have"));
            }
            Ok(Some(Precondition { absent, present: false, tags }))
        }
    }
}

/// What a conditional read comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// The client has not seen this state: send it.
    Send,
    /// The client has it already: 304.
    NotModified,
}

/// Compares a read's conditions with what was read.
///
/// # Errors
/// `invalid` for what is no list of tags; `version-mismatch` when `If-Match` does not hold.
pub(crate) fn for_read(headers: &HeaderMap, tag: Tag) -> Result<Freshness, Refusal> {
    if let Some(Condition::Tags(listed)) = Condition::of(headers, &IF_MATCH)?
        && !listed.iter().any(|one| one.tag == Some(tag) && !one.weak)
    {
        return Err(mismatch(format!("the object is at \"{}.{}\"", tag.incarnation, tag.version)));
    }
    let seen = match Condition::of(headers, &IF_NONE_MATCH)? {
        None => false,
        Some(Condition::Any) => true,
        Some(Condition::Tags(listed)) => listed.iter().any(|one| one.tag == Some(tag)),
    };
    Ok(if seen { Freshness::NotModified } else { Freshness::Send })
}

fn mismatch(detail: impl Into<String>) -> Refusal {
    Refusal::new(Code::VersionMismatch, detail).effect(Effect::NotRun)
}

/// One conditional header.
#[derive(Debug, PartialEq, Eq)]
enum Condition {
    Any,
    Tags(Vec<Listed>),
}

/// A tag in a list. One that is not of our making is kept as none: well-formed, but equal to nothing.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    weak: bool,
    tag: Option<Tag>,
}

impl Condition {
    fn of(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, Refusal> {
        if !headers.contains_key(name) {
            return Ok(None);
        }
        Self::parse(&headers.get_all(name)).map(Some).ok_or_else(|| {
            Refusal::invalid(format!("header {name} is neither * nor a list of up to {TAGS_MAX} entity tags"))
                .hint("send an ETag as it was received, with its quotes, such as \"12.3\"")
        })
    }

    fn parse(values: &GetAll<'_, HeaderValue>) -> Option<Self> {
        let lines: Vec<_> = values.iter().map(HeaderValue::to_str).collect::<Result<_, _>>().ok()?;
        if let [line] = lines[..]
            && line.trim() == "*"
        {
            return Some(Self::Any);
        }
        let mut tags = Vec::new();
        for line in lines {
            let mut rest = line.trim();
            while !rest.is_empty() {
                let (one, after) = Listed::parse(rest)?;
                tags.push(one);
                rest = after;
                if tags.len() > TAGS_MAX {
                    return None;
                }
            }
        }
        (!tags.is_empty()).then_some(Self::Tags(tags))
    }
}

impl Listed {
    /// Takes one tag off the beginning of a list, with the comma after it.
    fn parse(text: &str) -> Option<(Self, &str)> {
        let (weak, quoted) = text.strip_prefix("W/").map_or((false, text), |strong| (true, strong));
        let (opaque, after) = quoted.strip_prefix('"')?.split_once('"')?;
        let after = after.trim_start();
        let after = if after.is_empty() { after } else { after.strip_prefix(',')?.trim_start() };
        Some((Self { weak, tag: own_tag(opaque) }, after))
    }
}

/// Reads what [`render`] wrote, and nothing that only resembles it: `05.1` is not `5.1`.
fn own_tag(opaque: &str) -> Option<Tag> {
    let number = |text: &str| {
        let canonical =
            text == "0" || (text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0'));
        canonical.then(|| text.parse::<u64>().ok()).flatten()
    };
    let (incarnation, version) = opaque.split_once('.')?;
    let tag = Tag { incarnation: number(incarnation)?, version: number(version)? };
    // (0, 0) is how an absent object is written inside: no tag of an object
    (tag != Tag::default()).then_some(tag)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const AT: Tag = Tag { incarnation: 12, version: 3 };

    fn headers(pairs: &[(&HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::try_from(*value).unwrap());
        }
        headers
    }

    fn write(pairs: &[(&HeaderName, &str)]) -> Result<Option<Precondition>, Code> {
        for_write(&headers(pairs)).map_err(|refusal| refusal.problem().kind())
    }

    fn read(pairs: &[(&HeaderName, &str)]) -> Result<Freshness, Code> {
        for_read(&headers(pairs), AT).map_err(|refusal| refusal.problem().kind())
    }

    #[test]
    fn writes_say_what_they_must_find() {
        let tags = |tags: &[(u64, u64)]| {
            let tags = tags.iter().map(|&(incarnation, version)| Tag { incarnation, version }).collect();
            Ok(Some(Precondition { tags, ..Precondition::default() }))
        };
        assert_eq!(write(&[]), Ok(None));
        assert_eq!(write(&[(&IF_MATCH, "\"12.3\"")]), tags(&[(12, 3)]));
        assert_eq!(
            write(&[(&IF_MATCH, "\"1.1\" ,\"2.2\""), (&IF_MATCH, "\"3.3\"")]),
            tags(&[(1, 1), (2, 2), (3, 3)])
        );
        assert_eq!(write(&[(&IF_MATCH, "W/\"1.1\", \"x,y\", \"2.2\"")]), tags(&[(2, 2)]));
        let any = write(&[(&IF_MATCH, " * ")]).unwrap().unwrap();
        assert!(any.present && !any.absent && any.tags.is_empty());
        let create = write(&[(&IF_NONE_MATCH, "*")]).unwrap().unwrap();
        assert!(create.absent && !create.present);
        let both = write(&[(&IF_NONE_MATCH, "*"), (&IF_MATCH, "\"12.3\"")]).unwrap().unwrap();
        assert!(both.absent && both.tags == [AT]);
    }

    #[test]
    fn tags_that_no_object_has_never_mean_no_condition() {
        for foreign in
            ["\"abc\"", "W/\"12.3\"", "\"0.0\"", "\"012.3\"", "\"+1.1\"", "\"1.\"", "\"1.1.1\"", "\"\""]
        {
            assert_eq!(write(&[(&IF_MATCH, foreign)]), Err(Code::VersionMismatch), "{foreign}");
        }
    }

    #[test]
    fn what_is_no_list_of_tags_is_refused() {
        let many = vec!["\"1.1\""; 65].join(",");
        for bad in ["12.3", "", "\"12.3", "w/\"1.1\"", "\"1.1\" \"2.2\"", "*, \"1.1\"", ",", &many] {
            assert_eq!(write(&[(&IF_MATCH, bad)]), Err(Code::Invalid), "{bad}");
            assert_eq!(read(&[(&IF_NONE_MATCH, bad)]), Err(Code::Invalid), "{bad}");
        }
        assert!(write(&[(&IF_MATCH, &vec!["\"1.1\""; 64].join(","))]).is_ok());
        assert_eq!(write(&[(&IF_NONE_MATCH, "\"12.3\"")]), Err(Code::Invalid));
    }

    #[test]
    fn reads_are_not_sent_what_they_have() {
        assert_eq!(read(&[]), Ok(Freshness::Send));
        for seen in ["\"12.3\"", "W/\"12.3\"", "\"1.1\", \"12.3\"", "*"] {
            assert_eq!(read(&[(&IF_NONE_MATCH, seen)]), Ok(Freshness::NotModified), "{seen}");
        }
        assert_eq!(read(&[(&IF_NONE_MATCH, "\"12.4\"")]), Ok(Freshness::Send));
        assert_eq!(read(&[(&IF_MATCH, "\"12.3\"")]), Ok(Freshness::Send));
        assert_eq!(read(&[(&IF_MATCH, "*")]), Ok(Freshness::Send));
        for stale in ["\"12.4\"", "W/\"12.3\"", "\"13.3\""] {
            assert_eq!(read(&[(&IF_MATCH, stale)]), Err(Code::VersionMismatch), "{stale}");
        }
    }

    proptest! {
        #[test]
        fn every_tag_reads_back(incarnation in any::<u64>(), version in 1..u64::MAX) {
            let tag = Tag { incarnation, version };
            let rendered = render(tag).unwrap();
            let condition = for_write(&headers(&[(&IF_MATCH, rendered.to_str().unwrap())])).unwrap().unwrap();
            prop_assert_eq!(condition.tags, vec![tag]);
        }

        #[test]
        fn no_header_panics(value in "[ -~]{0,40}") {
            let _ = write(&[(&IF_MATCH, &value), (&IF_NONE_MATCH, &value)]);
        }
    }
}
