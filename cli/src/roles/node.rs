//! A host with its part of the grid, as `up` and `host` run it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use oprc_host::{Host, HostConfig};
use oprc_mesh::id::NodeId;
use oprc_mesh::{Mesh, MeshConfig};
use oprc_odgm::{Odgm, OdgmConfig};

use crate::args::StoreArgs;
use crate::failure::Failure;
use crate::roles::open_mesh;

/// The running parts.
pub(super) struct Node {
    odgm: Arc<Odgm>,
    mesh: Mesh,
    host: Host,
}

impl Node {
    /// Opens the grid, joins the mesh under the grid's node id, and serves on it.
    pub(super) async fn start(
        store: StoreArgs,
        mesh: MeshConfig,
        zone: String,
        health: Option<SocketAddr>,
    ) -> Result<Self, Failure> {
        let data_dir = store.data_dir;
        let block_cache_mib = store.block_cache_mib as usize;
        let config = OdgmConfig { zone, block_cache_mib, ..OdgmConfig::new(&data_dir) };
        let odgm = Odgm::open(config).await;
        let odgm = odgm
            .map_err(|error| Failure::role(format!("opening the grid in {}", data_dir.display()), error))?;
        let mesh = open_mesh(MeshConfig { node: Some(odgm.node_id()), ..mesh }).await?;
        let host = Host::start(HostConfig { data_dir, health }, mesh.clone(), odgm.clone()).await;
        let host = host.map_err(|error| Failure::role("starting the host", error))?;
        Ok(Self { odgm, mesh, host })
    }

    pub(super) fn id(&self) -> NodeId {
        self.odgm.node_id()
    }

    pub(super) fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// Waits until storage fails, and gives the reason.
    pub(super) fn poisoned(&self) -> impl Future<Output = String> + use<> {
        let mut poisoned = self.odgm.poisoned();
        async move {
            loop {
                if let Some(reason) = poisoned.borrow_and_update().clone() {
                    return reason;
                }
                if poisoned.changed().await.is_err() {
                    return std::future::pending().await;
                }
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
