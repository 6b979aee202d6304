//! The gateway's face: bind, serve, drain.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use oprc_mesh::{Answering, Mesh, MeshError};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::{Guard, JwtError};
use crate::app::App;
use crate::config::GatewayConfig;
use crate::connection::Connections;
use crate::mesh_api;
use crate::tls::{Tls, TlsError};

/// The pause after a failed accept: most often the process is out of file descriptors, and some will come free.
const ACCEPT_PAUSE_MS: u64 = 50;

/// A failure of the gateway itself, not of a request.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The address could not be listened on.
    #[error("listening on {listen}: {source}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Questions on the mesh cannot be taken.
    #[error(transparent)]
    Mesh(#[from] MeshError),
    /// TLS cannot be served.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// It cannot be told whose JWTs count.
    #[error(transparent)]
    Jwt(#[from] JwtError),
}

/// A gateway that listens; [`Gateway::run`] serves.
pub struct Gateway {
    listener: TcpListener,
    local_addr: SocketAddr,
    app: Arc<App>,
    tls: Option<Arc<Tls>>,
    answering: Answering,
}

impl Gateway {
    /// Begins to listen, and to answer what is asked on the mesh. Connections wait in the backlog until [`Gateway::run`].
    ///
    /// # Errors
    /// [`GatewayError`].
    pub async fn bind(config: GatewayConfig, mesh: Mesh) -> Result<Self, GatewayError> {
        let tls = config.tls.clone().map(Tls::load).transpose()?.map(Arc::new);
        let guard = Guard::new(config.access.clone())?;
        let listen = config.listen;
        let failed = |source| GatewayError::Listen { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let app = Arc::new(App::new(config, guard, mesh));
        let answering = mesh_api::serve(&app).await?;
        Ok(Self { listener, local_addr, app, tls, answering })
    }

    /// The address that it listens on, with the port that was taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `shutdown` is ready; then takes no more connections, lets the requests under way finish for
    /// [`GatewayConfig::drain_ms`] at the most, and cuts what is left.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) {
        let Self { listener, app, tls, answering, .. } = self;
        let tasks = TaskTracker::new();
        let cut = CancellationToken::new();
        if let Some(tls) = tls.clone() {
            tokio::spawn(
                app.stopping.clone().run_until_cancelled_owned(tls.follow(app.metrics.reloads.clone())),
            );
        }
        if let Some(following) = app.guard.follow() {
            tasks.spawn(app.stopping.clone().run_until_cancelled_owned(following));
        }
        let connections = Connections::new(app.clone(), tls, tasks.clone(), cut.clone());
        tokio::select! {
            () = shutdown => {}
            () = accept(&listener, &app, &tasks, connections) => {}
        }
        drop(listener);
        answering.stop();
        app.stopping.cancel();
        tasks.close();
        app.lingering.close();
        app.hubs.tasks.close();
        let drained = async {
            tasks.wait().await;
            answering.answered().await;
            app.lingering.wait().await;
            app.hubs.tasks.wait().await;
        };
        if timeout(Duration::from_millis(app.config.drain_ms), drained).await.is_err() {
            tracing::warn!(
                connections = tasks.len(),
                "requests were still under way at the end of the drain: cut"
            );
            cut.cancel();
            answering.cut();
            tasks.wait().await;
        }
    }
}

/// Accepts connections for ever, and serves no more at once than allowed. One that comes when there are as many makes the
/// one go that has idled for the longest; when none idles it waits, and others behind it in the backlog.
async fn accept(listener: &TcpListener, app: &App, tasks: &TaskTracker, connections: Connections) {
    let permits = Arc::new(Semaphore::new(app.config.connections_max.min(Semaphore::MAX_PERMITS)));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let Some(permit) = permit(&permits, &app.crowded).await else { return }; // never closed
                tasks.spawn(serve(connections.clone(), stream, permit));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            }
        }
    }
}

async fn permit(permits: &Arc<Semaphore>, crowded: &Notify) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = permits.clone().try_acquire_owned() {
        return Some(permit);
    }
    crowded.notify_one();
    let permit = permits.clone().acquire_owned().await.ok();
    // when somebody went by itself nobody else need go
    pin!(crowded.notified()).enable();
    permit
}

async fn serve(connections: Connections, stream: TcpStream, permit: OwnedSemaphorePermit) {
    connections.serve(stream).await;
    drop(permit);
}
