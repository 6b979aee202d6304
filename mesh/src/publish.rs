//! Events for whoever listens on the mesh itself: `oprc/events/<class>/<id>`, one publication an event, a document in JSON
//! ([`crate::events`]). They are for clients that speak Zenoh; what they miss, nobody sends again. Gateways read the log
//! of events instead ([`crate::wire::ReadEvents`]).

use std::sync::Arc;

use tokio::sync::watch;
use zenoh::matching::MatchingStatus;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::{Session, Wait as _};

use crate::config::MeshError;
use crate::mesh::Mesh;
use crate::session::Kept;

const EVENTS: &str = "oprc/events";

/// Publishes events while somebody listens.
pub struct EventPublisher {
    mesh: Mesh,
    listened: Arc<watch::Sender<bool>>,
}

impl Mesh {
    /// What publishes events. In a process that is alone nobody ever listens.
    ///
    /// # Errors
    /// [`MeshError::Declare`].
    pub async fn event_publisher(&self) -> Result<EventPublisher, MeshError> {
        let listened = Arc::new(watch::Sender::new(false));
        if let Some(link) = self.link() {
            let told = listened.clone();
            link.declare(Box::new(move |session| Box::pin(probe(session, told.clone())))).await?;
        }
        Ok(EventPublisher { mesh: self.clone(), listened })
    }
}

/// A publisher that never publishes: it asks whether anybody listens, and tells `listened`.
async fn probe(session: Session, listened: Arc<watch::Sender<bool>>) -> Result<Kept, MeshError> {
    let key = format!("{EVENTS}/**");
    let failed = |source| MeshError::Declare { key: key.clone(), source };
    let probe = session.declare_publisher(key.clone()).await.map_err(failed)?;
    let note = move |matching: bool| {
        listened.send_if_modified(|listened| std::mem::replace(listened, matching) != matching);
    };
    note(false);
    let changed = note.clone();
    let changed = move |status: MatchingStatus| changed(status.matching());
    probe.matching_listener().callback(changed).background().await.map_err(failed)?;
    if probe.matching_status().await.map_err(failed)?.matching() {
        note(true);
    }
    Ok(Box::new(probe))
}

impl EventPublisher {
    /// Whether anybody listens, and when that changes.
    pub fn listened(&self) -> watch::Receiver<bool> {
        self.listened.subscribe()
    }

    /// Publishes an event of an object. Does not wait: when a link is congested, the event is dropped.
    pub fn publish(&self, class: &str, object: &str, document: Vec<u8>) {
        let Some(link) = self.mesh.link() else { return };
        let key = format!("{EVENTS}/{class}/{object}");
        let session = link.session();
        let put = session
            .put(key, document)
            .encoding(zenoh::bytes::Encoding::APPLICATION_JSON)
            .priority(Priority::DataLow)
            .congestion_control(CongestionControl::Drop);
        if let Err(error) = put.wait() {
            tracing::debug!(%error, class, object, "an event was not published");
        }
    }
}
