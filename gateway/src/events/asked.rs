//! What a client asks for, in the query and in `Last-Event-ID`.

use std::collections::BTreeMap;

use hyper::header::HeaderName;
use oprc_mesh::events::Cursor;
use oprc_mesh::id::{FieldKey, ObjectId};

use crate::call::Call;
use crate::problem::Refusal;
use crate::query::Query;

/// The id of the last event that the client got (the HTML standard, 9.2.4). It says more than the query: a browser that
/// comes back sends the query of the beginning again.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// In place of an id: from the oldest event that is kept.
const OLDEST: &str = "oldest";

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(super) prefix: String,
    pub(super) keys: String,
    pub(super) since: Since,
}

/// Where a stream begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Since {
    Now,
    Oldest,
    After(Cursor),
}

impl Asked {
    /// Of one object.
    pub(super) fn of_object(call: &Call<'_>) -> Result<Self, Refusal> {
        Self::parse(call.query(), last_event_id(call)?, &["since", "keys"])
    }

    /// Of a class.
    pub(super) fn of_class(call: &Call<'_>) -> Result<Self, Refusal> {
        Self::parse(call.query(), last_event_id(call)?, &["prefix", "since", "keys"])
    }

    fn parse(query: Option<&str>, last: Option<&str>, known: &[&str]) -> Result<Self, Refusal> {
        let query = Query::parse(query, known)?;
        let text = |name| Ok::<_, Refusal>(query.one(name)?.unwrap_or_default().to_owned());
        let (prefix, keys, since) = (text("prefix")?, text("keys")?, text("since")?);
        Self::new(prefix, keys, last.filter(|last| !last.is_empty()).unwrap_or(&since))
    }

    /// What is asked for, of a class by a prefix of ids or of one object; `since` is an id, `oldest`, or empty for now.
    ///
    /// # Errors
    /// `invalid` for what cannot be one.
    pub(crate) fn new(prefix: String, keys: String, since: &str) -> Result<Self, Refusal> {
        if !prefix.is_empty() {
            ObjectId::parse(&prefix)?; // the beginning of an id is itself one
        }
        if !keys.is_empty() {
            FieldKey::parse(&keys)?; // and so with keys
        }
        Ok(Self { prefix, keys, since: Since::parse(since)? })
    }
}

fn last_event_id<'c>(call: &'c Call<'_>) -> Result<Option<&'c str>, Refusal> {
    let value = call.headers().get(LAST_EVENT_ID);
    value.map(|value| value.to_str().map_err(|_| no_id())).transpose()
}

impl Since {
    fn parse(text: &str) -> Result<Self, Refusal> {
        match text {
            "" => Ok(Self::Now),
            OLDEST => Ok(Self::Oldest),
            id => Cursor::parse(id).map(Self::After).map_err(|_| no_id()),
        }
    }

    /// The place to go on from in these partitions of the class of this number; none begins now.
    pub(super) fn cursor(self, number: u64, groups: &[u64]) -> Option<Cursor> {
        match self {
            Self::Now => None,
            Self::Oldest => {
                let positions: BTreeMap<u64, u64> = groups.iter().map(|group| (*group, 0)).collect();
                Some(Cursor { class: number, positions })
            }
            Self::After(mut cursor) => {
                // an id of the whole class serves for one of its objects
                cursor.positions.retain(|group, _| groups.contains(group));
                Some(cursor)
            }
        }
    }
}

fn no_id() -> Refusal {
    Refusal::invalid("the place to go on from is not the id of an event")
        .hint("send back the id of the last event as it was, or leave it out to begin now")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KNOWN: &[&str] = &["prefix", "since", "keys"];

    #[test]
    fn a_stream_begins_where_its_reader_was() {
        let since = |query: &str, last| Asked::parse(Some(query), last, KNOWN).map(|asked| asked.since);
        let id = Cursor::at(1, 2, 3).id();
        let later = Cursor::at(1, 2, 4);
        assert_eq!(since("", None).unwrap(), Since::Now);
        assert_eq!(since("", Some("")).unwrap(), Since::Now);
        assert_eq!(since("since=oldest", None).unwrap(), Since::Oldest);
        assert_eq!(since(&format!("since={id}"), None).unwrap(), Since::After(Cursor::at(1, 2, 3)));
        let header = later.id();
        assert_eq!(since(&format!("since={id}"), Some(&header)).unwrap(), Since::After(later));
        for bad in ["since=x", "since=AQ", "since=Oldest"] {
            assert!(since(bad, None).is_err(), "{bad}");
        }
        assert!(since("", Some("no id")).is_err());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for bad in ["prefix=.a", "keys=%0A", "unknown=1", "prefix=a&prefix=b"] {
            assert!(Asked::parse(Some(bad), None, KNOWN).is_err(), "{bad}");
        }
        let asked = Asked::parse(Some("prefix=a&keys=b%2F"), None, KNOWN).unwrap();
        assert_eq!((asked.prefix.as_str(), asked.keys.as_str()), ("a", "b/"));
        assert!(Asked::parse(Some("prefix=a"), None, &["since", "keys"]).is_err());
    }

    #[test]
    fn an_id_of_the_class_serves_for_an_object() {
        let of_all = Cursor { class: 1, positions: BTreeMap::from([(2, 5), (3, 6)]) };
        assert_eq!(Since::After(of_all).cursor(1, &[3]), Some(Cursor::at(1, 3, 6)));
        assert_eq!(Since::Oldest.cursor(1, &[3]), Some(Cursor::at(1, 3, 0)));
        assert_eq!(Since::Now.cursor(1, &[3]), None);
    }
}
