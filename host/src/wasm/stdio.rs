//! A guest's standard output and error: lines in the log, each with the turn that it came from, and in the memory of the
//! host ([`crate::logs`]). The log of the process takes a part of what one turn prints; the memory takes all, and keeps the
//! newest.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::LogStream;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::access::ObjectAccess;
use super::call::Call;
use crate::logs::Origin;

/// A line is broken after so many bytes.
const LINE_BYTES_MAX: usize = 4 * 1024;
/// Of one turn's output; the rest is not logged and a line says so.
const TURN_BYTES_MAX: usize = 64 * 1024;
/// Lines of one stream of one turn; the rest is not logged likewise. A line in the log costs far more than its bytes.
const TURN_LINES_MAX: usize = 500;
/// What a guest may write at once.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// Whose output a turn's is.
pub(super) fn origin(call: &Call, access: &dyn ObjectAccess) -> Arc<Origin> {
    Arc::new(Origin {
        class: call.class.to_string(),
        object: access.object().map(|(_, id)| id.to_string()).unwrap_or_default(),
        method: call.method.to_string(),
        invocation: call.invocation.clone(),
        said: call.said.clone(),
    })
}

/// Tells those who read what a class prints how a run ended that was cut short.
pub(super) fn tell_end(problem: &Problem, call: &Call, access: &dyn ObjectAccess) {
    if matches!(problem.kind(), Code::Trap | Code::CpuLimit | Code::MemoryLimit | Code::WallLimit) {
        origin(call, access).remember(LogStream::Host, &problem.detail);
    }
}

/// One stream of one turn. Clones are the same stream.
#[derive(Clone)]
pub(super) struct GuestLog(Arc<Mutex<Lines>>);

struct Lines {
    origin: Arc<Origin>,
    stream: LogStream,
    line: Vec<u8>,
    /// Bytes that may still be logged.
    left: usize,
    /// Lines that may still be logged.
    more: usize,
    /// It was said that there is more.
    cut: bool,
}

impl GuestLog {
    pub(super) fn new(origin: Arc<Origin>, stream: LogStream) -> Self {
        let (left, more) = (TURN_BYTES_MAX, TURN_LINES_MAX);
        Self(Arc::new(Mutex::new(Lines { origin, stream, line: Vec::new(), left, more, cut: false })))
    }

    fn append(&self, bytes: &[u8]) {
        self.0.lock().append(bytes);
    }
}

impl Lines {
    fn append(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (piece, ended) = piece.strip_suffix(b"\n").map_or((piece, false), |piece| (piece, true));
            for part in piece.chunks(LINE_BYTES_MAX) {
                if self.line.len() + part.len() > LINE_BYTES_MAX {
                    self.end_line();
                }
                self.line.extend_from_slice(part);
            }
            if ended {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        if self.line.is_empty() {
            return;
        }
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        self.origin.remember(self.stream, &text);
        if self.more > 0 && line.len() <= self.left {
            self.more -= 1;
            self.left -= line.len();
            self.origin.note(self.stream, &text);
            self.emit(&text);
        } else if !std::mem::replace(&mut self.cut, true) {
            (self.more, self.left) = (0, 0);
            self.emit("(the turn wrote more; the rest is dropped)");
        }
    }

    fn emit(&self, line: &str) {
        let Origin { class, object, method, invocation, said } = &*self.origin;
        let (trace_id, span_id) = (said.span.trace_id(), said.span.span_id()); // absent ones are left out
        let stream = self.stream.as_str();
        if self.stream == LogStream::Err {
            tracing::warn!(target: "guest", class, object, method, invocation, stream, trace_id, span_id, "{line}");
        } else {
            tracing::info!(target: "guest", class, object, method, invocation, stream, trace_id, span_id, "{line}");
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::logs::{Logs, Said};
    use oprc_mesh::limits::{LOG_PAGE_BYTES_MAX, LOG_TAIL_MAX};
    use oprc_mesh::wire::ReadLogs;
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    #[tokio::test]
    async fn of_a_hundred_megabytes_the_newest_are_remembered() {
        let logs = Arc::new(Logs::default());
        let said = Said { logs: Some(logs.clone()), ..Said::default() };
        let log =
            GuestLog::new(Arc::new(Origin { class: "C".into(), said, ..Origin::default() }), LogStream::Out);
        let lines = b"0123456789012345678901234567890123456789012345678\n".repeat(20_000);
        for _ in 0..100 {
            log.append(&lines);
        }
        log.append(b"the last\nand what has no end");
        drop(log);
        let read = ReadLogs { class: "C".into(), tail: LOG_TAIL_MAX as u32, ..ReadLogs::default() };
        let page = logs.read(&read, Instant::now(), &CancellationToken::new()).await.unwrap();
        let newest: Vec<&str> = page.items.iter().rev().take(2).map(|line| &*line.text).collect();
        assert_eq!(newest, ["and what has no end", "the last"]);
        let bytes: usize = page.items.iter().map(|line| line.text.len()).sum();
        assert!(bytes <= LOG_PAGE_BYTES_MAX && page.items.len() > 500, "{bytes} {}", page.items.len());
    }
}
