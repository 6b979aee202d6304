//! A manifest that comes as query parameters: the keys of `oprc.toml` flat, such as `?readonly=value&cpu_ms=800`, or its
//! whole text as `?manifest=...`. Either way it goes through the one parser of manifests.

use std::fmt::Write as _;

use oprc_mesh::id::{ClassName, MethodName};
use oprc_mesh::limits::SETTINGS;
use oprc_mesh::manifest::{DEFAULT_GRID, Manifest};

use crate::problem::Refusal;
use crate::query::Query;

/// Whether it is deployed even if callers of the version before it would break: no part of the manifest.
pub(crate) const FORCE: &str = "force";
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

/// Whether the deployment is to be made whatever breaks.
///
/// # Errors
/// As [`from_query`], and `invalid` for anything but true and false.
pub(crate) fn forced(query: Option<&str>) -> Result<bool, Refusal> {
    parameters(query)?.flag(FORCE)
}

fn parameters(query: Option<&str>) -> Result<Query<'_>, Refusal> {
    Query::parse(query, &keys().chain([FORCE]).collect::<Vec<_>>())
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
        assert!(forced(Some("force=true&cpu_ms=1")).unwrap());
        assert!(!forced(Some("force=false")).unwrap() && !forced(None).unwrap());
        assert!(forced(Some("force=1")).is_err() && forced(Some("force")).is_err());
        assert_eq!(from_query(Some("force=true")).unwrap(), Manifest::default());
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
