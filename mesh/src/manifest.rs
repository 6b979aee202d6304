//! The manifest of a class (`oprc.toml`), parsed once into [`ClassSettings`] with the defaults filled in. Unknown keys
//! are errors, so that a typo never passes for a default.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::catalog::{ClassLimits, ClassSettings, OwnGrid};
use crate::egress::Egress;
use crate::id::{ClassName, MethodName};
use crate::limits::{GRID_PARTITIONS_MAX, MANIFEST_BYTES_MAX, MESSAGE_ATTEMPTS_MAX, SETTINGS, Setting};
use crate::outcome::{Code, Problem};
use crate::rates::check_burst;
use crate::triggers::{TriggerTable, triggers};

/// The shared grid's name.
pub const DEFAULT_GRID: &str = "default";
/// Read-only methods that a manifest may list.
const READONLY_METHODS_MAX: usize = 1_024;
/// Copies of a partition, at the most.
const REPLICAS_MAX: u32 = 7;

/// A parsed manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The class's name, if it says one.
    pub name: Option<ClassName>,
    /// Where the component lies, relative to the manifest, if it says so.
    pub component: Option<PathBuf>,
    /// Everything that the platform keeps.
    pub settings: ClassSettings,
}

impl Default for Manifest {
    fn default() -> Self {
        let limits = SETTINGS.map(|setting| setting.default);
        Self {
            name: None,
            component: None,
            settings: ClassSettings { limits: ClassLimits::of(limits), ..ClassSettings::default() },
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    class: Option<ClassTable>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ClassTable {
    name: Option<String>,
    component: Option<PathBuf>,
    grid: Option<GridSetting>,
    #[serde(default)]
    readonly: Vec<String>,
    #[serde(default)]
    limits: BTreeMap<String, u64>,
    #[serde(default)]
    allow: AllowTable,
    #[serde(default)]
    messages: MessagesTable,
    #[serde(default)]
    trigger: Vec<TriggerTable>,
}

/// What a class may reach beside the cluster; nothing unless told.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct AllowTable {
    #[serde(default)]
    http: Vec<String>,
    #[serde(default)]
    http_networks: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct MessagesTable {
    attempts: Option<u32>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum GridSetting {
    Shared(String),
    Own(OwnGridTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnGridTable {
    partitions: u32,
    replicas: u32,
}

impl Manifest {
    /// Parses the text of an `oprc.toml`.
    ///
    /// # Errors
    /// `invalid` with the place and what is allowed; `payload-too-large` for a text past 64 KiB.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        if text.len() > MANIFEST_BYTES_MAX {
            let detail = format!("the manifest has {} bytes; {MANIFEST_BYTES_MAX} are allowed", text.len());
            return Err(Problem::new(Code::PayloadTooLarge, detail).on("parse", "manifest"));
        }
        let file: File = toml::from_str(text).map_err(|error| invalid(error.to_string().trim_end()))?;
        let class = file.class.unwrap_or_default();
        let egress = Egress::parse(&class.allow.http, &class.allow.http_networks).map_err(invalid)?;
        Ok(Self {
            name: class.name.as_deref().map(ClassName::parse).transpose()?,
            component: class.component,
            settings: ClassSettings {
                readonly: readonly(class.readonly)?,
                limits: limits(&class.limits)?,
                own_grid: own_grid(class.grid)?,
                triggers: triggers(class.trigger)?,
                message_attempts: attempts(class.messages.attempts)?,
                http_origins: egress.origins(),
                http_networks: egress.networks(),
            },
        })
    }
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Code::Invalid, detail).on("parse", "manifest")
}

/// Checks the read-only methods' names; they are kept sorted and once each.
pub fn readonly(mut names: Vec<String>) -> Result<Vec<String>, Problem> {
    if names.len() > READONLY_METHODS_MAX {
        return Err(invalid(format!(
            "readonly lists {} methods; {READONLY_METHODS_MAX} are allowed",
            names.len()
        )));
    }
    for name in &names {
        MethodName::parse(name)?;
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// Fills in what `given` does not set and checks what it does.
///
/// # Errors
/// `invalid` for an unknown key, zero, or a value past its cap.
pub fn limits(given: &BTreeMap<String, u64>) -> Result<ClassLimits, Problem> {
    if let Some(unknown) = given.keys().find(|key| !SETTINGS.iter().any(|setting| setting.key == *key)) {
        let known: Vec<_> = SETTINGS.iter().map(|setting| setting.key).collect();
        return Err(invalid(format!("unknown limit {unknown:?}; the limits are {}", known.join(", "))));
    }
    let mut values = SETTINGS.map(|setting| setting.default);
    for (value, setting) in values.iter_mut().zip(SETTINGS) {
        match given.get(setting.key) {
            None => {}
            Some(&given) if (1..=setting.cap).contains(&given) => *value = given,
            Some(given) => {
                let Setting { key, cap, .. } = setting;
                return Err(invalid(format!("{key} = {given} is not allowed; it may be 1 to {cap}")));
            }
        }
    }
    let limits = ClassLimits::of(values);
    check_burst(limits.calls_per_s, limits.burst).map_err(|problem| problem.on("parse", "manifest"))?;
    Ok(limits)
}

/// How often a message to the class is tried; 0 stands for the default.
fn attempts(given: Option<u32>) -> Result<u32, Problem> {
    match given {
        None => Ok(0),
        Some(attempts) if (1..=MESSAGE_ATTEMPTS_MAX).contains(&attempts) => Ok(attempts),
        Some(attempts) => Err(invalid(format!(
            "messages.attempts = {attempts} is not allowed; it may be 1 to {MESSAGE_ATTEMPTS_MAX}"
        ))),
    }
}

fn own_grid(setting: Option<GridSetting>) -> Result<Option<OwnGrid>, Problem> {
    match setting {
        None => Ok(None),
        Some(GridSetting::Shared(name)) if name == DEFAULT_GRID => Ok(None),
        Some(GridSetting::Shared(name)) => Err(invalid(format!(
            "grid = {name:?} is not allowed; it may be \"{DEFAULT_GRID}\" or a table {{ partitions, replicas }}"
        ))),
        Some(GridSetting::Own(OwnGridTable { partitions, replicas })) => {
            if !(1..=GRID_PARTITIONS_MAX).contains(&partitions) || !(1..=REPLICAS_MAX).contains(&replicas) {
                return Err(invalid(format!(
                    "grid = {{ partitions = {partitions}, replicas = {replicas} }} is not allowed; partitions may be \
                     1 to {GRID_PARTITIONS_MAX}, replicas 1 to {REPLICAS_MAX}"
                )));
            }
            Ok(Some(OwnGrid { partitions, replicas }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Manifest::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_manifest_is_all_defaults() {
        let manifest = Manifest::parse("").unwrap();
        assert_eq!(manifest, Manifest::default());
        assert_eq!((manifest.settings.limits.cpu_ms, manifest.settings.limits.call_depth), (500, 16));
        assert_eq!(manifest.name, None);
    }

    #[test]
    fn everything_that_may_be_said_is_understood() {
        let text = r#"
            [class]
            name = "Counter"
            component = "target/wasm32-wasip2/release/counter.wasm"
            grid = { partitions = 4, replicas = 1 }
            readonly = ["value", "history", "value"]
            [class.limits]
            cpu_ms = 10000
            [class.messages]
            attempts = 3
        "#;
        let manifest = Manifest::parse(text).unwrap();
        assert_eq!(manifest.name.unwrap().as_str(), "Counter");
        assert_eq!(manifest.settings.readonly, ["history", "value"]);
        assert_eq!((manifest.settings.limits.cpu_ms, manifest.settings.message_attempts), (10_000, 3));
        assert_eq!(manifest.settings.own_grid, Some(OwnGrid { partitions: 4, replicas: 1 }));
    }

    #[test]
    fn every_limit_holds_at_its_cap_and_not_past_it() {
        for setting in SETTINGS {
            // a burst stands beside a rate
            let beside = if setting.key == "burst" { "calls_per_s = 1\n" } else { "" };
            let text = |value| format!("[class.limits]\n{beside}{} = {value}", setting.key);
            assert!(Manifest::parse(&text(setting.cap)).is_ok(), "{}", setting.key);
            assert!(error(&text(setting.cap + 1)).contains(setting.key));
            assert!(error(&text(0)).contains("1 to"));
        }
    }

    #[test]
    fn a_typo_never_passes_for_a_default() {
        assert!(error("[class]\nreadOnly = []").contains("readOnly"));
        assert!(error("[class.limits]\ncpu = 1").contains("cpu_ms"));
        assert!(error("[class.limits]\nburst = 1").contains("calls_per_s"));
        assert!(error("[class]\ngrid = \"other\"").contains("default"));
        assert!(error("[class]\ngrid = { partitions = 257, replicas = 1 }").contains("1 to 256"));
        assert!(error("[class]\nname = \"9\"").contains("class name"));
        assert!(error("[other]").contains("other"));
        assert!(error("[class.messages]\nattempt = 1").contains("attempt"));
    }

    #[test]
    fn origins_are_kept_in_one_form_and_bad_ones_are_named() {
        let text = |allow: &str| format!("[class.allow]\n{allow}");
        let kept = Manifest::parse(&text(
            "http = [\"HTTPS://API.example.com:443\", \"https://api.example.com\", \"http://127.0.0.1:9000\"]\n\
             http_networks = [\"10.0.0.0/8\"]",
        ));
        let settings = kept.unwrap().settings;
        assert_eq!(settings.http_origins, ["http://127.0.0.1:9000", "https://api.example.com"]);
        assert_eq!(settings.http_networks, ["10.0.0.0/8"]);
        let bad = error(&text("http = [\"https://api.example.com/v1\"]"));
        assert!(
            bad.contains("\"https://api.example.com/v1\" in allow.http") && bad.contains("leave out"),
            "{bad}"
        );
        assert!(error(&text("http_networks = [\"0.0.0.0/0\"]")).contains("8 to 32"));
        assert!(error(&text("https = []")).contains("http_networks"));
    }

    #[test]
    fn a_message_may_be_tried_100_times_and_no_more() {
        let text = |attempts: u32| format!("[class.messages]\nattempts = {attempts}");
        assert!(Manifest::parse(&text(1)).is_ok() && Manifest::parse(&text(MESSAGE_ATTEMPTS_MAX)).is_ok());
        assert!(error(&text(0)).contains("1 to 100"));
        assert!(error(&text(MESSAGE_ATTEMPTS_MAX + 1)).contains("1 to 100"));
    }

    #[test]
    fn a_manifest_may_be_64_kib_and_no_more() {
        let text = |bytes: usize| format!("#{}", "x".repeat(bytes - 1));
        assert!(Manifest::parse(&text(MANIFEST_BYTES_MAX)).is_ok());
        assert_eq!(Manifest::parse(&text(MANIFEST_BYTES_MAX + 1)).unwrap_err().kind(), Code::PayloadTooLarge);
    }
}
