//! What a router does for processes that reach it and not each other. Zenoh's peers pass nothing on, and its routers pass on
//! for clients and other routers only; so the router shows whom it reaches, takes what is sent to it for one of those, and
//! sends it on. It reads no message and keeps the order of each sender's.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use tokio::sync::mpsc;
use zenoh::Session;
use zenoh::liveliness::LivelinessToken;
use zenoh::sample::{Sample, SampleKind};

use crate::config::MeshError;
use crate::frame;
use crate::keys::{
    Onward, Route, RouterId, alive_by_router, announcement_of, inbox_of, node_of, onward_of, space_of,
};
use crate::outbox::{BOUNDS, Outbox};
use crate::session::{Current, sender};

/// The tokens of every cluster's hosts ...
const TOKENS: &str = "**/oprc/n/*/alive/*";
/// ... and what they announce.
const ANNOUNCEMENTS: [&str; 2] = ["**/oprc/n/*/leads", "**/oprc/n/*/catalog"];

/// See the module.
pub(crate) struct Relay {
    outbox: Arc<Outbox>,
    showing: tokio::task::JoinHandle<()>,
}

impl Relay {
    pub(crate) async fn start(session: &Session) -> Result<Self, MeshError> {
        let router = RouterId(uuid::Uuid::new_v4().as_u64_pair().0.max(1));
        let sending = Arc::new(Current::new(session.clone()));
        let outbox = Arc::new(Outbox::new(None, BOUNDS, Arc::new(move |route| sender(&sending, route))));
        let way_on = move |key: &str| onward_of(key);
        pass_on(session, format!("**/oprc/v/{router}/f/**"), router, outbox.clone(), way_on).await?;
        for key in ANNOUNCEMENTS {
            let echo = move |key: &str| Some(Route::Echo(router, Box::new(announcement_of(key)?)));
            pass_on(session, key.to_owned(), router, outbox.clone(), echo).await?;
        }
        // last, so that whoever is told of a way finds it open
        let showing = show(session, router).await?;
        Ok(Self { outbox, showing })
    }

    pub(crate) async fn close(self) {
        self.outbox.close().await;
        self.showing.abort();
    }
}

/// Sends on what comes under `keys`, to where `onward` says for each key.
async fn pass_on(
    session: &Session,
    keys: String,
    router: RouterId,
    outbox: Arc<Outbox>,
    onward: impl Fn(&str) -> Option<Route> + Send + Sync + 'static,
) -> Result<(), MeshError> {
    let receive = move |sample: Sample| {
        let Some((space, key)) = space_of(sample.key_expr().as_str()) else { return };
        let Some(to) = onward(key) else { return tracing::debug!(key, "dropped what leads nowhere") };
        let (origin, messages) = frame::unpack(key, &sample.payload().to_bytes());
        let onward = Onward { from: origin.from, router, space: space.to_owned(), to };
        let route = Route::Onward(Box::new(onward));
        for message in messages {
            // lost, as on a link that breaks: whoever sent it notices
            if let Err(error) = outbox.push(route.clone(), message) {
                tracing::debug!(%error, "dropped a message on its way");
            }
        }
    };
    let declared = session.declare_subscriber(keys.clone()).callback(receive).background().await;
    declared.map_err(|source| MeshError::Declare { key: keys, source })
}

/// Shows every process that is seen here as one that this router reaches.
async fn show(session: &Session, router: RouterId) -> Result<tokio::task::JoinHandle<()>, MeshError> {
    // as many as there are processes: declaring a token takes no longer than a new one takes to come
    let (seen, changes) = mpsc::unbounded_channel();
    let receive = move |sample: Sample| {
        let Some((space, key)) = space_of(sample.key_expr().as_str()) else { return };
        let (Some(node), Some(inbox)) = (node_of(key), inbox_of(key)) else { return };
        let shown = format!("{space}{}", alive_by_router(router, node, inbox));
        let _ = seen.send((shown, sample.kind() == SampleKind::Put)); // closed only at the end
    };
    let tokens = session.liveliness().declare_subscriber(TOKENS).history(true).callback(receive);
    let declared = tokens.background().await;
    declared.map_err(|source| MeshError::Declare { key: TOKENS.into(), source })?;
    Ok(tokio::spawn(keep_tokens(session.clone(), changes)))
}

async fn keep_tokens(session: Session, mut changes: mpsc::UnboundedReceiver<(String, bool)>) {
    let mut tokens: HashMap<String, LivelinessToken> = HashMap::new();
    while let Some((key, there)) = changes.recv().await {
        if !there {
            tokens.remove(&key); // dropped, it is taken back
        } else if let Entry::Vacant(entry) = tokens.entry(key) {
            match session.liveliness().declare_token(entry.key().clone()).await {
                Ok(token) => drop(entry.insert(token)),
                Err(error) => tracing::warn!(key = entry.key(), %error, "a host cannot be shown"),
            }
        }
    }
}
