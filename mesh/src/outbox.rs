//! What waits to be handed to Zenoh: a queue and a thread for each route. All that waits for a route leaves together in one
//! frame, so that the cost of a message falls as load rises, and none waits for another to come. Handing over blocks while
//! a link is congested; a peer that reads slowly, or not at all, then holds up no caller and no other route. A full queue
//! refuses at once. A thread ends when nothing came for a while.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use crate::config::MeshError;
use crate::frame::{self, FRAME_BYTES_MAX, Origin};
use crate::id::NodeId;
use crate::keys::Route;

/// How long a lane stays without anything to send.
const IDLE: Duration = Duration::from_mins(1);
/// How long the end waits for what has not been sent.
const CLOSE: Duration = Duration::from_secs(2);

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Messages in one lane ...
    pub(crate) messages: usize,
    /// ... and their bytes; one message alone may be larger.
    pub(crate) bytes: usize,
    /// Lanes at the same time; past it those that have nothing to send end early.
    pub(crate) lanes: usize,
}

pub(crate) const BOUNDS: Bounds = Bounds { messages: 16_384, bytes: 64 * FRAME_BYTES_MAX, lanes: 1_024 };

/// Hands a frame over; may block.
pub(crate) type Send = Box<dyn FnMut(Vec<u8>) + std::marker::Send>;
/// Makes what hands over the frames of one route; called in the route's own thread.
pub(crate) type Open = dyn Fn(&Route) -> Send + std::marker::Send + Sync;

/// See the module.
pub(crate) struct Outbox {
    from: NodeId,
    open: Arc<Open>,
    bounds: Bounds,
    lanes: Mutex<Lanes>,
    /// Messages that were too many.
    refused: AtomicU64,
}

#[derive(Default)]
struct Lanes {
    closed: bool,
    open: HashMap<Route, Arc<Lane>>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Lane {
    queue: Mutex<Queue>,
    filled: Condvar,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Bytes>,
    bytes: usize,
    /// The thread is handing over what it took.
    sending: bool,
    /// Nothing more is taken; what is here still leaves.
    closed: bool,
}

impl Outbox {
    /// `from` is the host that sends; none for a process that is none.
    pub(crate) fn new(from: Option<NodeId>, bounds: Bounds, open: Arc<Open>) -> Self {
        let (lanes, refused) = (Mutex::default(), AtomicU64::new(0));
        Self { from: from.unwrap_or(NodeId(0)), open, bounds, lanes, refused }
    }

    /// Queues `message` behind what waits for the same route. Never blocks.
    ///
    /// # Errors
    /// [`MeshError::Congested`], [`MeshError::Thread`] or [`MeshError::Closed`]: nothing is sent.
    pub(crate) fn push(&self, route: Route, message: Bytes) -> Result<(), MeshError> {
        let lane = self.lane(&route)?;
        let mut queue = lane.queue.lock();
        if queue.closed {
            drop(queue); // its thread ended just now, with nothing left to send: begin anew
            return self.push(route, message);
        }
        let full = queue.messages.len() >= self.bounds.messages
            || (queue.bytes > 0 && queue.bytes + message.len() > self.bounds.bytes);
        if full {
            return Err(self.congested(&route));
        }
        queue.bytes += message.len();
        queue.messages.push_back(message);
        if queue.messages.len() == 1 {
            lane.filled.notify_one();
        }
        Ok(())
    }

    fn congested(&self, route: &Route) -> MeshError {
        self.refused.fetch_add(1, Ordering::Relaxed);
        MeshError::Congested { peer: route.key() }
    }

    /// Messages that wait and their bytes, and how many were refused so far.
    pub(crate) fn waiting(&self) -> (usize, usize, u64) {
        let lanes: Vec<Arc<Lane>> = self.lanes.lock().open.values().cloned().collect();
        let waiting = lanes.iter().map(|lane| {
            let queue = lane.queue.lock();
            (queue.messages.len(), queue.bytes)
        });
        let (messages, bytes) = waiting.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        (messages, bytes, self.refused.load(Ordering::Relaxed))
    }

    fn lane(&self, route: &Route) -> Result<Arc<Lane>, MeshError> {
        let mut lanes = self.lanes.lock();
        if lanes.closed {
            return Err(MeshError::Closed);
        }
        if let Some(lane) = lanes.open.get(route)
            && !lane.queue.lock().closed
        {
            return Ok(lane.clone());
        }
        if lanes.open.len() >= self.bounds.lanes {
            lanes.open.retain(|_, lane| !lane.close_if_idle());
        }
        if lanes.open.len() >= self.bounds.lanes {
            return Err(self.congested(route));
        }
        let lane = Arc::<Lane>::default();
        let (from, open, own, to) = (self.from, self.open.clone(), lane.clone(), route.clone());
        let thread = std::thread::Builder::new()
            .name("mesh-lane".into())
            .spawn(move || {
                let (origin, key) = stamp(from, &to);
                own.send_all(origin, &key, open(&to));
            })
            .map_err(|source| MeshError::Thread { source })?;
        lanes.threads.retain(|thread| !thread.is_finished());
        lanes.threads.push(thread);
        lanes.open.insert(route.clone(), lane.clone());
        Ok(lane)
    }

    /// Closes every lane and waits, for a bounded time, until what waits in them is sent.
    pub(crate) async fn close(&self) {
        {
            let mut lanes = self.lanes.lock();
            lanes.closed = true;
            lanes.open.drain().for_each(|(_, lane)| lane.close());
        }
        let until = Instant::now() + CLOSE;
        while self.lanes.lock().threads.iter().any(|thread| !thread.is_finished()) && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// What the frames of a route say of who sent them, and the key that the receiver knows.
fn stamp(own: NodeId, route: &Route) -> (Origin, String) {
    match route {
        Route::Onward(onward) => (Origin { from: onward.from, via: Some(onward.router) }, onward.to.key()),
        _ => (Origin { from: own, via: None }, route.key()),
    }
}

impl Lane {
    /// The thread's work: ends when the lane is closed and empty.
    fn send_all(&self, origin: Origin, key: &str, mut send: Send) {
        while let Some(messages) = self.take() {
            send(frame::pack(origin, key, messages));
        }
    }

    /// Waits for messages and takes as many as fit into one frame. None: the lane is closed, if only because nothing came.
    fn take(&self) -> Option<Vec<Bytes>> {
        let mut queue = self.queue.lock();
        queue.sending = false;
        while queue.messages.is_empty() && !queue.closed {
            if self.filled.wait_for(&mut queue, IDLE).timed_out() && queue.messages.is_empty() {
                queue.closed = true;
            }
        }
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(next) = queue.messages.front().map(Bytes::len)
            && (taken.is_empty() || bytes + next <= FRAME_BYTES_MAX)
        {
            bytes += next;
            taken.extend(queue.messages.pop_front());
        }
        queue.bytes -= bytes;
        queue.sending = !taken.is_empty();
        (!taken.is_empty()).then_some(taken)
    }

    fn close(&self) {
        self.queue.lock().closed = true;
        self.filled.notify_one();
    }

    /// Closes a lane that has nothing to send, so that what comes later cannot overtake anything in it.
    fn close_if_idle(&self) -> bool {
        let mut queue = self.queue.lock();
        let idle = queue.messages.is_empty() && !queue.sending;
        queue.closed |= idle;
        drop(queue);
        if idle {
            self.filled.notify_one();
        }
        idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const SMALL: Bounds = Bounds { messages: 4, bytes: 100, lanes: 2 };

    type Frames = mpsc::Receiver<(Route, Vec<Bytes>)>;

    fn to(node: u64) -> Route {
        Route::Calls(NodeId(node))
    }

    /// An outbox whose frames come out of the receiver; each waits for a word from the sender first.
    fn gated(bounds: Bounds) -> (Outbox, mpsc::Sender<()>, Frames) {
        let (pass, gate) = mpsc::channel();
        let (sent, frames) = mpsc::channel();
        let gate = Arc::new(Mutex::new(gate));
        let open = move |route: &Route| -> Send {
            let (route, gate, sent) = (route.clone(), gate.clone(), sent.clone());
            Box::new(move |frame| {
                let _ = gate.lock().recv();
                let (origin, messages) = frame::unpack(&route.key(), &frame);
                assert_eq!(origin, Origin { from: NodeId(9), via: None });
                let _ = sent.send((route.clone(), messages));
            })
        };
        (Outbox::new(Some(NodeId(9)), bounds, Arc::new(open)), pass, frames)
    }

    fn until(condition: impl Fn() -> bool) {
        while !condition() {
            std::thread::yield_now();
        }
    }

    fn waiting(outbox: &Outbox, route: &Route) -> usize {
        outbox.lanes.lock().open[route].queue.lock().messages.len()
    }

    #[test]
    fn what_waits_leaves_together_and_in_order() {
        let (outbox, pass, frames) = gated(SMALL);
        outbox.push(to(1), Bytes::from_static(b"a")).unwrap();
        until(|| waiting(&outbox, &to(1)) == 0);
        for message in ["b", "c", "d"] {
            outbox.push(to(1), Bytes::from(message)).unwrap();
        }
        (0..2).for_each(|_| pass.send(()).unwrap());
        assert_eq!(frames.recv().unwrap().1, ["a"]);
        assert_eq!(frames.recv().unwrap().1, ["b", "c", "d"]);
    }

    #[test]
    fn a_full_lane_refuses_and_others_do_not() {
        let (outbox, _pass, _frames) = gated(SMALL);
        outbox.push(to(1), Bytes::from(vec![0; 1_000])).unwrap(); // alone it may be larger
        until(|| waiting(&outbox, &to(1)) == 0);
        outbox.push(to(1), Bytes::from(vec![0; 99])).unwrap();
        assert!(matches!(outbox.push(to(1), Bytes::from(vec![0; 2])), Err(MeshError::Congested { .. })));
        for _ in 0..3 {
            outbox.push(to(1), Bytes::new()).unwrap();
        }
        assert!(matches!(outbox.push(to(1), Bytes::new()), Err(MeshError::Congested { .. })));
        outbox.push(to(2), Bytes::new()).unwrap();
    }

    #[test]
    fn frames_are_bounded() {
        let (outbox, pass, frames) = gated(BOUNDS);
        let half = Bytes::from(vec![0; FRAME_BYTES_MAX / 2]);
        outbox.push(to(1), half.clone()).unwrap();
        until(|| waiting(&outbox, &to(1)) == 0);
        (0..5).for_each(|_| outbox.push(to(1), half.clone()).unwrap());
        (0..4).for_each(|_| pass.send(()).unwrap());
        let sizes: Vec<_> = (0..4).map(|_| frames.recv().unwrap().1.len()).collect();
        assert_eq!(sizes, [1, 2, 2, 1]);
    }

    #[test]
    fn lanes_are_bounded_and_idle_ones_make_room() {
        let (outbox, pass, frames) = gated(SMALL);
        outbox.push(to(1), Bytes::from_static(b"1")).unwrap();
        outbox.push(to(2), Bytes::from_static(b"2")).unwrap();
        assert!(matches!(outbox.push(to(3), Bytes::new()), Err(MeshError::Congested { .. })));
        (0..3).for_each(|_| pass.send(()).unwrap());
        (0..2).for_each(|_| drop(frames.recv().unwrap()));
        until(|| outbox.push(to(3), Bytes::from_static(b"3")).is_ok());
        assert_eq!(frames.recv().unwrap(), (to(3), vec![Bytes::from_static(b"3")]));
    }

    #[tokio::test]
    async fn closing_sends_what_waits_and_takes_no_more() {
        let (outbox, pass, frames) = gated(SMALL);
        outbox.push(to(1), Bytes::from_static(b"a")).unwrap();
        pass.send(()).unwrap();
        outbox.close().await;
        assert_eq!(frames.recv().unwrap().1, ["a"]);
        assert!(matches!(outbox.push(to(1), Bytes::new()), Err(MeshError::Closed)));
    }
}
