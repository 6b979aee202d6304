//! The text of a stream (Server-Sent Events, in the HTML standard): blocks of lines, each ended by an empty one. An event
//! of the grid is a block without a name, so that a browser's `onmessage` gets it; `gap` and `end` have theirs.

use oprc_mesh::json::write_string;

/// A client that loses its connection comes back after so many milliseconds.
const RETRY_MS: u64 = 1_000;

/// Why a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The reader did not take what was sent.
    Slow,
    /// The gateway stops.
    Stopping,
    /// The class was removed.
    Removed,
    /// The class's objects lie elsewhere now.
    Moved,
    /// Its reader may not have it any more.
    Denied,
}

impl End {
    const fn reason(self) -> &'static str {
        match self {
            Self::Slow => "slow-reader",
            Self::Stopping => "stopping",
            Self::Removed => "class-removed",
            Self::Moved => "class-moved",
            Self::Denied => "denied",
        }
    }

    const fn detail(self) -> &'static str {
        match self {
            Self::Slow => "the events were not read as fast as they came; come back with the last id",
            Self::Stopping => "the gateway is stopping; come back with the last id",
            Self::Removed => "the class was removed",
            Self::Moved => "the class's objects have moved; come back with the last id",
            Self::Denied => "the key or token that was shown allows this no more",
        }
    }

    /// The last block of a stream. It has no id: a reader that comes back goes on after the last event that it got.
    pub(crate) fn block(self) -> Vec<u8> {
        let (reason, detail) = (self.reason(), self.detail());
        format!("event: end\ndata: {{\"reason\":\"{reason}\",\"detail\":\"{detail}\"}}\n\n").into_bytes()
    }
}

/// Why events are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gap {
    /// They are older than what the grid keeps.
    Trimmed,
    /// The place to go on from is not of this stream, or not any more.
    Unknown,
}

/// A block with an event; `members` is what [`oprc_mesh::events::write_members`] writes.
pub(crate) fn event(out: &mut Vec<u8>, id: &str, members: &[u8]) {
    begin(out, id);
    out.extend_from_slice(b"data: {\"id\":\"");
    out.extend_from_slice(id.as_bytes());
    out.push(b'"');
    out.extend_from_slice(members);
    out.extend_from_slice(b"\n\n");
}

/// A block that says that events are missing before what follows.
pub(crate) fn gap(out: &mut Vec<u8>, id: &str, class: &str, object: Option<&str>, gap: Gap) {
    out.extend_from_slice(b"event: gap\n");
    begin(out, id);
    out.extend_from_slice(b"data: {\"id\":\"");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b"\",\"class\":");
    write_string(out, class);
    if let Some(object) = object {
        out.extend_from_slice(b",\"object\":");
        write_string(out, object);
    }
    let reason = match gap {
        Gap::Trimmed => "trimmed",
        Gap::Unknown => "unknown-id",
    };
    out.extend_from_slice(format!(",\"reason\":\"{reason}\"}}\n\n").as_bytes());
}

/// The first block: from here on nothing is missed.
pub(crate) fn opening(id: &str) -> Vec<u8> {
    format!("retry: {RETRY_MS}\nid: {id}\n: watching\n\n").into_bytes()
}

/// A block without an event: it shows that the stream is alive, and moves the place from which its reader would go on.
pub(super) fn heartbeat(id: &str) -> Vec<u8> {
    format!("id: {id}\n: heartbeat\n\n").into_bytes()
}

fn begin(out: &mut Vec<u8>, id: &str) {
    out.extend_from_slice(b"id: ");
    out.extend_from_slice(id.as_bytes());
    out.push(b'\n');
}
