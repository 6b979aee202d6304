//! `multipart/form-data` read part by part (RFC 7578) without gathering it. The parser behind axum's extractor takes in
//! whatever its stream has ready; the pacing here gives it one frame at a time and bounds what it may sit on.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest as _, Multipart};
use bytes::Bytes;
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::{Request, StatusCode};
use oprc_mesh::outcome::Code;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use crate::body::{Inbound, too_slow};
use crate::problem::Refusal;

/// Bytes that the parser may hold without giving them out: boundaries, part headers and what it looks for them in.
const UNPARSED_BYTES_MAX: usize = 1024 * 1024;

/// A multipart body under way.
pub(crate) struct Parts {
    inner: Multipart,
    pacing: Arc<Pacing>,
    until: Instant,
}

/// What the body's two ends tell each other.
#[derive(Default)]
struct Pacing {
    /// Bytes that the parser has and has not given out.
    unparsed: AtomicUsize,
    /// The body came too slowly.
    slow: AtomicBool,
}

impl Parts {
    /// Begins to read `body`.
    ///
    /// # Errors
    /// `invalid` when the content type names no boundary.
    pub(crate) async fn of(headers: &HeaderMap, body: Inbound, until: Instant) -> Result<Self, Refusal> {
        let pacing = Arc::new(Pacing::default());
        let looks = Box::pin(sleep_until(body.flow.ends()));
        let mut request =
            Request::new(Body::new(Paced { body, resting: true, pacing: pacing.clone(), looks }));
        if let Some(content_type) = headers.get(CONTENT_TYPE) {
            request.headers_mut().insert(CONTENT_TYPE, content_type.clone());
        }
        DefaultBodyLimit::disable().apply(&mut request); // each part has its own
        let inner = Multipart::from_request(request, &()).await.map_err(|rejection| {
            Refusal::invalid(rejection.body_text())
                .hint("send Content-Type: multipart/form-data; boundary=...")
        })?;
        Ok(Self { inner, pacing, until })
    }

    /// The next part; none after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Part<'_>>, Refusal> {
        let field = timeout_at(self.until, self.inner.next_field()).await.map_err(|_| too_slow())?;
        let field = field.map_err(|error| self.pacing.refused(&error))?;
        Ok(field.map(|field| Part { field, pacing: &self.pacing, until: self.until }))
    }
}

/// One part of a multipart body.
pub(crate) struct Part<'a> {
    field: Field<'a>,
    pacing: &'a Pacing,
    until: Instant,
}

impl Part<'_> {
    /// The part's name; empty when it has none.
    pub(crate) fn name(&self) -> &str {
        self.field.name().unwrap_or_default()
    }

    /// The next piece of its content; none at its end.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, Refusal> {
        let chunk = timeout_at(self.until, self.field.chunk()).await.map_err(|_| too_slow())?;
        let chunk = chunk.map_err(|error| self.pacing.refused(&error))?;
        self.pacing.unparsed.fetch_sub(chunk.as_ref().map_or(0, Bytes::len), Ordering::Relaxed);
        Ok(chunk)
    }

    /// Its whole content as text.
    ///
    /// # Errors
    /// `payload-too-large` past `bytes_max`, `invalid` when it is not UTF-8.
    pub(crate) async fn text(mut self, bytes_max: usize) -> Result<String, Refusal> {
        let mut text = Vec::new();
        while let Some(piece) = self.piece().await? {
            if text.len() + piece.len() > bytes_max {
                let detail = format!("part {:?} is larger than {bytes_max} bytes", self.name());
                return Err(Refusal::new(Code::PayloadTooLarge, detail));
            }
            text.extend_from_slice(&piece);
        }
        String::from_utf8(text).map_err(|_| Refusal::invalid(format!("part {:?} is not UTF-8", self.name())))
    }
}

impl Pacing {
    /// Why nothing more comes.
    fn refused(&self, error: &MultipartError) -> Refusal {
        if self.slow.load(Ordering::Relaxed) { too_slow() } else { malformed(error) }
    }
}

fn malformed(error: &MultipartError) -> Refusal {
    let detail = format!("the multipart body is malformed: {}", error.body_text());
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::new(Code::PayloadTooLarge, detail),
        _ => Refusal::invalid(detail),
    }
}

/// Gives out a body one frame per poll, as long as what was given out is also used up.
struct Paced {
    body: Inbound,
    resting: bool,
    pacing: Arc<Pacing>,
    /// Looks how fast it comes.
    looks: Pin<Box<Sleep>>,
}

#[derive(Debug, thiserror::Error)]
enum PacedError {
    #[error("no part begins or ends within {UNPARSED_BYTES_MAX} bytes")]
    Unparsed,
    #[error("it comes too slowly")]
    Slow,
    #[error(transparent)]
    Body(#[from] hyper::Error),
}

impl hyper::body::Body for Paced {
    type Data = Bytes;
    type Error = PacedError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, PacedError>>> {
        if std::mem::take(&mut self.resting) {
            // what was not asked for meanwhile could not come
            self.body.flow.resume(Instant::now());
            let ends = self.body.flow.ends();
            self.looks.as_mut().reset(ends);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.pacing.unparsed.load(Ordering::Relaxed) > UNPARSED_BYTES_MAX {
            return Poll::Ready(Some(Err(PacedError::Unparsed)));
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx).map_err(PacedError::from);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            self.body.flow.took(bytes);
            self.pacing.unparsed.fetch_add(bytes, Ordering::Relaxed);
            self.resting = true;
        }
        while polled.is_pending() && self.looks.as_mut().poll(cx).is_ready() {
            if !self.body.flow.goes_on(Instant::now()) {
                self.pacing.slow.store(true, Ordering::Relaxed);
                return Poll::Ready(Some(Err(PacedError::Slow)));
            }
            let ends = self.body.flow.ends();
            self.looks.as_mut().reset(ends);
        }
        polled
    }
}
