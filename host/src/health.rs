//! The host's own port: `/healthz` says that the process is up, `/readyz` that it serves and is not about to stop, and
//! `/metrics` what it does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use oprc_mesh::access::{Action, Scopes, Token, bearer};
use oprc_mesh::catalog::CatalogView;
use oprc_mesh::clock::now_ms;
use oprc_mesh::metrics::{CONTENT_TYPE as OPENMETRICS, Page};
use oprc_odgm::Odgm;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What the port shows.
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    pub(crate) odgm: Arc<Odgm>,
    /// Set once the host drains.
    pub(crate) draining: Arc<AtomicBool>,
    pub(crate) page: Page,
}

/// Opens the port and gives the task that serves it until `stop`.
pub(crate) async fn serve(
    port: Port,
    stop: CancellationToken,
) -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let listener = TcpListener::bind(port.address).await?;
    let routes = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(port));
    Ok(async move {
        let served = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the health port failed");
        }
    })
}

async fn ready(State(port): State<Arc<Port>>) -> (StatusCode, String) {
    if let Some(reason) = &*port.odgm.poisoned().borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("not serving: {reason}\n"));
    }
    if !port.odgm.is_ready() {
        let waiting = "not serving: it does not belong to a cluster yet\n";
        return (StatusCode::SERVICE_UNAVAILABLE, waiting.to_owned());
    }
    if port.draining.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
    }
    (StatusCode::OK, "ready\n".to_owned())
}

async fn metrics(State(port): State<Arc<Port>>, headers: HeaderMap) -> Response {
    let view = port.odgm.catalog().view();
    if is_closed(port.address, &view) && !may_read(&headers, &view, now_ms()) {
        let told = "read metrics: send a key with scope read as `Authorization: Bearer oprc_...`\n";
        return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], told).into_response();
    }
    match port.page.text().await {
        Ok(text) => ([(CONTENT_TYPE, OPENMETRICS)], text.to_string()).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be told");
            (StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be told; see the log\n").into_response()
        }
    }
}

/// Whether a key is asked for. The names of classes are told here, and a host knows nothing of whether gateways ask for
/// keys; but where nobody made any, and nobody from outside can ask, there is nothing to keep from anybody.
fn is_closed(address: SocketAddr, view: &CatalogView) -> bool {
    !address.ip().is_loopback() || !view.keys.is_empty()
}

/// Whether the request shows a key of the catalog that may read everything.
fn may_read(headers: &HeaderMap, view: &CatalogView, now_ms: u64) -> bool {
    let shown = bearer(headers.get_all(AUTHORIZATION).iter().map(|value| value.to_str().ok()));
    let Some(token) = shown.ok().flatten().and_then(Token::parse) else { return false };
    let hash = token.hash();
    let mut keys = view.keys.iter().filter(|key| key.counts(&hash, now_ms));
    keys.any(|key| Scopes::among(key.scopes.iter().map(String::as_str)).allow(Action::Read, None))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use oprc_mesh::access::{ApiKey, TokenHash};

    fn token(id: u64) -> Token {
        Token::new(id, [id as u8; 32])
    }

    fn key(id: u64, scope: &str, expires_at_ms: u64) -> ApiKey {
        let tokens = vec![token(id).hash()];
        ApiKey {
            name: format!("k{id}"),
            scopes: vec![scope.into()],
            tokens,
            expires_at_ms,
            ..ApiKey::default()
        }
    }

    fn shown(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn it_is_open_only_where_nobody_from_outside_asks_and_there_are_no_keys() {
        let keyed = CatalogView { keys: vec![key(1, "read", 0)], ..CatalogView::default() };
        let closed = |address: &str, view: &CatalogView| is_closed(address.parse().unwrap(), view);
        assert!(
            !closed("127.0.0.1:1", &CatalogView::default()) && !closed("[::1]:1", &CatalogView::default())
        );
        for public in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1"] {
            assert!(closed(public, &CatalogView::default()), "{public}");
        }
        assert!(closed("127.0.0.1:1", &keyed));
    }

    #[test]
    fn only_a_key_that_counts_and_may_read_everything_is_enough() {
        let mut until = key(6, "read", 0);
        let hash = TokenHash { until_ms: 50, ..token(6).hash() };
        until.tokens = vec![hash];
        let keys =
            vec![key(1, "read", 0), key(2, "admin", 200), key(3, "read:A*", 0), key(4, "invoke", 0), until];
        let view = CatalogView { keys, ..CatalogView::default() };
        let may = |id, now_ms| may_read(&shown(&format!("Bearer {}", token(id).reveal())), &view, now_ms);
        assert!(may(1, 100) && may(2, 199));
        for id in [3, 4, 5, 6] {
            assert!(!may(id, 100), "{id}");
        }
        assert!(!may(2, 200), "it has expired");
        let one = token(1);
        let right = one.reveal();
        for wrong in
            [format!("Basic {right}"), right.to_owned(), "Bearer".to_owned(), format!("Bearer {right}x")]
        {
            assert!(!may_read(&shown(&wrong), &view, 100), "{wrong}");
        }
        let mut twice = shown(&format!("Bearer {right}"));
        twice.append(AUTHORIZATION, format!("Bearer {right}").parse().unwrap());
        assert!(!may_read(&twice, &view, 100) && !may_read(&HeaderMap::new(), &view, 100));
    }
}
