//! Responses. But for streams of events and gRPC, every body is at hand when its response begins, so `Content-Length` is
//! there.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::backlog::{Backlog, Memory, Piece, Way};
use crate::stream::Stream;

/// What a handler gives.
pub(crate) type Reply = Response<Content>;

/// A response's body.
pub(crate) struct Content {
    source: Source,
    /// Where it waits to be taken.
    backlog: Option<Arc<Backlog>>,
    /// What follows.
    last: Option<Box<Piece>>,
    /// The way that went what went before.
    way: Option<Arc<Way>>,
}

/// Where a response's body comes from.
pub(crate) enum Source {
    /// At hand; empty once it is given.
    Whole(Bytes, Memory),
    /// Goes on for as long as its reader takes it.
    Events(Stream),
    /// A gRPC response's messages and trailers.
    Rpc(Box<Rpc>),
}

/// Nothing.
impl Default for Content {
    fn default() -> Self {
        Source::Whole(Bytes::new(), Memory::Shared).into()
    }
}

impl From<Source> for Content {
    fn from(source: Source) -> Self {
        Self { source, backlog: None, last: None, way: None }
    }
}

impl Content {
    /// Counts in `backlog` what is given out and not taken.
    pub(crate) fn hold_in(&mut self, backlog: Arc<Backlog>) {
        self.backlog = Some(backlog);
    }

    pub(crate) fn source_mut(&mut self) -> &mut Source {
        &mut self.source
    }
}

/// What comes next of a body.
type Next = Result<Frame<Bytes>, tonic::Status>;

impl Source {
    /// What comes next, and whose memory it is.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Next, Memory)>> {
        match self {
            Self::Whole(bytes, _) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes, memory) => {
                Poll::Ready(Some((Ok(Frame::data(std::mem::take(bytes))), *memory)))
            }
            Self::Rpc(rpc) => rpc.poll_frame(cx).map(|next| next.map(|next| (next, Memory::Own))),
            // all of it is counted where it waits for all its readers, until it is gone
            Self::Events(stream) => {
                stream.poll_next(cx).map(|next| next.map(|piece| (Ok(Frame::data(piece)), Memory::Shared)))
            }
        }
    }
}

/// See [`Source::Rpc`].
pub(crate) struct Rpc {
    body: tonic::body::Body,
    /// It goes on for ever: what ends it when the gateway stops.
    stop: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Told of each piece that is taken.
    taken: Option<Box<dyn Fn() + Send + Sync>>,
}

impl Rpc {
    /// Calls `taken` whenever a piece is taken.
    pub(crate) fn on_taken(&mut self, taken: impl Fn() + Send + Sync + 'static) {
        self.taken = Some(Box::new(taken));
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Next>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(_) => {
                if let Some(taken) = &self.taken {
                    taken();
                }
            }
            Poll::Pending => {
                if self.stop.as_mut().is_some_and(|stop| stop.as_mut().poll(cx).is_ready()) {
                    self.stop = None;
                    self.body = tonic::body::Body::default();
                    return Poll::Ready(Some(Ok(Frame::trailers(stopping()))));
                }
            }
        }
        polled
    }
}

/// The end of what would have gone on.
fn stopping() -> HeaderMap {
    let code = HeaderValue::from(tonic::Code::Unavailable as i32);
    let why = HeaderValue::from_static("the gateway is stopping");
    HeaderMap::from_iter([
        (HeaderName::from_static("grpc-status"), code),
        (HeaderName::from_static("grpc-message"), why),
    ])
}

/// A gRPC response. One that goes on for ever ends with `stop`.
pub(crate) fn rpc(response: Response<tonic::body::Body>, stop: Option<CancellationToken>) -> Reply {
    let stop = stop.map(|stop| Box::pin(stop.cancelled_owned()));
    response.map(|body| Source::Rpc(Box::new(Rpc { body, stop, taken: None })).into())
}

impl Body for Content {
    type Data = Piece;
    type Error = tonic::Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, tonic::Status>>> {
        let content = self.get_mut();
        if let Some(last) = content.last.take() {
            return Poll::Ready(Some(Ok(Frame::data(*last))));
        }
        let Some((next, memory)) = ready!(content.source.poll(cx)) else { return Poll::Ready(None) };
        let bytes = match next?.into_data() {
            Ok(bytes) => bytes,
            Err(other) => return Poll::Ready(other.into_trailers().ok().map(|it| Ok(Frame::trailers(it)))),
        };
        let held = match &content.backlog {
            Some(backlog) if !bytes.is_empty() => backlog.hold(bytes, memory, content.way.as_ref()),
            _ => Ok(bytes.into()),
        };
        // whatever it answers is done: who asked learns as little as when the connection breaks
        let mut piece = held.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        content.last = piece.split_last().map(Box::new);
        content.way = piece.way().cloned();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.last.is_none()
            && match &self.source {
                Source::Whole(bytes, _) => bytes.is_empty(),
                Source::Rpc(rpc) => rpc.body.is_end_stream(),
                Source::Events(_) => false,
            }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes, _) => {
                SizeHint::with_exact((bytes.len() + usize::from(self.last.is_some())) as u64)
            }
            Source::Events(_) | Source::Rpc(_) => SizeHint::default(),
        }
    }
}

fn whole(body: Bytes, memory: Memory) -> Reply {
    Response::new(Source::Whole(body, memory).into())
}

/// A stream of events. It is of this moment: nobody may keep it, or keep any of it back.
pub(crate) fn events(stream: Stream) -> Reply {
    let mut reply = Response::new(Content::from(Source::Events(stream)));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    reply
}

/// JSON's media type.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The media type of bytes that are only bytes.
pub(crate) const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// A body of some type.
pub(crate) fn bytes(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Reply {
    typed(status, content_type, whole(body, Memory::Own))
}

fn typed(status: StatusCode, content_type: HeaderValue, mut reply: Reply) -> Reply {
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    reply
}

/// The same for bytes that are there in any case.
pub(crate) fn shared(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Reply {
    typed(status, content_type, whole(body, Memory::Shared))
}

/// Of a text that is larger no spare room is kept.
const LARGE_BYTES: usize = 64 * 1024;

/// What was to be said does not go into a response.
#[derive(Debug, thiserror::Error)]
#[error("the answer could not be written: {0}")]
pub(crate) struct Unwritable(#[from] serde_json::Error);

/// A JSON body made of `value`.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Result<Reply, Unwritable> {
    let mut text = serde_json::to_vec(value)?;
    if text.capacity() > LARGE_BYTES {
        text.shrink_to_fit(); // it may be twice as large
    }
    Ok(bytes(status, JSON, Bytes::from(text)))
}

/// No body.
pub(crate) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Content::default());
    *reply.status_mut() = status;
    reply
}

/// For how many milliseconds what a `consistency=stale` read gave may have been out of date.
const STALE_MS: HeaderName = HeaderName::from_static("oprc-stale-ms");

/// Says how stale what is answered may be, if that was asked for and is known.
pub(crate) fn dated(mut reply: Reply, stale_ms: Option<u64>) -> Reply {
    if let Some(ms) = stale_ms {
        reply.headers_mut().insert(STALE_MS, HeaderValue::from(ms));
    }
    reply
}

/// What a HEAD request gets for what a GET would have: the same head, no body (RFC 9110, 9.3.2).
pub(crate) fn without_body(reply: Reply) -> Reply {
    let (mut parts, body) = reply.into_parts();
    let bodiless = matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if let Some(length) = hyper::body::Body::size_hint(&body).exact().filter(|_| !bodiless) {
        parts.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    Response::from_parts(parts, Content::default())
}
