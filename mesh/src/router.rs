//! A process that is on the mesh only to pass on what others cannot deliver to each other.

use zenoh::Session;

use crate::config::{MeshConfig, MeshError};
use crate::relay::Relay;
use crate::settings;

/// A router: hosts and gateways that reach it reach each other. It carries every cluster's messages, each to its own.
pub struct Router {
    session: Session,
    relay: Relay,
}

impl Router {
    /// Listens, and joins what `config` names. Its `node` and `cluster` do not matter.
    ///
    /// # Errors
    /// [`MeshError::Setting`] or [`MeshError::Open`].
    pub async fn open(config: &MeshConfig) -> Result<Self, MeshError> {
        let session = settings::open(config, true).await?;
        let relay = Relay::start(&session).await?;
        Ok(Self { session, relay })
    }

    /// Ends every link.
    pub async fn close(self) {
        self.relay.close().await;
        if let Err(error) = self.session.close().await {
            tracing::warn!(%error, "closing the router's session failed");
        }
    }
}
