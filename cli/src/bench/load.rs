//! Load from a number of clients at once: each has its connection and calls again as soon as it is answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::try_join_all;
use hdrhistogram::Histogram;

use crate::bench::connection::Connection;
use crate::failure::Failure;

/// Latencies are kept in nanoseconds up to this; a longer one counts as this.
const LATENCY_MAX_NS: u64 = 120_000_000_000;
/// Three digits are more than a measurement's own noise.
const LATENCY_DIGITS: u8 = 3;
/// How much of a failed response is shown.
const EXCERPT_BYTES: usize = 200;

/// Where requests go, and what they are. Clients go through them in a circle, each from a place of its own.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) requests: Arc<[Bytes]>,
}

impl Target {
    /// Renders one POST per path.
    pub(super) fn new(
        address: SocketAddr,
        host: &str,
        paths: impl Iterator<Item = String>,
        media: &str,
        authorization: Option<&str>,
        body: &[u8],
    ) -> Self {
        let authorization =
            authorization.map(|value| format!("authorization: {value}\r\n")).unwrap_or_default();
        let render = |path: String| {
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: {media}\r\naccept: {media}\r\n\
                 {authorization}content-length: {}\r\n\r\n",
                body.len()
            );
            Bytes::from([head.as_bytes(), body].concat())
        };
        Self { address, requests: paths.map(render).collect() }
    }
}

/// When to stop: whichever comes first. A request under way is finished and counted.
pub(super) struct Bound {
    pub(super) until: Instant,
    pub(super) requests: AtomicU64,
}

impl Bound {
    pub(super) fn new(time: Duration, requests: u64) -> Self {
        Self { until: Instant::now() + time, requests: AtomicU64::new(requests) }
    }

    fn take(&self, now: Instant) -> bool {
        now < self.until
            && self
                .requests
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok()
    }
}

/// What a run came to.
pub(super) struct Sample {
    /// Of answered requests, whatever the answer.
    pub(super) latencies: Histogram<u64>,
    /// Answers with a 2xx status.
    pub(super) succeeded: u64,
    /// Any other answer.
    pub(super) failed: u64,
    /// The first of those.
    pub(super) complaint: Option<String>,
    /// How long it took, from the first request to the last answer.
    pub(super) elapsed: Duration,
}

impl Sample {
    pub(super) fn new() -> Result<Self, Failure> {
        let latencies = Histogram::new_with_max(LATENCY_MAX_NS, LATENCY_DIGITS)
            .map_err(|error| Failure::Bench(format!("the histogram of latencies: {error}")))?;
        Ok(Self { latencies, succeeded: 0, failed: 0, complaint: None, elapsed: Duration::ZERO })
    }

    fn count(&mut self, latency: Duration, status: u16, body: &[u8]) {
        self.latencies.saturating_record(latency.as_nanos() as u64);
        if (200..300).contains(&status) {
            self.succeeded += 1;
        } else {
            self.failed += 1;
            self.complaint.get_or_insert_with(|| {
                let excerpt = &body[..body.len().min(EXCERPT_BYTES)];
                format!("{status} {}", String::from_utf8_lossy(excerpt))
            });
        }
    }

    /// Adds what clients did at the same time as each other: their counts, but the longest of their times.
    fn merge_parallel(&mut self, other: Self) {
        let elapsed = self.elapsed.max(other.elapsed);
        self.merge_next(other);
        self.elapsed = elapsed;
    }

    /// Adds what came after.
    pub(super) fn merge_next(&mut self, other: Self) {
        // both histograms have the same bounds, so that adding cannot fail
        let _ = self.latencies.add(&other.latencies);
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.complaint = self.complaint.take().or(other.complaint);
        self.elapsed += other.elapsed;
    }

    /// Successful requests per second.
    #[allow(clippy::cast_precision_loss, reason = "nobody counts 2^52 requests")]
    pub(super) fn rate(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { self.succeeded as f64 / seconds } else { 0.0 }
    }
}

/// Clients with open connections to one target.
pub(super) struct Fleet {
    target: Target,
    clients: Vec<(Connection, usize)>,
}

impl Fleet {
    pub(super) async fn connect(target: &Target, clients: u32) -> Result<Self, Failure> {
        let open = |_| Connection::open(target.address);
        let connections = try_join_all((0..clients).map(open)).await.map_err(|error| lost(target, &error))?;
        let apart = |(at, connection)| (connection, at * target.requests.len() / clients as usize);
        Ok(Self { target: target.clone(), clients: connections.into_iter().enumerate().map(apart).collect() })
    }

    /// Calls from all clients until `bound`.
    pub(super) async fn run(&mut self, bound: Bound) -> Result<Sample, Failure> {
        let bound = Arc::new(bound);
        let clients = std::mem::take(&mut self.clients);
        let tasks = clients.into_iter().map(|(mut connection, mut next)| {
            let (requests, bound) = (self.target.requests.clone(), bound.clone());
            tokio::spawn(async move {
                let sample = drive(&mut connection, &requests, &mut next, &bound).await;
                sample.map(|sample| (sample, (connection, next)))
            })
        });
        let mut all = Sample::new()?;
        for done in futures::future::join_all(tasks).await {
            let done = done.map_err(|error| Failure::Bench(format!("a client failed: {error}")))?;
            let (sample, client) = done?;
            all.merge_parallel(sample);
            self.clients.push(client);
        }
        Ok(all)
    }
}

async fn drive(
    connection: &mut Connection,
    requests: &[Bytes],
    next: &mut usize,
    bound: &Bound,
) -> Result<Sample, Failure> {
    let mut sample = Sample::new()?;
    let begin = Instant::now();
    let mut now = begin;
    while bound.take(now) {
        let called = connection.call(&requests[*next]).await;
        *next = (*next + 1) % requests.len();
        let (status, body) =
            called.map_err(|error| Failure::Bench(format!("a connection failed: {error}")))?;
        let answered = Instant::now();
        sample.count(answered - now, status, body);
        now = answered;
    }
    sample.elapsed = now - begin;
    Ok(sample)
}

fn lost(target: &Target, error: &std::io::Error) -> Failure {
    Failure::Bench(format!("cannot connect to {}: {error}", target.address))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_request_is_complete() {
        let target = Target::new(
            ([127, 0, 0, 1], 80).into(),
            "h:80",
            ["/a".to_owned()].into_iter(),
            "x/y",
            None,
            b"hi",
        );
        let text = "POST /a HTTP/1.1\r\nhost: h:80\r\ncontent-type: x/y\r\naccept: x/y\r\ncontent-length: 2\r\n\r\nhi";
        assert_eq!(&target.requests[0][..], text.as_bytes());
    }

    #[test]
    fn a_bound_holds_by_count_and_by_time() {
        let bound = Bound::new(Duration::from_mins(1), 2);
        let now = Instant::now();
        assert!(bound.take(now) && bound.take(now) && !bound.take(now));
        assert!(!Bound::new(Duration::ZERO, 2).take(Instant::now()));
    }

    #[test]
    fn parallel_time_is_the_longest_and_successive_time_the_sum() {
        let sample = |ms: u64, status| {
            let mut sample = Sample::new().unwrap();
            sample.count(Duration::from_millis(ms), status, b"why");
            sample.elapsed = Duration::from_millis(ms);
            sample
        };
        let mut round = sample(100, 200);
        round.merge_parallel(sample(300, 503));
        assert_eq!((round.succeeded, round.failed, round.elapsed.as_millis()), (1, 1, 300));
        assert_eq!(round.complaint.as_deref(), Some("503 why"));
        round.merge_next(sample(200, 200));
        assert_eq!((round.succeeded, round.elapsed.as_millis(), round.latencies.len()), (2, 500, 3));
        assert!((round.rate() - 4.0).abs() < 1e-9);
    }
}
