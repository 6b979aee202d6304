//! Responses. But for streams of events and gRPC, every body is at hand when its response begins, so `Content-Length` is
//! there.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::admission::Backlog;
use crate::stream::Stream;

/// What a handler gives.
pub(crate) type Reply = Response<Content>;

/// A response's body.
pub(crate) enum Content {
    /// At hand, or taken.
    Whole(Bytes),
    /// Goes on for as long as its reader takes it.
    Events(Stream),
    /// A gRPC response's messages and trailers.
    Rpc(Box<Rpc>),
}

/// Nothing.
impl Default for Content {
    fn default() -> Self {
        Self::Whole(Bytes::new())
    }
}

/// See [`Content::Rpc`].
pub(crate) struct Rpc {
    body: tonic::body::Body,
    /// What was at hand when the response began, until it is taken.
    ahead: Poll<Option<Piece>>,
    /// Counts what is not taken.
    backlog: Option<Arc<Backlog>>,
    /// It goes on for ever: what ends it when the gateway stops.
    stop: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Told of each piece that is taken.
    taken: Option<Box<dyn Fn() + Send + Sync>>,
}

/// A piece of a gRPC response.
type Piece = Result<Frame<Bytes>, tonic::Status>;

impl Rpc {
    /// Counts its messages in `backlog`. One that is at hand lies in memory, so it is counted before anybody asks for it.
    pub(crate) fn count(&mut self, backlog: &Arc<Backlog>) {
        self.backlog = Some(backlog.clone());
        self.ahead = self.poll_piece(&mut Context::from_waker(Waker::noop()));
    }

    /// Calls `taken` whenever a piece is taken.
    pub(crate) fn on_taken(&mut self, taken: impl Fn() + Send + Sync + 'static) {
        self.taken = Some(Box::new(taken));
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        let count = |bytes| match &self.backlog {
            Some(backlog) => backlog.count(bytes),
            None => bytes,
        };
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        polled.map(|piece| piece.map(|piece| piece.map(|frame| frame.map_data(count))))
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        let polled = match std::mem::replace(&mut self.ahead, Poll::Pending) {
            Poll::Pending => self.poll_piece(cx),
            ahead @ Poll::Ready(_) => ahead,
        };
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
    response.map(|body| {
        Content::Rpc(Box::new(Rpc { body, ahead: Poll::Pending, backlog: None, stop, taken: None }))
    })
}

impl Body for Content {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Rpc(rpc) => rpc.poll_frame(cx),
            Self::Events(stream) => {
                stream.poll_next(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Rpc(rpc) => rpc.ahead.is_pending() && rpc.body.is_end_stream(),
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Events(_) | Self::Rpc(_) => SizeHint::default(),
        }
    }
}

fn whole(body: Bytes) -> Reply {
    Response::new(Content::Whole(body))
}

/// A stream of events. It is of this moment: nobody may keep it, or keep any of it back.
pub(crate) fn events(stream: Stream) -> Reply {
    let mut reply = Response::new(Content::Events(stream));
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
    let mut reply = whole(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    reply
}

/// What was to be said does not go into a response.
#[derive(Debug, thiserror::Error)]
#[error("the answer could not be written: {0}")]
pub(crate) struct Unwritable(#[from] serde_json::Error);

/// A JSON body made of `value`.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Result<Reply, Unwritable> {
    Ok(bytes(status, JSON, Bytes::from(serde_json::to_vec(value)?)))
}

/// No body.
pub(crate) fn empty(status: StatusCode) -> Reply {
    let mut reply = whole(Bytes::new());
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
