//! Keeps count of the spans that wait to be sent, and says when some were not.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};

/// Spans that may wait or be on their way; one more is dropped.
pub(super) const QUEUE_SPANS_MAX: usize = 8_192;
/// A trouble that goes on is told of again after so long.
const TELL_AGAIN: Duration = Duration::from_mins(1);

/// What is left of the queue.
#[derive(Debug, Default)]
pub(super) struct Room {
    waiting: AtomicUsize,
    /// Not told of yet.
    dropped: AtomicU64,
}

impl Room {
    /// Takes a place, if there is one.
    fn enter(&self) -> bool {
        let fits = self.waiting.fetch_add(1, Ordering::Relaxed) < QUEUE_SPANS_MAX;
        if !fits {
            self.leave(1);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        fits
    }

    fn leave(&self, spans: usize) {
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
    }
}

/// Sends, gives back the places of what was sent or given up, and tells of what was lost.
#[derive(Debug)]
pub(super) struct Counted<E> {
    exporter: E,
    endpoint: String,
    room: Arc<Room>,
    told: Mutex<Told>,
}

/// What is to be told of.
#[derive(Debug, Default)]
struct Told {
    /// Spans that were given up, and not told of yet.
    lost: u64,
    last: Option<Instant>,
}

impl<E> Counted<E> {
    pub(super) fn new(exporter: E, endpoint: String) -> (Self, Arc<Room>) {
        let room = Arc::new(Room::default());
        (Self { exporter, endpoint, room: room.clone(), told: Mutex::default() }, room)
    }

    /// After a batch: tells of what was lost, if it is time to.
    fn tell(&self, spans: usize, outcome: &OTelSdkResult) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Err(error) = outcome {
            told.lost += spans as u64;
            if told.is_time(now) {
                let (endpoint, lost) = (&self.endpoint, std::mem::take(&mut told.lost));
                tracing::warn!(%endpoint, lost, %error, "spans could not be sent");
            }
        }
        let dropped = self.room.dropped.load(Ordering::Relaxed);
        if dropped > 0 && told.is_time(now) {
            self.room.dropped.fetch_sub(dropped, Ordering::Relaxed);
            let endpoint = &self.endpoint;
            tracing::warn!(%endpoint, dropped, "spans were dropped: they came faster than they could be sent");
        }
    }
}

impl Told {
    /// At once, and then once in a while.
    fn is_time(&mut self, now: Instant) -> bool {
        let is_time = self.last.is_none_or(|last| last == now || now - last >= TELL_AGAIN);
        if is_time {
            self.last = Some(now);
        }
        is_time
    }
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let outcome = self.exporter.export(batch).await;
        self.room.leave(spans);
        self.tell(spans, &outcome);
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Lets into the processor behind it only what there is room for.
#[derive(Debug)]
pub(super) struct Bounded<P> {
    processor: P,
    room: Arc<Room>,
}

impl<P> Bounded<P> {
    pub(super) fn new(processor: P, room: Arc<Room>) -> Self {
        Self { processor, room }
    }
}

impl<P: SpanProcessor> SpanProcessor for Bounded<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.processor.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.room.enter() {
            self.processor.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_wait_and_one_more_is_dropped() {
        let room = Room::default();
        for _ in 0..QUEUE_SPANS_MAX {
            assert!(room.enter());
        }
        assert!(!room.enter() && !room.enter());
        assert_eq!(room.dropped.load(Ordering::Relaxed), 2);
        room.leave(1);
        assert!(room.enter() && !room.enter());
    }

    #[test]
    fn a_trouble_is_told_of_at_once_and_then_once_in_a_while() {
        let (mut told, start) = (Told::default(), Instant::now());
        let after = |ms| start + Duration::from_millis(ms);
        let times = [0, 0, 1, 59_999, 60_000, 60_001, 120_000];
        let heard = times.map(|ms| told.is_time(after(ms)));
        assert_eq!(heard, [true, true, false, false, true, false, true]);
    }
}
