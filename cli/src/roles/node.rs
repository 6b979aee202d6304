//! A host with its part of the grid, as `up` and `host` run it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use oprc_gateway::Sources;
use oprc_host::{Host, HostConfig};
use oprc_mesh::id::NodeId;
use oprc_mesh::{Mesh, MeshConfig};
use oprc_odgm::{Odgm, OdgmConfig};

use crate::failure::Failure;
use crate::roles::open_mesh;

/// The running parts.
pub(super) struct Node {
    odgm: Arc<Odgm>,
    mesh: Mesh,
    host: Host,
}

impl Node {
    /// Opens the data directory, joins the mesh under its node id, starts the grid and serves on the mesh. The host
    /// belongs to its cluster only once it is [`Self::ready`].
    pub(super) async fn start(
        config: OdgmConfig,
        mesh: MeshConfig,
        health: Option<SocketAddr>,
    ) -> Result<Self, Failure> {
        let data_dir = config.data_dir.clone();
        let failed = |error| Failure::role(format!("opening the grid in {}", data_dir.display()), error);
        let prepared = Odgm::prepare(config).await.map_err(failed)?;
        let mesh = open_mesh(MeshConfig { node: Some(prepared.node_id()), ..mesh }).await?;
        let odgm = prepared.start(Arc::new(mesh.clone())).await.map_err(failed)?;
        let config = HostConfig { data_dir: data_dir.clone(), health };
        // before the host shows itself, so that whoever sees it alive reaches its grid
        let receiving = mesh.receive_posts(odgm.receiver()).await;
        receiving.map_err(|error| Failure::role("joining the mesh", error))?;
        let host = Host::start(config, mesh.clone(), odgm.clone()).await;
        let host = host.map_err(|error| Failure::role("starting the host", error))?;
        Ok(Self { odgm, mesh, host })
    }

    /// Waits until this host belongs to its cluster.
    pub(super) async fn ready(&self) -> Result<(), Failure> {
        self.odgm.ready().await.map_err(|error| Failure::role("joining the cluster", error))
    }

    pub(super) fn id(&self) -> NodeId {
        self.odgm.node_id()
    }

    pub(super) fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// What the host and its grid tell Prometheus.
    pub(super) fn sources(&self) -> Sources {
        Sources(self.host.sources())
    }

    /// Waits until this host can serve no more, and gives the reason.
    pub(super) fn ended(&self) -> impl Future<Output = String> + use<> {
        let odgm = self.odgm.clone();
        async move {
            let mut poisoned = odgm.poisoned();
            tokio::select! {
                reason = poisoned.wait_for(Option::is_some) => match reason {
                    Ok(reason) => {
                        let reason = reason.clone().unwrap_or_default();
                        format!("storage failed and nothing more is served: {reason}")
                    }
                    Err(_) => std::future::pending().await,
                },
                () = odgm.removed() => "this host was removed from its cluster".to_owned(),
            }
        }
    }

    /// Hands over what the host leads, finishes the calls under way, then stops the host, then closes the grid.
    pub(super) async fn close(self) {
        self.host.drain().await;
        self.mesh.close().await;
        self.host.shutdown().await;
        self.odgm.shutdown().await;
    }
}
