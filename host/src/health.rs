//! The host's own port: `/healthz` says that the process is up, `/readyz` that it serves and is not about to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use oprc_odgm::Odgm;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Opens the port and gives the task that serves it until `stop`.
pub(crate) async fn serve(
    address: SocketAddr,
    odgm: Arc<Odgm>,
    draining: Arc<AtomicBool>,
    stop: CancellationToken,
) -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let listener = TcpListener::bind(address).await?;
    let routes = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state((odgm, draining));
    Ok(async move {
        let served = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the health port failed");
        }
    })
}

async fn ready(State((odgm, draining)): State<(Arc<Odgm>, Arc<AtomicBool>)>) -> (StatusCode, String) {
    if let Some(reason) = &*odgm.poisoned().borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("not serving: {reason}\n"));
    }
    if !odgm.is_ready() {
        let waiting = "not serving: it does not belong to a cluster yet\n";
        return (StatusCode::SERVICE_UNAVAILABLE, waiting.to_owned());
    }
    if draining.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
    }
    (StatusCode::OK, "ready\n".to_owned())
}
