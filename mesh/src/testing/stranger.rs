//! A Zenoh client that is no part of oprc, as other people's programs on the mesh are.

use bytes::Bytes;
use tokio::sync::mpsc;
use zenoh::Session;
use zenoh::sample::Sample;

use crate::config::MeshError;

/// Listens on one key expression.
pub struct Stranger {
    session: Session,
    heard: mpsc::UnboundedReceiver<(String, Bytes)>,
}

impl Stranger {
    /// Connects to `endpoint` and listens on `key`.
    ///
    /// # Errors
    /// [`MeshError`], as a host's.
    pub async fn listen(endpoint: &str, key: &str) -> Result<Self, MeshError> {
        let mut config = zenoh::Config::default();
        for (setting, value) in [
            ("mode", "\"peer\"".to_owned()),
            ("connect/endpoints", format!("[\"{endpoint}\"]")),
            ("listen/endpoints", "[]".to_owned()),
            ("scouting/multicast/enabled", "false".to_owned()),
        ] {
            let set = config.insert_json5(setting, &value);
            set.map_err(|source| MeshError::Setting { key: setting.into(), source })?;
        }
        let session = zenoh::open(config).await.map_err(|source| MeshError::Open {
            listen: String::new(),
            connect: endpoint.to_owned(),
            source,
        })?;
        let (sender, heard) = mpsc::unbounded_channel();
        let hear = move |sample: Sample| {
            let payload = Bytes::copy_from_slice(&sample.payload().to_bytes());
            let _ = sender.send((sample.key_expr().as_str().to_owned(), payload)); // nobody may care any more
        };
        let declared = session.declare_subscriber(key.to_owned()).callback(hear).background().await;
        declared.map_err(|source| MeshError::Declare { key: key.to_owned(), source })?;
        Ok(Self { session, heard })
    }

    /// The next publication: its key and its payload. None once the session is closed.
    pub async fn next(&mut self) -> Option<(String, Bytes)> {
        self.heard.recv().await
    }

    /// Leaves the mesh.
    pub async fn leave(self) {
        // a session that is broken is left as well
        let _ = self.session.close().await;
    }
}
