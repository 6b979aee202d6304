//! A connection's bytes, counted as they pass.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What HTTP/2 begins with (RFC 9113, section 3.4), and no request of HTTP/1 does.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What passed.
#[derive(Default)]
pub(crate) struct Counts {
    read: AtomicU64,
    written: AtomicU64,
    /// More was to be sent than could be, at some time since the last look.
    stuck: AtomicBool,
    /// It still is so.
    sticks: AtomicBool,
    /// How much of [`PREFACE`] has come, for as long as nothing else has.
    preface: AtomicUsize,
}

impl Counts {
    pub(crate) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.preface.load(Ordering::Relaxed) == PREFACE.len()
    }

    /// Whether the client did not take all that was sent, at some time since this was last asked.
    pub(crate) fn was_stuck(&self) -> bool {
        // what still is so was so at the beginning of the time that the next look is about
        let sticks = self.sticks.load(Ordering::Relaxed);
        self.stuck.swap(sticks, Ordering::Relaxed) || sticks
    }

    fn came(&self, bytes: &[u8]) {
        let before = self.read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let come = self.preface.load(Ordering::Relaxed);
        if come as u64 == before && come < PREFACE.len() {
            let alike = bytes.iter().zip(&PREFACE[come..]).take_while(|(one, other)| one == other).count();
            self.preface.store(come + alike, Ordering::Relaxed);
        }
    }

    fn went(&self, polled: &Poll<io::Result<usize>>) {
        match polled {
            Poll::Ready(Ok(bytes)) => {
                self.written.fetch_add(*bytes as u64, Ordering::Relaxed);
                self.sticks.store(false, Ordering::Relaxed);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                self.stuck.store(true, Ordering::Relaxed);
                self.sticks.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// See the module.
pub(crate) struct Watched<S> {
    stream: S,
    counts: Arc<Counts>,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, counts: Arc<Counts>) -> Self {
        Self { stream, counts }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Some(bytes) = buffer.filled().get(before..).filter(|bytes| !bytes.is_empty()) {
            self.counts.came(bytes);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.counts.went(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.counts.went(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    #[tokio::test]
    async fn what_passes_is_counted() {
        let (near, mut far) = duplex(8);
        let counts = Arc::new(Counts::default());
        let mut watched = Watched::new(near, counts.clone());
        far.write_all(b"PRI * H").await.unwrap();
        watched.read_exact(&mut [0; 7]).await.unwrap();
        assert_eq!((counts.read(), counts.is_http2(), counts.was_stuck()), (7, false, false));
        let mut sending = Box::pin(watched.write_all(b"0123456789"));
        assert!(futures::poll!(&mut sending).is_pending());
        assert_eq!(counts.written(), 8);
        assert!(counts.was_stuck() && counts.was_stuck(), "for as long as it is so");
        far.read_exact(&mut [0; 8]).await.unwrap();
        sending.await.unwrap();
        assert_eq!((counts.written(), counts.was_stuck()), (10, true));
        assert!(!counts.was_stuck(), "it was, and is no more");
    }

    #[test]
    fn http_2_is_what_begins_with_all_of_its_preface() {
        let of = |pieces: &[&[u8]]| {
            let counts = Counts::default();
            for piece in pieces {
                counts.came(piece);
            }
            counts.is_http2()
        };
        let more = [PREFACE, b"more"].concat();
        assert!(of(&[PREFACE]) && of(&[&more]) && of(&[&more, b"and more"]));
        assert!(of(&[b"P", &PREFACE[1..7], &more[7..]]), "it may come in pieces");
        assert!(!of(&[&PREFACE[..23]]));
        assert!(!of(&[b"PRIX / HTTP/1.1\r\n", PREFACE]));
        assert!(!of(&[b"PRI ", b"* HTTP/1.1\r\n", &PREFACE[4..]]));
    }
}
