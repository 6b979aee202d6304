//! What waits to be handed to Zenoh, in lanes: one for each peer, one for announcements. Handing over blocks while a link
//! is congested, so each lane has a thread of its own: a peer that reads slowly, or not at all, holds up no caller and no
//! other peer. A full lane refuses at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use zenoh::key_expr::KeyExpr;
use zenoh::pubsub::Publisher;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::{Session, Wait as _};

use crate::config::MeshError;

/// Messages that may wait in one lane ...
const LANE_MESSAGES_MAX: usize = 4_096;
/// ... and their bytes; one message alone may be larger.
const LANE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Lanes at the same time; past it all are closed (what waits in them still goes out) and opened anew, so that departed
/// peers do not pile up.
const LANES_MAX: usize = 256;
/// How long the end waits for what has not been sent.
const CLOSE: Duration = Duration::from_secs(2);

/// See the module.
pub(crate) struct Outbox {
    session: Session,
    lanes: Mutex<HashMap<String, Lane>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Clone)]
struct Lane {
    messages: SyncSender<Message>,
    bytes: Arc<AtomicUsize>,
}

struct Message {
    key: String,
    payload: Vec<u8>,
}

impl Outbox {
    pub(crate) fn new(session: Session) -> Self {
        Self { session, lanes: Mutex::default(), threads: Mutex::default() }
    }

    /// Queues `payload` for `key` behind what waits in the lane of `peer`. Never blocks.
    ///
    /// # Errors
    /// [`MeshError::Congested`] when the lane is full: nothing is sent.
    pub(crate) fn publish(&self, peer: &str, key: String, payload: Vec<u8>) -> Result<(), MeshError> {
        let lane = self.lane(peer)?;
        let size = payload.len();
        let waiting = lane.bytes.fetch_add(size, Ordering::Relaxed);
        let fits = waiting == 0 || waiting + size <= LANE_BYTES_MAX;
        if fits && lane.messages.try_send(Message { key, payload }).is_ok() {
            return Ok(());
        }
        lane.bytes.fetch_sub(size, Ordering::Relaxed);
        Err(MeshError::Congested { peer: peer.to_owned() })
    }

    fn lane(&self, peer: &str) -> Result<Lane, MeshError> {
        let mut lanes = self.lanes.lock();
        if let Some(lane) = lanes.get(peer) {
            return Ok(lane.clone());
        }
        if lanes.len() >= LANES_MAX {
            lanes.clear();
        }
        let (messages, waiting) = sync_channel(LANE_MESSAGES_MAX);
        let lane = Lane { messages, bytes: Arc::default() };
        let (session, bytes) = (self.session.clone(), lane.bytes.clone());
        let thread = std::thread::Builder::new()
            .name("mesh-lane".into())
            .spawn(move || send(&session, &waiting, &bytes))
            .map_err(|source| MeshError::Thread { source })?;
        let mut threads = self.threads.lock();
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
        lanes.insert(peer.to_owned(), lane.clone());
        Ok(lane)
    }

    /// Closes every lane and waits, for a bounded time, until what waits in them is sent.
    pub(crate) async fn close(&self) {
        self.lanes.lock().clear();
        let until = Instant::now() + CLOSE;
        while self.threads.lock().iter().any(|thread| !thread.is_finished()) && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// A lane's thread: ends when the lane is closed and empty.
fn send(session: &Session, waiting: &Receiver<Message>, bytes: &AtomicUsize) {
    let mut publishers: HashMap<String, Publisher<'static>> = HashMap::new();
    while let Ok(Message { key, payload }) = waiting.recv() {
        let size = payload.len();
        if let Err(error) = put(session, &mut publishers, &key, payload) {
            tracing::warn!(%key, %error, "a message was lost");
        }
        bytes.fetch_sub(size, Ordering::Relaxed);
    }
}

/// Without express (throughput), and never dropped under congestion.
fn put(
    session: &Session,
    publishers: &mut HashMap<String, Publisher<'static>>,
    key: &str,
    payload: Vec<u8>,
) -> zenoh::Result<()> {
    if let Some(publisher) = publishers.get(key) {
        return publisher.put(payload).wait();
    }
    let publisher = session
        .declare_publisher(KeyExpr::try_from(key.to_owned())?)
        .congestion_control(CongestionControl::Block)
        .priority(Priority::Data)
        .wait()?;
    publisher.put(payload).wait()?;
    publishers.insert(key.to_owned(), publisher);
    Ok(())
}
