//! The Zenoh session: what goes out on it and what comes in, as messages in frames.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::RwLock;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};
use zenoh::key_expr::KeyExpr;
use zenoh::pubsub::Publisher;
use zenoh::sample::Sample;
use zenoh::{Session, Wait as _};

use crate::config::{MeshConfig, MeshError};
use crate::frame::{self, Origin};
use crate::keys::Route;
use crate::outbox::{BOUNDS, Outbox, Send};
use crate::settings;

/// How long a session that is replaced may take to close.
const CLOSE: Duration = Duration::from_secs(2);
/// How long after a session could not be opened anew it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// An open session with what goes out on it.
///
/// The session can be [renewed](Self::renew), because of what Zenoh does when one side of a link loses it before the other:
/// the side that still has it takes the new link for a second one of the same peer, and says nothing on it of what it
/// declared. From then on next to nothing gets through, and neither side notices
/// (<https://github.com/eclipse-zenoh/zenoh/issues/2806>).
pub(crate) struct Link {
    config: MeshConfig,
    current: Arc<Current>,
    outbox: Outbox,
    declared: Mutex<Declared>,
}

/// The session of the moment.
pub(crate) struct Current(RwLock<(Generation, Session)>);

/// Counts the sessions of one link.
pub(crate) type Generation = u64;

/// What is declared on the session, and anew on each that takes its place.
#[derive(Default)]
struct Declared {
    closed: bool,
    /// In this order.
    makers: Vec<Box<Maker>>,
    /// What is undeclared when dropped.
    kept: Vec<Kept>,
}

/// What stays declared for as long as it is kept.
pub(crate) type Kept = Box<dyn Any + std::marker::Send>;
/// Declares something on a session.
pub(crate) type Maker =
    dyn Fn(Session) -> BoxFuture<'static, Result<Kept, MeshError>> + std::marker::Send + Sync;

impl Link {
    pub(crate) async fn open(config: &MeshConfig) -> Result<Self, MeshError> {
        let current = Arc::new(Current::new(settings::open(config, false).await?));
        let sending = current.clone();
        let outbox = Outbox::new(config.node, BOUNDS, Arc::new(move |route| sender(&sending, route)));
        Ok(Self { config: config.clone(), current, outbox, declared: Mutex::default() })
    }

    /// Queues a message.
    ///
    /// # Errors
    /// See [`Outbox::push`]: nothing is sent.
    pub(crate) fn send(&self, route: Route, message: impl Into<Bytes>) -> Result<(), MeshError> {
        self.outbox.push(route, message.into())
    }

    /// See [`Outbox::waiting`].
    pub(crate) fn waiting(&self) -> (usize, usize, u64) {
        self.outbox.waiting()
    }

    /// Declares something, now and on every session to come.
    pub(crate) async fn declare(&self, maker: Box<Maker>) -> Result<(), MeshError> {
        let mut declared = self.declared.lock().await;
        if declared.closed {
            return Err(MeshError::Closed);
        }
        let kept = maker(self.session()).await?;
        declared.kept.push(kept);
        declared.makers.push(maker);
        Ok(())
    }

    /// Hands every message on `key`, with the sender, to `receive`, which must not block, until the link closes.
    pub(crate) async fn receive(
        &self,
        key: impl Into<String>,
        receive: impl Fn(Origin, Bytes) + std::marker::Send + Sync + 'static,
    ) -> Result<(), MeshError> {
        let (key, receive) = (key.into(), Arc::new(receive));
        self.declare(Box::new(move |session| {
            let (key, receive) = (key.clone(), receive.clone());
            let unpack = move |sample: Sample| {
                let (origin, messages) =
                    frame::unpack(sample.key_expr().as_str(), &sample.payload().to_bytes());
                for message in messages {
                    receive(origin, message);
                }
            };
            Box::pin(async move {
                let subscriber = session.declare_subscriber(key.clone()).callback(unpack).await;
                Ok(Box::new(subscriber.map_err(|source| MeshError::Declare { key, source })?) as Kept)
            })
        }))
        .await
    }

    /// Shows this process alive under `key` for as long as the link is open.
    pub(crate) async fn show_alive(&self, key: String) -> Result<(), MeshError> {
        self.declare(Box::new(move |session| {
            let key = key.clone();
            Box::pin(async move {
                let token = session.liveliness().declare_token(key.clone()).await;
                Ok(Box::new(token.map_err(|source| MeshError::Declare { key, source })?) as Kept)
            })
        }))
        .await
    }

    pub(crate) fn session(&self) -> Session {
        self.current.get().1
    }

    pub(crate) fn generation(&self) -> Generation {
        self.current.get().0
    }

    /// Takes a new session in place of the one of `seen`, unless that has been done. All links are made anew; what is on
    /// its way on the old ones is lost. Ends when there is a new one, or the link is closed.
    pub(crate) async fn renew(&self, seen: Generation) {
        let mut declared = self.declared.lock().await;
        while !declared.closed && self.generation() == seen {
            declared.kept.clear();
            let old = self.session();
            // to its end, however long it takes: half closed, it would still call others
            let closing = tokio::spawn(async move { old.close().await });
            if timeout(CLOSE, closing).await.is_err() {
                tracing::warn!("a mesh session takes long to close");
            }
            match self.open_declared(&declared.makers).await {
                Ok((session, kept)) => {
                    declared.kept = kept;
                    tracing::info!(zid = %session.zid(), "the mesh session was renewed");
                    self.current.set(session);
                }
                Err(error) => {
                    tracing::error!(%error, "the mesh session could not be renewed and is tried again");
                    sleep(RETRY).await;
                }
            }
        }
    }

    async fn open_declared(&self, makers: &[Box<Maker>]) -> Result<(Session, Vec<Kept>), MeshError> {
        let session = settings::open(&self.config, false).await?;
        let mut kept = Vec::with_capacity(makers.len());
        for maker in makers {
            kept.push(maker(session.clone()).await?);
        }
        Ok((session, kept))
    }

    /// Sends what waits, takes back what was declared, and closes. The token is among the last: whoever sees it go fails
    /// what it waits for.
    pub(crate) async fn close(&self) {
        self.outbox.close().await;
        let mut declared = self.declared.lock().await;
        *declared = Declared { closed: true, ..Declared::default() };
        if let Err(error) = self.session().close().await {
            tracing::warn!(%error, "closing the mesh session failed");
        }
    }
}

impl Current {
    pub(crate) fn new(session: Session) -> Self {
        Self(RwLock::new((0, session)))
    }

    fn get(&self) -> (Generation, Session) {
        self.0.read().clone()
    }

    fn set(&self, session: Session) {
        let mut current = self.0.write();
        *current = (current.0 + 1, session);
    }
}

/// What publishes the frames of one route, on whatever session there is.
pub(crate) fn sender(current: &Arc<Current>, route: &Route) -> Send {
    let (current, route) = (current.clone(), route.clone());
    let mut open: Option<(Generation, Publisher<'static>)> = None;
    Box::new(move |frame| {
        let (generation, session) = current.get();
        let publisher = match open.take_if(|(of, _)| *of == generation) {
            Some((_, publisher)) => publisher,
            None => match publisher(&session, &route) {
                Ok(publisher) => publisher,
                Err(error) => return tracing::warn!(key = route.key(), %error, "a frame cannot be published"),
            },
        };
        match publisher.put(frame).wait() {
            Err(error) if session.is_closed() => {
                tracing::debug!(key = route.key(), %error, "a frame was lost between two sessions");
            }
            Err(error) => tracing::warn!(key = route.key(), %error, "a frame was lost"),
            Ok(()) => {}
        }
        open = Some((generation, publisher));
    })
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
