//! Bodies that end where they must: at so many bytes, and a response's also when nothing comes for too long.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use oprc_mesh::limits::HTTP_BODY_BYTES_MAX;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};
use wasmtime_wasi_http::{Error, WasiBody};

/// What a request's body breaks off with; the exchange fails with it as its source.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// It is larger than a body may be.
    #[error("the body of the request is larger than {HTTP_BODY_BYTES_MAX} bytes")]
    TooLarge,
    /// The guest did not finish it.
    #[error("the guest did not finish the body of the request: {0}")]
    ByGuest(Error),
}

/// A request's body.
pub(super) struct Outbound {
    inner: WasiBody,
    left: u64,
}

impl Outbound {
    pub(super) fn new(inner: WasiBody) -> Self {
        Self { inner, left: HTTP_BODY_BYTES_MAX }
    }
}

impl Body for Outbound {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(cx)) else { return Poll::Ready(None) };
        Poll::Ready(Some(match frame {
            Ok(frame) if take(&mut self.left, &frame) => Ok(frame),
            Ok(_) => Err(Broken::TooLarge),
            Err(error) => Err(Broken::ByGuest(error)),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A response's body, with the places that its request has until it is read or dropped.
pub(super) struct Inbound {
    inner: Incoming,
    left: u64,
    between: Duration,
    until: Instant,
    patience: Pin<Box<Sleep>>,
    _places: [OwnedSemaphorePermit; 2],
}

impl Inbound {
    /// # Errors
    /// The response says that it has more than it may.
    pub(super) fn new(
        inner: Incoming,
        between: Duration,
        until: Instant,
        places: [OwnedSemaphorePermit; 2],
    ) -> Result<Self, Error> {
        if inner.size_hint().lower() > HTTP_BODY_BYTES_MAX {
            return Err(too_large());
        }
        let patience = Box::pin(sleep_until(until.min(Instant::now() + between)));
        Ok(Self { inner, left: HTTP_BODY_BYTES_MAX, between, until, patience, _places: places })
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(super::failure::of_exchange(&error)))),
            Poll::Ready(Some(Ok(frame))) => {
                if !take(&mut self.left, &frame) {
                    return Poll::Ready(Some(Err(too_large())));
                }
                let next = self.until.min(Instant::now() + self.between);
                self.patience.as_mut().reset(next);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Pending => {
                ready!(self.patience.as_mut().poll(cx));
                Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Whether the frame still fits into what is left.
fn take(left: &mut u64, frame: &Frame<Bytes>) -> bool {
    let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
    match left.checked_sub(bytes) {
        Some(rest) => {
            *left = rest;
            true
        }
        None => false,
    }
}

fn too_large() -> Error {
    Error::HttpResponseBodySize(Some(HTTP_BODY_BYTES_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt as _, Full};

    fn body(bytes: u64) -> Outbound {
        let bytes = Bytes::from(vec![0; usize::try_from(bytes).unwrap()]);
        Outbound::new(Full::new(bytes).map_err(|never| match never {}).boxed_unsync())
    }

    #[tokio::test]
    async fn a_body_may_have_so_many_bytes_and_no_more() {
        let all = body(HTTP_BODY_BYTES_MAX).collect().await.unwrap().to_bytes();
        assert_eq!(all.len() as u64, HTTP_BODY_BYTES_MAX);
        assert!(matches!(body(HTTP_BODY_BYTES_MAX + 1).collect().await, Err(Broken::TooLarge)));
    }
}
