//! What a gateway may be told, with its bounds and what happens at each.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::access::Access;
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
    /// Calls under way at once; one more is `overloaded` (429).
    pub concurrency_max: usize,
    /// Open connections; further ones wait in the listener's backlog.
    pub connections_max: usize,
    /// Streams of events read at once; one more is `overloaded` (429).
    pub readers_max: usize,
    /// Bytes of request bodies held at once, apart from the first 64 KiB of each; more is `overloaded` (429).
    pub held_bytes_max: usize,
    /// A request body must have arrived in so long, unless its deadline is sooner; later is `deadline` (504).
    pub body_ms: u64,
    /// The same for the upload of a component.
    pub upload_ms: u64,
    /// A connection without a request for so long is closed; so is one that sends its headers, or takes its response,
    /// slower than that.
    pub idle_ms: u64,
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
            concurrency_max: 1_024,
            connections_max: CONNECTIONS_DEFAULT,
            readers_max: READERS_DEFAULT,
            held_bytes_max: HELD_BYTES_DEFAULT,
            body_ms: 30_000,
            upload_ms: 600_000,
            idle_ms: 60_000,
            drain_ms: 15_000,
            sources: Sources::default(),
        }
    }
}

/// A stream takes a connection for as long as it is read: some are left for calls.
const CONNECTIONS_DEFAULT: usize = 16_384;
const READERS_DEFAULT: usize = 10_000;
const HELD_BYTES_DEFAULT: usize = 256 * 1024 * 1024;

/// Streams of what guests print that are read at once; one more is `overloaded` (429). Each has a question waiting at every
/// host, and these are answered from the places that calls have there as well.
pub(crate) const FOLLOWERS_MAX: usize = 128;

// The largest body must fit, or it could never be sent; an upload may outlast any call.
const _: () = assert!(HELD_BYTES_DEFAULT >= REQUEST_BYTES_MAX);
const _: () = assert!(DEADLINE_MS_MAX < 600_000);
const _: () = assert!(READERS_DEFAULT < CONNECTIONS_DEFAULT);
