//! The host's own port: `/healthz` says that the process is up, `/readyz` that it serves.

use std::net::SocketAddr;
use std::sync::Arc;

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
    stop: CancellationToken,
) -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let listener = TcpListener::bind(address).await?;
    let routes =
        Router::new().route("/healthz", get(async || "ok\n")).route("/readyz", get(ready)).with_state(odgm);
    Ok(async move {
        let served = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the health port failed");
        }
    })
}

async fn ready(State(odgm): State<Arc<Odgm>>) -> (StatusCode, String) {
    match &*odgm.poisoned().borrow() {
        None if !odgm.is_ready() => {
            (StatusCode::SERVICE_UNAVAILABLE, "not serving: it does not belong to a cluster yet\n".to_owned())
        }
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not serving: {reason}\n")),
    }
}
