//! Events for whoever listens on the mesh itself: `oprc/events/<class>/<id>`, one publication an event, a document in JSON
//! ([`crate::events`]). They are for clients that speak Zenoh; what they miss, nobody sends again. Gateways read the log
//! of events instead ([`crate::wire::ReadEvents`]).

use std::sync::Arc;

use tokio::sync::watch;
use zenoh::Wait as _;
use zenoh::matching::MatchingStatus;
use zenoh::pubsub::Publisher;
use zenoh::qos::{CongestionControl, Priority};

use crate::config::MeshError;
use crate::mesh::Mesh;

const EVENTS: &str = "oprc/events";

/// Publishes events while somebody listens.
pub struct EventPublisher {
    mesh: Mesh,
    /// Never published with: it asks whether anybody listens.
    _probe: Option<Publisher<'static>>,
    listened: Arc<watch::Sender<bool>>,
}

impl Mesh {
    /// What publishes events. In a process that is alone nobody ever listens.
    ///
    /// # Errors
    /// [`MeshError::Declare`].
    pub async fn event_publisher(&self) -> Result<EventPublisher, MeshError> {
        let listened = Arc::new(watch::Sender::new(false));
        let Some(session) = self.session() else {
            return Ok(EventPublisher { mesh: self.clone(), _probe: None, listened });
        };
        let key = format!("{EVENTS}/**");
        let failed = |source| MeshError::Declare { key: key.clone(), source };
        let probe = session.declare_publisher(key.clone()).await.map_err(failed)?;
        let told = listened.clone();
        let note = move |status: MatchingStatus| {
            told.send_if_modified(|listened| {
                std::mem::replace(listened, status.matching()) != status.matching()
            });
        };
        probe.matching_listener().callback(note).background().await.map_err(failed)?;
        let matches = probe.matching_status().await.map_err(failed)?.matching();
        listened.send_if_modified(|listened| matches && !std::mem::replace(listened, true));
        Ok(EventPublisher { mesh: self.clone(), _probe: Some(probe), listened })
    }
}

impl EventPublisher {
    /// Whether anybody listens, and when that changes.
    pub fn listened(&self) -> watch::Receiver<bool> {
        self.listened.subscribe()
    }

    /// Publishes an event of an object. Does not wait: when a link is congested, the event is dropped.
    pub fn publish(&self, class: &str, object: &str, document: Vec<u8>) {
        let Some(session) = self.mesh.session() else { return };
        let key = format!("{EVENTS}/{class}/{object}");
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
