//! The Zenoh session and the key expressions of the mesh, in one place.
//!
//! | key expression | what travels |
//! | --- | --- |
//! | `oprc/n/<node>/call` | requests to a node |
//! | `oprc/n/<node>/cancel` | word that a caller waits no more |
//! | `oprc/r/<inbox>` | replies to a process |
//! | `oprc/n/<node>/alive` | liveliness token of a node |
//! | `oprc/g/<group>` | a leader's announcement of a group |
//! | `oprc/n/<node>/catalog` | a node knows a new catalog revision |
//!
//! With a cluster name they all stand below it, so that two clusters on one network do not mix.

use std::fmt::Write as _;

use parking_lot::Mutex;
use zenoh::Session;
use zenoh::liveliness::LivelinessToken;
use zenoh::sample::Sample;

use crate::config::{MeshConfig, MeshError};
use crate::id::NodeId;
use crate::outbox::Outbox;

/// Milliseconds until a silent link counts as lost. A hint for failing calls early, never for safety.
const LINK_LEASE_MS: u64 = 2_000;

pub(crate) const ALIVE: &str = "oprc/n/*/alive";
pub(crate) const CATALOGS: &str = "oprc/n/*/catalog";
pub(crate) const GROUPS: &str = "oprc/g/*";

pub(crate) fn call_key(node: NodeId) -> String {
    format!("oprc/n/{node}/call")
}

pub(crate) fn cancel_key(node: NodeId) -> String {
    format!("oprc/n/{node}/cancel")
}

pub(crate) fn reply_key(inbox: &str) -> String {
    format!("oprc/r/{inbox}")
}

pub(crate) fn alive_key(node: NodeId) -> String {
    format!("oprc/n/{node}/alive")
}

pub(crate) fn catalog_key(node: NodeId) -> String {
    format!("oprc/n/{node}/catalog")
}

pub(crate) fn group_key(group: u64) -> String {
    format!("oprc/g/{group}")
}

/// The node in `oprc/n/<node>/...`; none for any other key.
pub(crate) fn node_of(key: &str) -> Option<NodeId> {
    let node = key.strip_prefix("oprc/n/")?.split('/').next()?;
    u64::from_str_radix(node, 16).ok().map(NodeId)
}

/// An open session with what goes out on it.
pub(crate) struct Link {
    pub(crate) session: Session,
    outbox: Outbox,
    /// This process's liveliness token: undeclared when the session closes, lost with its links.
    token: Mutex<Option<LivelinessToken>>,
}

impl Link {
    pub(crate) async fn open(config: &MeshConfig) -> Result<Self, MeshError> {
        let session = zenoh::open(zenoh_config(config)?).await.map_err(|source| MeshError::Open {
            listen: config.listen.join(", "),
            connect: config.connect.join(", "),
            source,
        })?;
        Ok(Self { outbox: Outbox::new(session.clone()), session, token: Mutex::default() })
    }

    /// Queues a message for one peer.
    ///
    /// # Errors
    /// [`MeshError::Congested`]: nothing is sent.
    pub(crate) fn send(&self, peer: &str, key: String, payload: Vec<u8>) -> Result<(), MeshError> {
        self.outbox.publish(peer, key, payload)
    }

    /// Queues a message for whoever listens.
    ///
    /// # Errors
    /// [`MeshError::Congested`]: nothing is sent.
    pub(crate) fn announce(&self, key: String, payload: Vec<u8>) -> Result<(), MeshError> {
        self.outbox.publish("announcements", key, payload)
    }

    /// Hands every sample on `key` to `receive`, which must not block, until the session closes.
    pub(crate) async fn subscribe(
        &self,
        key: impl Into<String>,
        receive: impl Fn(Sample) + Send + Sync + 'static,
    ) -> Result<(), MeshError> {
        let key = key.into();
        let declared = self.session.declare_subscriber(key.clone()).callback(receive).background().await;
        declared.map_err(|source| MeshError::Declare { key, source })
    }

    /// Keeps the token that shows this process alive for as long as the session is open.
    pub(crate) fn keep_alive(&self, token: LivelinessToken) {
        *self.token.lock() = Some(token);
    }

    /// Sends what waits, takes the token back, and closes. The token goes last: whoever sees it go fails what it waits for.
    pub(crate) async fn close(&self) {
        self.outbox.close().await;
        self.token.lock().take();
        if let Err(error) = self.session.close().await {
            tracing::warn!(%error, "closing the mesh session failed");
        }
    }
}

/// Peer mode, no multicast scouting, explicit endpoints, gossip on; a given file is the base and flags go on top.
fn zenoh_config(config: &MeshConfig) -> Result<zenoh::Config, MeshError> {
    let mut zenoh = match &config.zenoh_config {
        Some(path) => zenoh::Config::from_file(path)
            .map_err(|source| MeshError::Setting { key: path.display().to_string(), source })?,
        None => zenoh::Config::default(),
    };
    let mut set = |key: &str, value: String| {
        zenoh
            .insert_json5(key, &value)
            .map_err(|source| MeshError::Setting { key: format!("{key} = {value}"), source })
    };
    set("mode", "\"peer\"".into())?;
    set("scouting/multicast/enabled", "false".into())?;
    set("transport/link/tx/lease", LINK_LEASE_MS.to_string())?;
    if config.zenoh_config.is_none() || !config.listen.is_empty() {
        set("listen/endpoints", json_list(&config.listen))?;
    }
    if config.zenoh_config.is_none() || !config.connect.is_empty() {
        set("connect/endpoints", json_list(&config.connect))?;
    }
    if !config.cluster.is_empty() {
        set("namespace", format!("{:?}", config.cluster))?;
    }
    Ok(zenoh)
}

fn json_list(endpoints: &[String]) -> String {
    let mut list = String::from("[");
    for endpoint in endpoints {
        let _ = write!(list, "{endpoint:?},"); // writing to a String cannot fail
    }
    list.push(']');
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_found_in_its_keys() {
        let node = NodeId(0xab);
        for key in [call_key(node), alive_key(node), catalog_key(node)] {
            assert_eq!(node_of(&key), Some(node));
        }
        assert_eq!(node_of("oprc/g/1"), None);
    }

    #[test]
    fn a_setting_that_zenoh_refuses_is_named() {
        let config = MeshConfig { listen: vec!["nonsense".into()], ..MeshConfig::default() };
        let error = zenoh_config(&config).unwrap_err().to_string();
        assert!(error.contains("listen/endpoints") && error.contains("nonsense"), "{error}");
    }
}
