//! A guest's standard output and error: lines in the log, each with the turn that it came from.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// A line is broken after so many bytes.
const LINE_BYTES_MAX: usize = 4 * 1024;
/// Of one turn's output; the rest is dropped and a line says so.
const TURN_BYTES_MAX: usize = 64 * 1024;
/// Lines of one stream of one turn; the rest is dropped likewise. A line in the log costs far more than its bytes.
const TURN_LINES_MAX: usize = 500;
/// What a guest may write at once.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// Whose output it is.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) class: String,
    /// Empty for a function.
    pub(super) object: String,
    pub(super) method: String,
    pub(super) invocation: String,
}

/// Which of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

/// One stream of one turn. Clones are the same stream.
#[derive(Clone)]
pub(super) struct GuestLog(Arc<Mutex<Lines>>);

struct Lines {
    origin: Arc<Origin>,
    stream: Stream,
    line: Vec<u8>,
    left: usize,
    /// Lines that may still go out.
    more: usize,
}

impl GuestLog {
    pub(super) fn new(origin: Arc<Origin>, stream: Stream) -> Self {
        Self(Arc::new(Mutex::new(Lines {
            origin,
            stream,
            line: Vec::new(),
            left: TURN_BYTES_MAX,
            more: TURN_LINES_MAX,
        })))
    }

    fn append(&self, bytes: &[u8]) {
        self.0.lock().append(bytes);
    }
}

impl Lines {
    fn append(&mut self, bytes: &[u8]) {
        if self.left == 0 {
            return;
        }
        let taken = &bytes[..bytes.len().min(self.left)];
        self.left -= taken.len();
        for piece in taken.split_inclusive(|byte| *byte == b'\n') {
            if self.more == 0 {
                self.left = 0;
                self.line.clear();
                break;
            }
            for part in piece.chunks(LINE_BYTES_MAX) {
                if self.line.len() + part.len() > LINE_BYTES_MAX {
                    self.end_line();
                }
                self.line.extend_from_slice(part);
            }
            if self.line.last() == Some(&b'\n') {
                self.line.pop();
                self.end_line();
            }
        }
        if self.left == 0 {
            self.end_line();
            self.emit("(the turn wrote more; the rest is dropped)");
        }
    }

    fn end_line(&mut self) {
        if self.line.is_empty() {
            return;
        }
        let line = std::mem::take(&mut self.line);
        if self.more == 0 {
            self.left = 0;
            return;
        }
        self.more -= 1;
        self.emit(&String::from_utf8_lossy(&line));
    }

    fn emit(&self, line: &str) {
        let Origin { class, object, method, invocation } = &*self.origin;
        match self.stream {
            Stream::Out => {
                tracing::info!(target: "guest", class, object, method, invocation, stream = "stdout", "{line}");
            }
            Stream::Err => {
                tracing::warn!(target: "guest", class, object, method, invocation, stream = "stderr", "{line}");
            }
        }
    }
}

/// The turn is over: what stands in the last line goes out.
impl Drop for Lines {
    fn drop(&mut self) {
        self.end_line();
    }
}

impl IsTerminal for GuestLog {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestLog {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for GuestLog {
    async fn ready(&mut self) {}
}

impl OutputStream for GuestLog {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.append(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

impl AsyncWrite for GuestLog {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.append(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
