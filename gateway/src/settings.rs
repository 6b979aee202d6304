//! A manifest that comes as query parameters: the keys of `oprc.toml` flat, such as `?readonly=value&cpu_ms=800`, or its
//! whole text as `?manifest=...`. Either way it goes through the one parser of manifests.

use std::fmt::Write as _;

use oprc_mesh::canary::SHARE_MAX;
use oprc_mesh::id::{ClassName, MethodName};
use oprc_mesh::limits::SETTINGS;
use oprc_mesh::manifest::{DEFAULT_GRID, Manifest};

use crate::problem::Refusal;
use crate::query::Query;

/// Whether it is deployed even if callers of the version before it would break: no part of the manifest.
pub(crate) const FORCE: &str = "force";
/// For how many of a hundred objects it is deployed, as the class's canary: no part of the manifest either.
pub(crate) const CANARY: &str = "canary";
/// Keys besides those of the limits.
const KEYS: [&str; 5] = ["manifest", "readonly", "grid", "partitions", "replicas"];

/// Reads the manifest out of a request's query.
///
/// # Errors
/// `invalid` for unknown parameters and for whatever a manifest may not say.
pub(crate) fn from_query(query: Option<&str>) -> Result<Manifest, Refusal> {
    let parameters = parameters(query)?;
    if let Some(text) = parameters.one("manifest")? {
        if keys().any(|key| key != "manifest" && parameters.all(key).next().is_some()) {
            return Err(Refusal::invalid("query parameter manifest stands alone: its text says everything"));
        }
        return Ok(Manifest::parse(text)?);
    }
    Ok(Manifest::parse(&manifest_text(&parameters)?)?)
}

/// How a deployment is to be made, whatever its manifest says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manner {
    /// Even if callers of the version before it would break.
    pub(crate) force: bool,
    /// As the class's canary, for so many of a hundred objects.
    pub(crate) canary: Option<u32>,
}

impl Manner {
    /// Of a query with the manifest in it.
    ///
    /// # Errors
    /// As [`from_query`], and `invalid` for a switch that is neither true nor false and for a share that cannot be.
    pub(crate) fn beside_manifest(query: Option<&str>) -> Result<Self, Refusal> {
        Self::of(&parameters(query)?)
    }

    /// Of a query that says nothing else.
    ///
    /// # Errors
    /// As [`Self::beside_manifest`], and `invalid` for any other parameter.
    pub(crate) fn alone(query: Option<&str>) -> Result<Self, Refusal> {
        Self::of(&Query::parse(query, &[FORCE, CANARY])?)
    }

    fn of(query: &Query<'_>) -> Result<Self, Refusal> {
        let share = |percent: u64| {
            u32::try_from(percent).ok().filter(|share| (1..=SHARE_MAX).contains(share)).ok_or_else(|| {
                Refusal::invalid(format!("canary = {percent} is not allowed; it may be 1 to {SHARE_MAX} percent"))
                    .hint("POST .../rollback (oprc rollback) ends a canary, POST .../promote (oprc promote) makes it the class")
            })
        };
        Ok(Self { force: query.flag(FORCE)?, canary: query.number(CANARY)?.map(share).transpose()? })
    }
}

fn parameters(query: Option<&str>) -> Result<Query<'_>, Refusal> {
    Query::parse(query, &keys().chain([FORCE, CANARY]).collect::<Vec<_>>())
}

/// What a manifest may say.
fn keys() -> impl Iterator<Item = &'static str> {
    KEYS.into_iter().chain(SETTINGS.iter().map(|setting| setting.key))
}

/// Writes the parameters as a manifest's text.
fn manifest_text(parameters: &Query<'_>) -> Result<String, Refusal> {
    let mut text = String::from("[class]\nreadonly = [");
    for name in parameters.all("readonly").flat_map(|names| names.split(',')).filter(|name| !name.is_empty())
    {
        let _ = write!(text, "\"{}\",", MethodName::parse(name)?); // a name needs no escapes
    }
    text.push_str("]\n");
    match (parameters.one("grid")?, parameters.number("partitions")?, parameters.number("replicas")?) {
        (None | Some(DEFAULT_GRID), None, None) => {}
        (None, Some(partitions), Some(replicas)) => {
            let _ = writeln!(text, "grid = {{ partitions = {partitions}, replicas = {replicas} }}");
        }
        _ => {
            return Err(Refusal::invalid("the query does not describe a grid")
                .hint("send grid=default, or both partitions and replicas for a grid of the class's own"));
        }
    }
    text.push_str("[class.limits]\n");
    for setting in SETTINGS {
        if let Some(value) = parameters.number(setting.key)? {
            let _ = writeln!(text, "{} = {value}", setting.key); // writing to a String cannot fail
        }
    }
    Ok(text)
}

/// Checks that a manifest that names a class names this one.
pub(crate) fn expect_name(manifest: &Manifest, class: &ClassName) -> Result<(), Refusal> {
    match &manifest.name {
        Some(name) if name != class => Err(Refusal::invalid(format!("the manifest is for class {name}"))
            .hint("deploy to that class's path, or change class.name in the manifest")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use oprc_mesh::catalog::OwnGrid;

    #[test]
    fn nothing_said_is_all_defaults() {
        assert_eq!(from_query(None).unwrap(), Manifest::default());
        assert_eq!(from_query(Some("grid=default&readonly=")).unwrap(), Manifest::default());
    }

    #[test]
    fn every_setting_can_be_said() {
        let settings =
            from_query(Some("readonly=value,history&readonly=all&partitions=4&replicas=1")).unwrap().settings;
        assert_eq!(settings.readonly, ["all", "history", "value"]);
        assert_eq!(settings.own_grid, Some(OwnGrid { partitions: 4, replicas: 1 }));
        for setting in SETTINGS {
            // a burst stands beside a rate
            let beside = if setting.key == "burst" { "calls_per_s=1&" } else { "" };
            let said = |value| from_query(Some(&format!("{beside}{}={value}", setting.key)));
            assert!(said(setting.cap).is_ok(), "{}", setting.key);
            assert!(
                said(setting.cap + 1).is_err() && said(0).is_err() && said(u64::MAX).is_err(),
                "{}",
                setting.key
            );
        }
    }

    #[test]
    fn a_whole_manifest_can_be_said_and_stands_alone() {
        let manifest = "manifest=%5Bclass%5D%0Aname%3D%22Counter%22%0Areadonly%3D%5B%22value%22%5D";
        let parsed = from_query(Some(manifest)).unwrap();
        assert_eq!(parsed.settings.readonly, ["value"]);
        assert!(expect_name(&parsed, &ClassName::parse("Counter").unwrap()).is_ok());
        assert!(expect_name(&parsed, &ClassName::parse("Other").unwrap()).is_err());
        assert!(from_query(Some(&format!("{manifest}&cpu_ms=1"))).is_err());
        assert!(from_query(Some(&format!("{manifest}&force=true"))).is_ok());
    }

    #[test]
    fn force_is_a_switch_beside_the_manifest() {
        let forced = |query| Manner::beside_manifest(query).map(|manner| manner.force);
        assert!(forced(Some("force=true&cpu_ms=1")).unwrap());
        assert!(!forced(Some("force=false")).unwrap() && !forced(None).unwrap());
        assert!(forced(Some("force=1")).is_err() && forced(Some("force")).is_err());
        assert_eq!(from_query(Some("force=true&canary=10")).unwrap(), Manifest::default());
    }

    #[test]
    fn a_canary_has_a_share_of_whole_percents() {
        for manner in [Manner::alone, Manner::beside_manifest] {
            let share = |query| manner(Some(query)).map(|manner| manner.canary);
            assert_eq!(share("").unwrap(), None);
            assert_eq!(share("canary=1").unwrap(), Some(1));
            assert_eq!(share("canary=99&force=true").unwrap(), Some(99));
            for query in
                ["canary=0", "canary=100", "canary=", "canary=10%25", "canary=0.5", "canary=4294967297"]
            {
                assert!(share(query).is_err(), "{query}");
            }
            assert!(share("canary=1&canary=2").is_err());
        }
        assert!(
            Manner::alone(Some("cpu_ms=1")).is_err() && Manner::beside_manifest(Some("cpu_ms=1")).is_ok()
        );
    }

    #[test]
    fn what_makes_no_manifest_is_refused() {
        for query in [
            "cpu=5",
            "cpu_ms=many",
            "readonly=1",
            "readonly=a%22%5D",
            "grid=other",
            "partitions=4",
            "replicas=1",
            "grid=default&partitions=4&replicas=1",
            "partitions=0&replicas=1",
            "cpu_ms=1&cpu_ms=2",
            "manifest=%5Bclas%5D",
        ] {
            assert!(from_query(Some(query)).is_err(), "{query}");
        }
    }
}
