//! Where a process would let in whoever comes.

use serde_json::Value;

use crate::config::{MeshConfig, MeshError};
use crate::settings;

/// An endpoint on which links are taken from anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenEndpoint {
    /// As it was given.
    pub endpoint: String,
    /// Only this machine reaches it.
    pub local: bool,
}

impl MeshConfig {
    /// The endpoints that a process so configured would listen on without asking who comes: there is no mesh secret, and
    /// the Zenoh configuration neither asks for a password nor denies by default, nor is it an endpoint with mutual TLS.
    ///
    /// # Errors
    /// [`MeshError::Setting`].
    pub fn open_endpoints(&self) -> Result<Vec<OpenEndpoint>, MeshError> {
        if self.secret.is_some() {
            return Ok(Vec::new());
        }
        let settings = settings::of(self, false)?;
        let value = |key: &str| -> Value {
            settings.get_json(key).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
        };
        let asks = !value("transport/auth/usrpwd/dictionary_file").is_null();
        let denies =
            value("access_control/enabled") == true && value("access_control/default_permission") == "deny";
        if asks || denies {
            return Ok(Vec::new());
        }
        let mutual = value("transport/link/tls/enable_mtls") == true;
        let listened = texts(&value("listen/endpoints"));
        let open = listened.into_iter().filter(|endpoint| !(mutual && endpoint.starts_with("tls/")));
        Ok(open.map(|endpoint| OpenEndpoint { local: is_local(&endpoint), endpoint }).collect())
    }
}

/// The texts in a list, or in lists by Zenoh's modes.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(modes) => modes.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// Whether an endpoint, such as `tcp/127.0.0.1:7447?metadata#settings`, is of this machine alone.
fn is_local(endpoint: &str) -> bool {
    let address = endpoint.split_once('/').map_or(endpoint, |(_, address)| address);
    let address = address.split(['?', '#']).next().unwrap_or_default();
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::MeshSecret;

    fn open(listen: &[&str], file: Option<&str>) -> Vec<(String, bool)> {
        let folder = tempfile::tempdir().unwrap();
        let zenoh_config = file.map(|text| {
            let path = folder.path().join("zenoh.json5");
            std::fs::write(&path, text).unwrap();
            path
        });
        let listen = listen.iter().map(|&endpoint| endpoint.to_owned()).collect();
        let config = MeshConfig { listen, zenoh_config, ..MeshConfig::default() };
        let open = config.open_endpoints().unwrap();
        open.into_iter().map(|open| (open.endpoint, open.local)).collect()
    }

    #[test]
    fn only_this_machine_is_local() {
        for local in ["tcp/127.0.0.1:7447", "tcp/localhost:1", "tls/[::1]:7447", "tcp/127.1.2.3:1?a=1#b=2"] {
            assert_eq!(open(&[local], None), [(local.to_owned(), true)]);
        }
        for public in ["tcp/0.0.0.0:7447", "tcp/[::]:7447", "tcp/10.0.0.1:1", "tls/example.com:1#iface=lo"] {
            assert_eq!(open(&[public], None), [(public.to_owned(), false)]);
        }
        assert!(open(&[], None).is_empty());
    }

    #[test]
    fn a_file_opens_and_protects() {
        let public = "tcp/0.0.0.0:1";
        let listens = "{ listen: { endpoints: { peer: ['tcp/0.0.0.0:1'], router: [] } } }";
        assert_eq!(open(&[], Some(listens)), [(public.to_owned(), false)]);
        for protects in [
            "{ transport: { auth: { usrpwd: { dictionary_file: '/x' } } } }",
            "{ access_control: { enabled: true, default_permission: 'deny', rules: [], subjects: [], policies: [] } }",
        ] {
            assert!(open(&[public], Some(protects)).is_empty(), "{protects}");
        }
        let mutual = "{ transport: { link: { tls: { enable_mtls: true } } } }";
        assert_eq!(open(&[public, "tls/0.0.0.0:2"], Some(mutual)), [(public.to_owned(), false)]);
        assert_eq!(open(&["tls/0.0.0.0:2"], Some("{}")).len(), 1);
    }

    #[test]
    fn a_secret_closes_all() {
        let secret = Some(MeshSecret::parse(&"s".repeat(32)).unwrap());
        let config = MeshConfig { listen: vec!["tcp/0.0.0.0:1".into()], secret, ..MeshConfig::default() };
        assert!(config.open_endpoints().unwrap().is_empty());
    }
}
