//! A running host: the runtime beside its part of the grid, served on the mesh.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use oprc_mesh::metrics::{Page, Source};
use oprc_mesh::{Mesh, MeshError};
use oprc_odgm::Odgm;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::classes::Classes;
use crate::deploy::Deployer;
use crate::events::{Events, publish};
use crate::health::{self, Port};
use crate::messages;
use crate::serve::Server;
use crate::supply::Supply;
use crate::sweep;
use crate::told::HostSource;
use crate::turn::Turns;
use crate::warm;
use crate::wasm::{Runtime, RuntimeConfig};

/// What a host needs to know.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// Where components and compiled code are kept: the same directory as the grid's.
    pub data_dir: PathBuf,
    /// The address of the host's own health port; none for no such port.
    pub health: Option<SocketAddr>,
}

/// Why a host does not start.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The WebAssembly runtime cannot be set up.
    #[error("starting the WebAssembly runtime: {0}")]
    Runtime(String),
    /// The mesh refuses it.
    #[error("serving on the mesh: {0}")]
    Mesh(#[from] MeshError),
    /// The health port cannot be opened.
    #[error("opening the health port {address}: {source}")]
    Health {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
}

/// A host that serves. Whoever started it stops it with [`Host::shutdown`].
pub struct Host {
    odgm: Arc<Odgm>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Set once it drains.
    draining: Arc<AtomicBool>,
    /// Cancelled once it drains: nobody waits for events any more.
    ending: CancellationToken,
    sources: Vec<Arc<dyn Source>>,
}

impl Host {
    /// Starts to serve `odgm`'s partitions and to run functions on `mesh`.
    ///
    /// # Errors
    /// [`HostError`], naming what failed.
    pub async fn start(config: HostConfig, mesh: Mesh, odgm: Arc<Odgm>) -> Result<Self, HostError> {
        let runtime = Runtime::new(&RuntimeConfig::new(config.data_dir))
            .map_err(|error| HostError::Runtime(error.to_string()))?;
        let (tasks, stop, draining) = (TaskTracker::new(), CancellationToken::new(), Arc::default());
        let ending = CancellationToken::new();
        let sources = vec![odgm.clone() as Arc<dyn Source>];
        let mut host = Self { odgm: odgm.clone(), tasks, stop, draining, ending, sources };
        let components = runtime.components().clone();
        let peers = Arc::new(mesh.clone());
        let (tasks, stop) = (host.tasks.clone(), host.stop.clone());
        let supply = Supply::new(odgm.node_id(), peers.clone(), components, tasks, stop);
        let classes = Arc::new(Classes::new(odgm.clone(), runtime.clone(), supply.clone()));
        let turns = Arc::new(Turns::new(odgm.clone(), mesh.clone(), classes.clone(), host.tasks.clone()));
        let (draining, told) = (host.draining.clone(), turns.clone());
        host.sources.push(Arc::new(HostSource { turns: told, runtime: runtime.clone(), draining }));
        let deployer = Deployer { odgm: odgm.clone(), peers, runtime: runtime.clone(), supply };
        let draining = host.draining.clone();
        let ending = host.ending.clone();
        let metrics = turns.metrics().clone();
        let events = Events { odgm: odgm.clone(), classes: classes.clone(), ending, metrics };
        let executor = messages::run(odgm.clone(), turns.clone(), host.stop.clone());
        host.tasks.spawn(executor);
        let server = Server { odgm: odgm.clone(), deployer, turns, events, draining };
        if let Some(address) = config.health {
            let draining = host.draining.clone();
            let page = Page::new(host.sources().into_iter().chain([Arc::new(mesh.clone()) as _]));
            let port = Port { address, odgm: odgm.clone(), draining, page };
            let health = health::serve(port, host.stop.clone()).await;
            host.tasks.spawn(health.map_err(|source| HostError::Health { address, source })?);
        }
        mesh.serve(Arc::new(server)).await?;
        host.spawn(publish(mesh.event_publisher().await?, odgm.clone()));
        host.spawn(warm::follow(odgm.clone(), classes));
        host.spawn(sweep::follow(odgm.clone(), runtime));
        host.spawn(announce_catalog(mesh.clone(), odgm.clone()));
        host.spawn(announce_leaders(mesh, odgm));
        Ok(host)
    }

    /// What this host and its grid tell Prometheus.
    pub fn sources(&self) -> Vec<Arc<dyn Source>> {
        self.sources.clone()
    }

    /// Hands over what this host leads, while it still serves: calls that come meanwhile are sent on to the new leaders.
    /// From now on it says that it is not ready. Takes 5 s at the most.
    pub async fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.ending.cancel();
        if self.odgm.poisoned().borrow().is_some() {
            return; // nothing can be decided here any more; the others find out
        }
        let left = self.odgm.drain().await;
        if left > 0 {
            tracing::warn!(groups = left, "no other host took over: they wait for an election");
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(task));
    }

    /// Stops announcing. Calls under way are the mesh's to drain, before this; the runtime's own thread ends with them.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn announce_catalog(mesh: Mesh, odgm: Arc<Odgm>) {
    let mut views = odgm.catalog().watch();
    loop {
        let view = views.borrow_and_update().clone();
        mesh.announce_catalog(view);
        if views.changed().await.is_err() {
            return;
        }
    }
}

/// Announces each leadership when it is won. One that is lost is announced by its new leader.
async fn announce_leaders(mesh: Mesh, odgm: Arc<Odgm>) {
    let mut leadership = odgm.leadership();
    let mut announced = Vec::new();
    loop {
        let leads = leadership.borrow_and_update().clone();
        for lead in leads.iter().filter(|lead| !announced.contains(*lead)) {
            mesh.announce_leader(*lead);
        }
        announced = leads;
        if leadership.changed().await.is_err() {
            return;
        }
    }
}
