//! What a turn's guest says, and where it goes: into the host's memory, and onto the span of its run.

use std::sync::Arc;

use oprc_mesh::trace::{KeyValue, Span};
use oprc_mesh::wire::{LogLine, LogStream};

use super::{Logs, now_us};

/// What a line takes up besides its text: its record, and its part of what it shares with the other lines of its turn.
pub(super) const OVERHEAD_BYTES: usize = 256;

/// Who listens to a turn's guest.
#[derive(Clone, Default)]
pub(crate) struct Said {
    /// The host's memory; none in tests and benches.
    pub(crate) logs: Option<Arc<Logs>>,
    /// The span of the run.
    pub(crate) span: Span,
}

impl std::fmt::Debug for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Said").field(&self.span).finish()
    }
}

/// Whose output it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origin {
    pub(crate) class: String,
    /// Empty for a function.
    pub(crate) object: String,
    pub(crate) method: String,
    pub(crate) invocation: String,
    pub(crate) said: Said,
}

impl Origin {
    /// The id of the trace; empty when the turn is not traced.
    pub(crate) fn trace_id(&self) -> String {
        self.said.span.trace_id().unwrap_or_default()
    }

    /// Remembers a line of the guest's, for those who read what its class prints.
    pub(crate) fn remember(self: &Arc<Self>, stream: LogStream, text: &str) {
        if let Some(logs) = &self.said.logs {
            let text = text.to_owned();
            logs.keep(&self.class, Line { time_us: now_us(), origin: self.clone(), stream, text });
        }
    }

    /// Notes a line on the span of the run.
    pub(crate) fn note(&self, stream: LogStream, text: &str) {
        self.said.span.event("log", || {
            [KeyValue::new("log.iostream", stream.as_str()), KeyValue::new("message", text.to_owned())]
        });
    }
}

/// A line as it is remembered.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) time_us: u64,
    pub(super) origin: Arc<Origin>,
    pub(super) stream: LogStream,
    pub(super) text: String,
}

impl Line {
    pub(super) fn bytes(&self) -> usize {
        self.text.len() + OVERHEAD_BYTES
    }

    pub(super) fn is_of(&self, object: Option<&str>) -> bool {
        object.is_none_or(|object| self.origin.object == object)
    }

    pub(super) fn told(&self) -> LogLine {
        let Origin { object, method, invocation, .. } = &*self.origin;
        LogLine {
            time_us: self.time_us,
            object: object.clone(),
            method: method.clone(),
            invocation: invocation.clone(),
            stream: self.stream as i32,
            trace: self.origin.trace_id(),
            text: self.text.clone(),
        }
    }
}
