//! What a gateway may be told, with its bounds and what happens at each.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::access::Access;
use crate::origins::Origins;
use crate::tls::TlsFiles;
use oprc_mesh::limits::{DEADLINE_MS_MAX, REQUEST_BYTES_MAX};
use oprc_mesh::metrics::Source;

/// How a gateway serves.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Who may use it.
    pub access: Access,
    /// What TLS is served with; without, plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Web pages of which origins may use it.
    pub origins: Origins,
    /// Calls under way at once, at the most; one more is `overloaded` (429). Under strain fewer are let in.
    pub concurrency_max: usize,
    /// Of them so many are let in whatever strain there seems to be.
    pub concurrency_min: usize,
    /// Open connections; for one more the one that has idled for the longest is closed, or else it waits.
    pub connections_max: usize,
    /// Streams of events read at once; one more is `overloaded` (429).
    pub readers_max: usize,
    /// Bytes of request bodies held at once, apart from the first 64 KiB of each; more is `overloaded` (429).
    pub held_bytes_max: usize,
    /// Bytes of answers that wait for their readers; from half of it on slow ones are given up, at all of it requests are
    /// `overloaded` (429).
    pub untaken_bytes_max: usize,
    /// A request body must have arrived in so long, unless its deadline is sooner; later is `deadline` (504).
    pub body_ms: u64,
    /// The same for the upload of a component.
    pub upload_ms: u64,
    /// A connection without a request for so long is closed.
    pub idle_ms: u64,
    /// A request's headers must have arrived in so long from their first byte, and the first request of a connection from
    /// its beginning; later the connection is closed.
    pub header_ms: u64,
    /// Bodies that come slower than this, over 10 s, and answers that are taken slower, over 30 s, are cut off: bytes in a
    /// second.
    pub bytes_per_s_min: u64,
    /// Requests under way at shutdown may take so long to finish; then their connections are cut.
    pub drain_ms: u64,
    /// What else of this process its page of metrics tells.
    pub sources: Sources,
}

/// Parts of the process that have metrics to tell.
#[derive(Clone, Default)]
pub struct Sources(pub Vec<Arc<dyn Source>>);

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sources", self.0.len())
    }
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            access: Access::Open,
            tls: None,
            origins: Origins::default(),
            concurrency_max: 1_024,
            concurrency_min: 64,
            connections_max: CONNECTIONS_DEFAULT,
            readers_max: READERS_DEFAULT,
            held_bytes_max: HELD_BYTES_DEFAULT,
            untaken_bytes_max: 256 * 1024 * 1024,
            body_ms: 30_000,
            upload_ms: 600_000,
            idle_ms: 60_000,
            header_ms: 10_000,
            bytes_per_s_min: 256,
            drain_ms: 15_000,
            sources: Sources::default(),
        }
    }
}

/// How fast a body comes is looked at over so long.
pub(crate) const SLOW_MS: u64 = 10_000;

/// A stream takes a connection for as long as it is read: some are left for calls.
const CONNECTIONS_DEFAULT: usize = 16_384;
const READERS_DEFAULT: usize = 10_000;
const HELD_BYTES_DEFAULT: usize = 256 * 1024 * 1024;

/// Streams of what guests print that are read at once; one more is `overloaded` (429). Each has a question waiting at every
/// host, and these are answered from the places that calls have there as well.
pub(crate) const FOLLOWERS_MAX: usize = 128;

/// Streams of gRPC's health and reflection at once, which anybody may open; one more is `RESOURCE_EXHAUSTED`. A single question
/// after the health is none.
pub(crate) const PROBES_MAX: usize = 256;

// The largest body must fit, or it could never be sent; an upload may outlast any call.
const _: () = assert!(HELD_BYTES_DEFAULT >= REQUEST_BYTES_MAX);
const _: () = assert!(DEADLINE_MS_MAX < 600_000);
const _: () = assert!(READERS_DEFAULT < CONNECTIONS_DEFAULT);
