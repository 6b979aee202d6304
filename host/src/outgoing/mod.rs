//! Requests that turns send out of the cluster.
//!
//! One request's way: a place among all requests of this host, a look at where its host is and which of those addresses may
//! be reached, a connection to one of them and to no other, TLS by the origin's name, the exchange. Names are looked up
//! once and what is connected to is what was checked, so that no second answer of DNS can lead elsewhere. Redirects are
//! the guest's to follow, under the same checks; proxies that the environment names are none of a guest's.
//!
//! Each request has a connection of its own, which ends with it or with its turn.

mod body;
mod connect;
mod exchange;
mod failure;
#[cfg(test)]
mod tests;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use oprc_mesh::egress::{Destination, Egress, Scheme};
use oprc_mesh::limits::{
    HTTP_BETWEEN_BYTES_MS_MAX, HTTP_CONNECT_MS_MAX, HTTP_FIRST_BYTE_MS_MAX, HTTP_REQUESTS_PER_HOST_MAX,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use connect::Lookups;
use tls::Tls;

pub(crate) use exchange::Sent;

/// Everything that requests share. Clones share it.
#[derive(Clone)]
pub(crate) struct Outgoing(Arc<Shared>);

struct Shared {
    places: Arc<Semaphore>,
    lookups: Lookups,
    tls: Tls,
}

/// A request's circumstances.
pub(crate) struct Trip {
    /// Whom it is for; the manifest names it.
    pub(crate) to: Destination,
    /// What the manifest names.
    pub(crate) egress: Arc<Egress>,
    /// How long each part may take.
    pub(crate) times: Times,
    /// Its place among the requests of its turn.
    pub(crate) place: OwnedSemaphorePermit,
}

/// How long each part of a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
    /// When its turn ends.
    until: Instant,
}

impl Times {
    /// What the guest wants, as far as it may.
    pub(crate) fn of(options: Option<RequestOptions>, until: Instant) -> Self {
        let options = options.unwrap_or_default();
        let within = |wanted: Option<Duration>, ms_max| {
            let most = Duration::from_millis(ms_max);
            wanted.map_or(most, |wanted| wanted.min(most))
        };
        Self {
            connect: within(options.connect_timeout, HTTP_CONNECT_MS_MAX),
            first_byte: within(options.first_byte_timeout, HTTP_FIRST_BYTE_MS_MAX),
            between_bytes: within(options.between_bytes_timeout, HTTP_BETWEEN_BYTES_MS_MAX),
            until,
        }
    }

    /// When what begins now and may take so long is over.
    fn end_of(&self, part: Duration) -> Instant {
        self.until.min(Instant::now() + part)
    }
}

impl Outgoing {
    pub(crate) fn new() -> Self {
        let places = Arc::new(Semaphore::new(HTTP_REQUESTS_PER_HOST_MAX));
        Self(Arc::new(Shared { places, lookups: Lookups::new(), tls: Tls::default() }))
    }

    /// Sends a request whose turn may let it go, and gives the response once its head is there.
    ///
    /// # Errors
    /// Why there is none, in the words of `wasi:http`.
    pub(crate) async fn send(&self, request: Request<WasiBody>, trip: Trip) -> Result<Sent, Error> {
        let host_place =
            self.0.places.clone().try_acquire_owned().map_err(|_| Error::ConnectionLimitReached)?;
        let Trip { to, egress, times, place } = trip;
        let until = times.end_of(times.connect);
        let stream = connect::connect(&to, &egress, &self.0.lookups, until).await?;
        let places = [place, host_place];
        match to.scheme {
            Scheme::Http => exchange::exchange(stream, request, times, places).await,
            Scheme::Https => {
                let wrapped = timeout_at(until, self.0.tls.wrap(&to.host, stream)).await;
                let stream = wrapped.map_err(|_| Error::ConnectionTimeout)??;
                exchange::exchange(stream, request, times, places).await
            }
        }
    }
}
