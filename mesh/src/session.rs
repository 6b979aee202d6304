//! The Zenoh session: what goes out on it and what comes in, as messages in frames.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use zenoh::key_expr::KeyExpr;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Publisher;
use zenoh::sample::Sample;
use zenoh::{Session, Wait as _};

use crate::config::{MeshConfig, MeshError};
use crate::frame::{self, Origin};
use crate::keys::Route;
use crate::outbox::{BOUNDS, Outbox, Send};
use crate::settings;

/// An open session with what goes out on it.
pub(crate) struct Link {
    pub(crate) session: Session,
    outbox: Outbox,
    /// This process's liveliness token: undeclared when the session closes, lost with its links.
    token: Mutex<Option<LivelinessToken>>,
}

impl Link {
    pub(crate) async fn open(config: &MeshConfig) -> Result<Self, MeshError> {
        let session = zenoh::open(settings::of(config, false)?).await.map_err(|source| MeshError::Open {
            listen: config.listen.join(", "),
            connect: config.connect.join(", "),
            source,
        })?;
        let sending = session.clone();
        let outbox = Outbox::new(config.node, BOUNDS, Arc::new(move |route| sender(&sending, route)));
        Ok(Self { session, outbox, token: Mutex::default() })
    }

    /// Queues a message.
    ///
    /// # Errors
    /// See [`Outbox::push`]: nothing is sent.
    pub(crate) fn send(&self, route: Route, message: impl Into<Bytes>) -> Result<(), MeshError> {
        self.outbox.push(route, message.into())
    }

    /// Hands every message on `key`, with the sender, to `receive`, which must not block, until the session closes.
    pub(crate) async fn receive(
        &self,
        key: impl Into<String>,
        receive: impl Fn(Origin, Bytes) + std::marker::Send + Sync + 'static,
    ) -> Result<(), MeshError> {
        let key = key.into();
        let unpack = move |sample: Sample| {
            let (origin, messages) = frame::unpack(sample.key_expr().as_str(), &sample.payload().to_bytes());
            for message in messages {
                receive(origin, message);
            }
        };
        let declared = self.session.declare_subscriber(key.clone()).callback(unpack).background().await;
        declared.map_err(|source| MeshError::Declare { key, source })
    }

    /// Shows this process alive under `key` for as long as the session is open.
    pub(crate) async fn show_alive(&self, key: String) -> Result<(), MeshError> {
        let token = self.session.liveliness().declare_token(key.clone()).await;
        *self.token.lock() = Some(token.map_err(|source| MeshError::Declare { key, source })?);
        Ok(())
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

/// What publishes the frames of one route.
pub(crate) fn sender(session: &Session, route: &Route) -> Send {
    let key = route.key();
    match publisher(session, route) {
        Ok(publisher) => Box::new(move |frame| {
            if let Err(error) = publisher.put(frame).wait() {
                tracing::warn!(%key, %error, "a frame was lost");
            }
        }),
        Err(error) => {
            tracing::warn!(%key, %error, "nothing can be published");
            Box::new(|_| ())
        }
    }
}

fn publisher(session: &Session, route: &Route) -> zenoh::Result<Publisher<'static>> {
    let quality = route.quality();
    session
        .declare_publisher(KeyExpr::try_from(route.key())?)
        .congestion_control(quality.congestion)
        .priority(quality.priority)
        .express(quality.express)
        .wait()
}
