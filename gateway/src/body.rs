//! Request bodies: read whole within a size, a time and a share of memory, or handed on piece by piece.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, BodyStream};
use hyper::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::EXPECT;
use oprc_mesh::outcome::{Code, Effect};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use crate::admission::Admission;
use crate::app::App;
use crate::config::SLOW_MS;
use crate::problem::Refusal;

/// Up to so many bytes a body needs no share of the memory that is set aside for bodies.
const SMALL_BYTES: usize = 64 * 1024;
/// What is left of a refused body is still taken off the wire, up to so many bytes ...
const LINGER_BYTES_MAX: usize = 128 * 1024 * 1024;
/// ... and for so long, so that the client reads the refusal instead of a broken connection.
const LINGER_MS: u64 = 10_000;

/// The body of a request under way.
pub(crate) struct Inbound {
    body: Option<Incoming>,
    /// The client waits for `100 Continue` and will not send a body that is refused.
    expects: bool,
    lingering: TaskTracker,
    pub(crate) flow: Flow,
}

/// How fast a body comes: in each span of [`SLOW_MS`] it brings so many bytes, or it is given up.
pub(crate) struct Flow {
    bytes_min: u64,
    bytes: u64,
    ends: Instant,
}

impl Flow {
    fn new(bytes_per_s_min: u64, now: Instant) -> Self {
        let ends = now + Duration::from_millis(SLOW_MS);
        Self { bytes_min: bytes_per_s_min.saturating_mul(SLOW_MS) / 1_000, bytes: 0, ends }
    }

    /// When the span is over in which it has to bring enough.
    pub(crate) fn ends(&self) -> Instant {
        self.ends
    }

    /// It brought so much.
    pub(crate) fn took(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// It is waited for again. When a span ended while it was not, the client is not to blame.
    pub(crate) fn resume(&mut self, now: Instant) {
        if now >= self.ends {
            *self = Self { bytes: 0, ends: now + Duration::from_millis(SLOW_MS), ..*self };
        }
    }

    /// Looks at the span that ended by `now`, if one did, and begins the next one. False when it brought too little.
    pub(crate) fn goes_on(&mut self, now: Instant) -> bool {
        if now < self.ends {
            return true;
        }
        let enough = self.bytes >= self.bytes_min;
        self.bytes = 0;
        self.ends = now + Duration::from_millis(SLOW_MS);
        enough
    }
}

impl Inbound {
    pub(crate) fn new(body: Incoming, headers: &HeaderMap, app: &App) -> Self {
        let flow = Flow::new(app.config.bytes_per_s_min, Instant::now());
        let expects = headers.contains_key(EXPECT);
        Self { body: Some(body), expects, lingering: app.lingering.clone(), flow }
    }

    /// The size that the request declares, less what was read already.
    pub(crate) fn declared_bytes(&self) -> Option<u64> {
        self.body.as_ref().map_or(Some(0), |body| body.size_hint().exact())
    }

    /// The next piece of data; none at the end.
    ///
    /// # Errors
    /// `deadline` when it does not come before `until`, or comes too slowly; `invalid` when the client breaks off.
    pub(crate) async fn piece(&mut self, until: Instant) -> Result<Option<Bytes>, Refusal> {
        self.flow.resume(Instant::now());
        loop {
            let ends = self.flow.ends;
            let frame = timeout_at(until.min(ends), self.frame()).await;
            if !self.flow.goes_on(Instant::now()) {
                return Err(dawdling(self.flow.bytes_min));
            }
            let frame = match frame {
                Ok(Some(frame)) => frame.map_err(|error| broken(&error))?,
                Ok(None) => return Ok(None),
                Err(_) if ends < until => continue,
                Err(_) => return Err(too_slow()),
            };
            if let Ok(data) = frame.into_data() {
                self.flow.took(data.len());
                return Ok(Some(data));
            }
        }
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        match &polled {
            // nothing more will come: there is nothing to linger for
            Poll::Ready(None | Some(Err(_))) => self.body = None,
            Poll::Ready(Some(Ok(_))) => self.expects = false,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        if let Some(body) = self.body.take()
            && !body.is_end_stream()
            && !self.expects
        {
            self.lingering.spawn(timeout(Duration::from_millis(LINGER_MS), discard(body)));
        }
    }
}

async fn discard(body: Incoming) {
    let mut frames = BodyStream::new(body);
    let mut bytes = 0;
    while let Some(Ok(frame)) = frames.next().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > LINGER_BYTES_MAX {
            break;
        }
    }
}

/// A body read whole, with its share of memory: keep it for as long as the bytes are in use.
pub(crate) struct Whole {
    pub(crate) bytes: Bytes,
    _held: Option<OwnedSemaphorePermit>,
}

/// Reads `body` whole. A body that came in one piece is not copied.
///
/// # Errors
/// `payload-too-large` past `bytes_max` (at once when the request declares it), `overloaded` when there is no memory
/// for it, `deadline` when it is not there at `until`, `invalid` when the client breaks off.
pub(crate) async fn read_whole(
    mut body: Inbound,
    bytes_max: usize,
    until: Instant,
    admission: &Admission,
) -> Result<Whole, Refusal> {
    let declared = body.declared_bytes();
    if declared.is_some_and(|declared| declared > bytes_max as u64) {
        return Err(too_large(bytes_max));
    }
    let _waited_for = admission.body()?;
    // memory is held for what has come, not for what was announced: a client that sends nothing takes nothing
    let mut held: Option<OwnedSemaphorePermit> = None;
    let Some(first) = body.piece(until).await? else { return Ok(Whole { bytes: Bytes::new(), _held: None }) };
    if body.is_end_stream() && first.len() <= bytes_max {
        return Ok(Whole { bytes: first, _held: held });
    }
    let mut room = SMALL_BYTES;
    let mut bytes = BytesMut::with_capacity(first.len());
    let mut next = Some(first);
    while let Some(piece) = next {
        let len = bytes.len() + piece.len();
        if len > bytes_max {
            return Err(too_large(bytes_max));
        }
        while len > room {
            // doubling, as the buffer itself grows
            let more = admission.hold(room)?;
            room *= 2;
            match &mut held {
                Some(held) => held.merge(more),
                None => held = Some(more),
            }
        }
        bytes.extend_from_slice(&piece);
        next = body.piece(until).await?;
    }
    Ok(Whole { bytes: bytes.freeze(), _held: held })
}

pub(crate) fn too_large(bytes_max: usize) -> Refusal {
    Refusal::new(Code::PayloadTooLarge, format!("the body is larger than {bytes_max} bytes"))
        .effect(Effect::NotRun)
}

fn dawdling(bytes_min: u64) -> Refusal {
    let detail = format!("the body comes too slowly: less than {bytes_min} bytes in {} s", SLOW_MS / 1_000);
    Refusal::new(Code::Deadline, detail).hint("send the body faster").effect(Effect::NotRun)
}

pub(crate) fn too_slow() -> Refusal {
    Refusal::new(Code::Deadline, "the body did not arrive in time")
        .hint("send the body faster, or allow more time with X-Request-Timeout-Ms")
        .effect(Effect::NotRun)
}

fn broken(error: &hyper::Error) -> Refusal {
    Refusal::invalid(format!("the body broke off: {error}")).effect(Effect::NotRun)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_comes_as_fast_as_it_must_or_is_given_up() {
        let begun = Instant::now();
        let at = |ms: u64| begun + Duration::from_millis(ms);
        let mut flow = Flow::new(100, begun);
        assert_eq!(flow.bytes_min, 1_000);
        assert!(flow.goes_on(at(SLOW_MS - 1)), "it is too early to tell");
        flow.bytes = 1_000;
        assert!(flow.goes_on(at(SLOW_MS)));
        flow.bytes = 999;
        assert!(flow.goes_on(at(2 * SLOW_MS - 1)) && !flow.goes_on(at(2 * SLOW_MS)));
        // while nobody asked for it
        flow.resume(at(4 * SLOW_MS));
        assert!(flow.goes_on(at(5 * SLOW_MS - 1)));
        // none is asked for
        assert!(Flow::new(0, begun).goes_on(at(SLOW_MS)));
    }
}
