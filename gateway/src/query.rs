//! The query part of a request: known parameters only, each at most once unless said otherwise, so that a typo is never
//! taken for a default.

use std::borrow::Cow;

use oprc_mesh::limits::{PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX};
use oprc_mesh::wire::Consistency;

use crate::address::decode;
use crate::cursor::{self, Kind};
use crate::problem::Refusal;

/// Parameters in one query, at the most.
const PARAMETERS_MAX: usize = 2_048;

/// The parameters of a query, decoded as `application/x-www-form-urlencoded`.
#[derive(Debug)]
pub(crate) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Parses `query` (the part after `?`).
    ///
    /// # Errors
    /// `invalid` for a parameter that is not in `known` and for malformed percent-encoding.
    pub(crate) fn parse(query: Option<&'a str>, known: &[&str]) -> Result<Self, Refusal> {
        let mut parameters = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode_form(name)?;
            if !known.contains(&&*name) {
                let allowed = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let name: String = name.chars().take(64).collect();
                return Err(Refusal::invalid(format!("unknown query parameter {name:?}"))
                    .hint(format!("allowed here: {allowed}")));
            }
            if parameters.len() == PARAMETERS_MAX {
                return Err(Refusal::invalid(format!("more than {PARAMETERS_MAX} query parameters")));
            }
            parameters.push((name, decode_form(value)?));
        }
        Ok(Self(parameters))
    }

    /// Every value of the parameter, in order.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(given, _)| given == name).map(|(_, value)| &**value)
    }

    /// The parameter's value, if it is there.
    ///
    /// # Errors
    /// `invalid` when it is there twice.
    pub(crate) fn one(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let mut values = self.all(name);
        let value = values.next();
        match values.next() {
            None => Ok(value),
            Some(_) => Err(Refusal::invalid(format!("query parameter {name:?} is given more than once"))),
        }
    }

    /// The parameter as a number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let parse = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse().ok()).flatten().ok_or_else(|| {
                let text: String = text.chars().take(64).collect();
                Refusal::invalid(format!("query parameter {name} = {text:?} is not a whole number"))
            })
        };
        self.one(name)?.map(parse).transpose()
    }

    /// The parameter as a switch: `true`, `false`, or absent for false.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.one(name)? {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Refusal::invalid(format!("query parameter {name} may be true or false"))),
        }
    }
}

/// How new a read's result must be: a parameter of every read.
pub(crate) const CONSISTENCY: &str = "consistency";

impl Query<'_> {
    /// How new what is read must be.
    ///
    /// # Errors
    /// `invalid` for anything but `lease`, `linearizable` and `stale`.
    pub(crate) fn consistency(&self) -> Result<Consistency, Refusal> {
        match self.one(CONSISTENCY)? {
            None | Some("lease") => Ok(Consistency::Lease),
            Some("linearizable") => Ok(Consistency::Linearizable),
            Some("stale") => Ok(Consistency::Stale),
            Some(_) => {
                let detail = "query parameter consistency may be lease, linearizable or stale";
                Err(Refusal::invalid(detail)
                    .hint("leave it out for lease, which misses nothing acknowledged"))
            }
        }
    }
}

fn decode_form(text: &str) -> Result<Cow<'_, str>, Refusal> {
    if !text.contains('+') {
        return decode(text);
    }
    // a plus is a space before percent-decoding, so that %2B stays a plus
    let spaced = text.replace('+', " ");
    decode(&spaced).map(|decoded| Cow::Owned(decoded.into_owned()))
}

/// The parameters of a listing.
const fn page_parameters(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Version | Kind::DeadLetter => &["limit", "cursor"],
        Kind::Class => &["prefix", "limit", "cursor"],
        Kind::Object | Kind::Field => &["prefix", "limit", "cursor", CONSISTENCY],
    }
}

/// Which page of a listing is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// Only names that begin so; empty for all.
    pub(crate) prefix: String,
    /// Items at the most, 1 to [`PAGE_ITEMS_MAX`].
    pub(crate) limit: usize,
    /// Only names after this one; empty from the beginning.
    pub(crate) after: String,
    /// How new it must be.
    pub(crate) consistency: Consistency,
}

impl Page {
    /// Reads the page's parameters. `kind` is the listing that the cursor must come from.
    pub(crate) fn parse(query: Option<&str>, kind: Kind) -> Result<Self, Refusal> {
        let query = Query::parse(query, page_parameters(kind))?;
        let limit = query.number("limit")?.unwrap_or(PAGE_ITEMS_DEFAULT as u64);
        if !(1..=PAGE_ITEMS_MAX as u64).contains(&limit) {
            return Err(Refusal::invalid(format!(
                "limit = {limit} is not allowed; it may be 1 to {PAGE_ITEMS_MAX}"
            ))
            .hint("follow `next` for more"));
        }
        let after = query.one("cursor")?.map(|cursor| cursor::decode(kind, cursor)).transpose()?;
        Ok(Self {
            prefix: query.one("prefix")?.unwrap_or_default().to_owned(),
            limit: limit as usize,
            after: after.unwrap_or_default(),
            consistency: query.consistency()?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse(Some("a=x%20y+z%2B&b&a=2"), &["a", "b", "c"]).unwrap();
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["x y z+", "2"]);
        assert_eq!((query.one("b").unwrap(), query.one("c").unwrap()), (Some(""), None));
        assert!(query.one("a").is_err());
    }

    #[test]
    fn what_is_unknown_or_malformed_is_refused() {
        for (query, known) in [("x=1", &["y"][..]), ("x=1", &[]), ("y=%", &["y"]), ("y=%FF", &["y"])] {
            assert!(Query::parse(Some(query), known).is_err(), "{query}");
        }
    }

    #[test]
    fn numbers_and_flags_are_strict() {
        for bad in ["limit=", "limit=-1", "limit=+1", "limit=1.0", "limit=0x1", "limit=99999999999999999999"]
        {
            assert!(Query::parse(Some(bad), &["limit"]).unwrap().number("limit").is_err(), "{bad}");
        }
        let purge = |query| Query::parse(Some(query), &["purge"]).unwrap().flag("purge");
        assert!(purge("purge=true").unwrap() && !purge("purge=false").unwrap() && !purge("").unwrap());
        assert!(purge("purge=1").is_err());
    }

    #[test]
    fn consistency_is_one_of_three_and_only_for_reads_of_objects() {
        let given = |query| Query::parse(Some(query), &[CONSISTENCY]).unwrap().consistency();
        assert_eq!(given("").unwrap(), Consistency::Lease);
        assert_eq!(given("consistency=lease").unwrap(), Consistency::Lease);
        assert_eq!(given("consistency=linearizable").unwrap(), Consistency::Linearizable);
        assert_eq!(given("consistency=stale").unwrap(), Consistency::Stale);
        for bad in ["consistency=", "consistency=Stale", "consistency=stale&consistency=stale"] {
            assert!(given(bad).is_err(), "{bad}");
        }
        for (kind, taken) in
            [(Kind::Object, true), (Kind::Field, true), (Kind::Class, false), (Kind::Version, false)]
        {
            assert_eq!(Page::parse(Some("consistency=stale"), kind).is_ok(), taken);
        }
    }

    #[test]
    fn a_page_holds_at_its_limits_and_not_past_them() {
        let page = |query| Page::parse(Some(query), Kind::Object);
        let (prefix, after, consistency) = (String::new(), String::new(), Consistency::Lease);
        assert_eq!(page("").unwrap(), Page { prefix, limit: 100, after, consistency });
        assert_eq!(page("limit=1000&prefix=a").unwrap().limit, 1_000);
        assert!(page("limit=0").is_err() && page("limit=1001").is_err() && page("limit=1&limit=1").is_err());
        let cursor = cursor::encode(Kind::Object, "alice");
        assert_eq!(page(&format!("cursor={cursor}")).unwrap().after, "alice");
    }
}
