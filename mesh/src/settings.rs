//! Zenoh's own configuration, made of ours.
//!
//! Hosts and gateways are *peers* in Zenoh's words: each links with whomever it hears of, and since Zenoh 1.9 they reach each
//! other over these direct links only; what cannot go directly our own routers pass on, see [`crate::relay`]. Not all of
//! them are Zenoh's routers, which would pass on by themselves: in 1.10 routers that lose each other and come back within
//! moments may keep a link that carries nothing, and peers do not.

use zenoh::Session;

use crate::config::{MeshConfig, MeshError};
use crate::secret::{self, HandOver, MeshSecret};

/// Names and passwords in Zenoh's configuration.
const USRPWD: &str = "transport/auth/usrpwd";
/// Milliseconds until a silent link counts as lost. A hint for failing calls early, never for safety.
const LINK_LEASE_MS: u64 = 2_000;

/// Opens a session; a `router` only passes on.
pub(crate) async fn open(config: &MeshConfig, router: bool) -> Result<Session, MeshError> {
    let mut settings = of(config, router)?;
    let handed = config.secret.as_ref().map(|secret| ask_for(secret, &mut settings)).transpose()?;
    let opened = zenoh::open(settings).await;
    drop(handed);
    opened.map_err(|source| MeshError::Open {
        listen: config.listen.join(", "),
        connect: config.connect.join(", "),
        source,
    })
}

/// The given file, if any, with ours where it leaves Zenoh's default, and what the flags say on top.
/// A `router` only passes on.
pub(crate) fn of(config: &MeshConfig, router: bool) -> Result<zenoh::Config, MeshError> {
    let mut settings = match &config.zenoh_config {
        Some(path) => zenoh::Config::from_file(path)
            .map_err(|source| MeshError::Setting { key: path.display().to_string(), source })?,
        None => zenoh::Config::default(),
    };
    // a host that is not listening is never called, so it has to call
    let called = !config.listen.is_empty() || listens(&settings);
    for (key, value) in ours(router, called) {
        if settings.get_json(key).ok() == zenoh::Config::default().get_json(key).ok() {
            set(&mut settings, key, &value)?;
        }
    }
    if router {
        set(&mut settings, "mode", "\"router\"")?;
    }
    if !config.listen.is_empty() {
        set(&mut settings, "listen/endpoints", &json_list(&config.listen))?;
    }
    if !config.connect.is_empty() {
        set(&mut settings, "connect/endpoints", &json_list(&config.connect))?;
    }
    if !config.cluster.is_empty() {
        set(&mut settings, "namespace", &format!("{:?}", config.cluster))?;
    }
    Ok(settings)
}

/// Makes `secret` what a session shows, and all that it takes. What is returned must live until the session is open.
fn ask_for(secret: &MeshSecret, settings: &mut zenoh::Config) -> Result<HandOver, MeshError> {
    let refused = |why: &str| MeshError::Setting { key: USRPWD.into(), source: why.into() };
    let is_set = |key: &str| settings.get_json(&format!("{USRPWD}/{key}")).is_ok_and(|value| value != "null");
    if ["user", "password", "dictionary_file"].into_iter().any(is_set) {
        return Err(refused(
            "the Zenoh configuration has names and passwords of its own beside the mesh secret",
        ));
    }
    let handed = secret.hand_over().map_err(|source| MeshError::Secret { source })?;
    let value = serde_json::json!({
        "user": secret::USER, "password": secret.reveal(), "dictionary_file": handed.path(),
    });
    // Zenoh's own error would tell the value
    let set = settings.insert_json5(USRPWD, &value.to_string());
    set.map_err(|_| refused("Zenoh does not take the mesh secret"))?;
    Ok(handed)
}

/// Whether a configuration file names endpoints to listen on.
fn listens(settings: &zenoh::Config) -> bool {
    let endpoints = |settings: &zenoh::Config| settings.get_json("listen/endpoints").ok();
    endpoints(settings) != endpoints(&zenoh::Config::default())
}

/// What we want other than Zenoh's default; for a `router`, and for who can be `called` by others.
fn ours(router: bool, called: bool) -> [(&'static str, String); 8] {
    // hosts and gateways link with whomever they hear of; a router waits to be called
    let autoconnect = if router {
        "{ router: [], peer: [], client: [] }"
    } else {
        "{ router: [\"router\", \"peer\"], peer: [\"router\", \"peer\"] }"
    };
    let strategy = if called {
        "{ peer: { to_router: \"always\", to_peer: \"greater-zid\" } }"
    } else {
        "{ peer: { to_router: \"always\", to_peer: \"always\" } }"
    };
    [
        ("mode", if router { "\"router\"" } else { "\"peer\"" }.into()),
        // by default a router listens everywhere, without encryption
        ("listen/endpoints", "[]".into()),
        ("scouting/multicast/enabled", "false".into()),
        ("scouting/gossip/autoconnect", autoconnect.into()),
        // of two that hear of each other one calls: two links are more than one link's trouble, see [`crate::session`]
        ("scouting/gossip/autoconnect_strategy", strategy.into()),
        // otherwise opening takes half a second to wait for others; they are found later as well
        ("scouting/delay", "0".into()),
        ("timestamping/enabled", "false".into()),
        ("transport/link/tx/lease", LINK_LEASE_MS.to_string()),
    ]
}

fn set(settings: &mut zenoh::Config, key: &str, value: &str) -> Result<(), MeshError> {
    settings
        .insert_json5(key, value)
        .map_err(|source| MeshError::Setting { key: format!("{key} = {value}"), source })
}

fn json_list(endpoints: &[String]) -> String {
    let endpoints: Vec<_> = endpoints.iter().map(|endpoint| format!("{endpoint:?}")).collect();
    format!("[{}]", endpoints.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn value(settings: &zenoh::Config, key: &str) -> String {
        settings.get_json(key).unwrap()
    }

    /// A configuration file; the folder must live as long.
    fn file(text: &str) -> (tempfile::TempDir, Option<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("zenoh.json5");
        std::fs::write(&path, text).unwrap();
        (folder, Some(path))
    }

    #[test]
    fn a_setting_that_zenoh_refuses_is_named() {
        let config = MeshConfig { listen: vec!["nonsense".into()], ..MeshConfig::default() };
        let error = of(&config, false).unwrap_err().to_string();
        assert!(error.contains("listen/endpoints") && error.contains("nonsense"), "{error}");
    }

    #[test]
    fn a_secret_is_all_that_is_taken_and_told_nowhere() {
        let text = "s:e\"c\\ret-s:e\"c\\ret-s:e\"c\\ret-s:e\"c\\ret";
        let secret = MeshSecret::parse(text).unwrap();
        let mut settings = zenoh::Config::default();
        let handed = ask_for(&secret, &mut settings).unwrap();
        let set: serde_json::Value = serde_json::from_str(&value(&settings, USRPWD)).unwrap();
        assert_eq!((&set["user"], &set["password"]), (&"oprc".into(), &text.into()));
        assert_eq!(set["dictionary_file"], handed.path());
        let told = ask_for(&secret, &mut settings).err().unwrap().to_string();
        assert!(told.contains("usrpwd") && !told.contains("ret-"), "{told}");
    }

    #[test]
    fn nothing_listens_unless_told() {
        let (_folder, zenoh_config) = file("{ metadata: { name: 'x' } }");
        for zenoh_config in [None, zenoh_config] {
            let settings = of(&MeshConfig { zenoh_config, ..MeshConfig::default() }, false).unwrap();
            assert_eq!(value(&settings, "listen/endpoints"), "[]");
            assert_eq!(value(&settings, "mode"), "\"peer\"");
            assert_eq!(value(&settings, "scouting/multicast/enabled"), "false");
        }
    }

    #[test]
    fn a_file_is_kept_and_flags_go_on_top() {
        let (_folder, zenoh_config) = file(
            "{ mode: 'client', listen: { endpoints: ['tls/127.0.0.1:1'] }, connect: { endpoints: ['tls/127.0.0.1:2'] },
               transport: { link: { tx: { lease: 5000 } } }, namespace: 'filed', scouting: { multicast: { enabled: true } } }",
        );
        let config = MeshConfig { zenoh_config, ..MeshConfig::default() };
        let settings = of(&config, false).unwrap();
        assert_eq!(value(&settings, "mode"), "\"client\"");
        assert_eq!(value(&settings, "listen/endpoints"), "[\"tls/127.0.0.1:1\"]");
        assert_eq!(value(&settings, "connect/endpoints"), "[\"tls/127.0.0.1:2\"]");
        assert_eq!(value(&settings, "transport/link/tx/lease"), "5000");
        assert_eq!(value(&settings, "scouting/multicast/enabled"), "true");
        assert_eq!(value(&settings, "namespace"), "\"filed\"");

        let flags = MeshConfig {
            listen: vec!["tcp/127.0.0.1:3".into()],
            connect: vec!["tcp/127.0.0.1:4".into()],
            cluster: "flagged".into(),
            ..config
        };
        let settings = of(&flags, true).unwrap();
        assert_eq!(value(&settings, "mode"), "\"router\"");
        assert_eq!(value(&settings, "listen/endpoints"), "[\"tcp/127.0.0.1:3\"]");
        assert_eq!(value(&settings, "connect/endpoints"), "[\"tcp/127.0.0.1:4\"]");
        assert_eq!(value(&settings, "namespace"), "\"flagged\"");
    }
}
