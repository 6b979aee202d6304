//! From a host's name to a connection: one look-up, every address checked, and connected to what was checked.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use oprc_mesh::egress::{Destination, Egress, Host};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use wasmtime_wasi_http::Error;

/// Addresses of one host that are tried, one after the other.
const ADDRESSES_MAX: usize = 4;

/// Names that are looked up at once. Each keeps a thread until the system's resolver is done, however soon it is given up.
const LOOKUPS_MAX: usize = 32;

/// Places of those who look names up.
pub(super) struct Lookups(Arc<Semaphore>);

impl Lookups {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(LOOKUPS_MAX)))
    }

    /// All addresses of a name. Its place is free once the resolver is done, and not when nobody waits any more.
    async fn look_up(&self, name: &str, port: u16, until: Instant) -> Result<Vec<SocketAddr>, Error> {
        let place = timeout_at(until, self.0.clone().acquire_owned()).await.map_err(|_| Error::DnsTimeout)?;
        let name = name.to_owned();
        let resolving = tokio::spawn(async move {
            let found = lookup_host((name, port)).await.map(Iterator::collect);
            drop(place);
            found
        });
        let unknown =
            |error: std::io::Error| Error::DnsError { rcode: Some(error.to_string()), info_code: None };
        match timeout_at(until, resolving).await {
            Ok(Ok(found)) => found.map_err(unknown),
            Ok(Err(_)) => Err(Error::InternalError(Some("the look-up was cut short".to_owned()))),
            Err(_) => Err(Error::DnsTimeout),
        }
    }
}

/// Connects, until `until` at the latest.
pub(super) async fn connect(
    to: &Destination,
    egress: &Egress,
    lookups: &Lookups,
    until: Instant,
) -> Result<TcpStream, Error> {
    let addresses = permitted(to, egress, found(to, lookups, until).await?)?;
    let mut failure = Error::DestinationNotFound;
    for (tried, address) in addresses.iter().enumerate() {
        // what is left is for all that are left: one that does not answer leaves some to the next
        let left = until.saturating_duration_since(Instant::now());
        let part = left / u32::try_from(addresses.len() - tried).unwrap_or(1);
        match timeout(part, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).map_err(Error::Connect)?;
                return Ok(stream);
            }
            Ok(Err(error)) => failure = refused(&error),
            Err(_) => failure = Error::ConnectionTimeout,
        }
    }
    Err(failure)
}

/// All addresses that the host has.
async fn found(to: &Destination, lookups: &Lookups, until: Instant) -> Result<Vec<SocketAddr>, Error> {
    match &to.host {
        Host::Address(address) => Ok(vec![SocketAddr::new(*address, to.port)]),
        Host::Name(name) => lookups.look_up(name.as_str(), to.port, until).await,
    }
}

/// Those of them that may be reached.
fn permitted(to: &Destination, egress: &Egress, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Error> {
    if found.is_empty() {
        return Err(Error::DestinationNotFound);
    }
    let reached = |address: &SocketAddr| egress.reaches(&to.host, address.ip());
    let mut addresses: Vec<_> = found.into_iter().filter(reached).collect();
    addresses.truncate(ADDRESSES_MAX);
    if addresses.is_empty() {
        return Err(Error::DestinationIpProhibited);
    }
    Ok(addresses)
}

fn refused(error: &std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        ErrorKind::TimedOut => Error::ConnectionTimeout,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => {
            Error::DestinationIpUnroutable
        }
        _ => Error::DestinationUnavailable,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use oprc_mesh::egress::Scheme;

    fn to(authority: &str) -> Destination {
        Destination::of(Scheme::Http, authority).unwrap()
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 80)).collect()
    }

    /// Of a name's addresses the private ones are passed over; with none left it is as if it led nowhere.
    #[test]
    fn a_name_leads_only_to_what_it_may() {
        let egress = Egress::parse(&["http://example.com".to_owned()], &[]).unwrap();
        let through = |found: &[&str]| permitted(&to("example.com"), &egress, addresses(found));
        let mixed = ["10.0.0.1", "93.184.215.14", "::ffff:127.0.0.1", "169.254.169.254", "2606:4700::1111"];
        assert_eq!(through(&mixed).unwrap(), addresses(&["93.184.215.14", "2606:4700::1111"]));
        assert!(matches!(through(&["10.0.0.1", "::1"]), Err(Error::DestinationIpProhibited)));
        assert!(matches!(through(&[]), Err(Error::DestinationNotFound)));
        assert_eq!(through(&["1.1.1.1"; 9]).unwrap().len(), ADDRESSES_MAX);
    }

    #[tokio::test]
    async fn a_look_up_keeps_its_place_until_the_resolver_is_done() {
        let lookups = Lookups::new();
        let (free, soon) = (|| lookups.0.available_permits(), || Instant::now() + Duration::from_secs(30));
        assert!(!lookups.look_up("localhost", 80, soon()).await.unwrap().is_empty());
        assert_eq!(free(), LOOKUPS_MAX);
        // nobody waits for it any more, and it is under way
        let mut given_up = Box::pin(lookups.look_up("localhost", 80, soon()));
        assert!(futures::poll!(&mut given_up).is_pending());
        drop(given_up);
        assert_eq!(free(), LOOKUPS_MAX - 1);
        while free() < LOOKUPS_MAX {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // one past the bound waits, and no longer than it may
        let all = lookups.0.clone().acquire_many_owned(LOOKUPS_MAX as u32).await.unwrap();
        let late = Instant::now() + Duration::from_millis(50);
        assert!(matches!(lookups.look_up("localhost", 80, late).await, Err(Error::DnsTimeout)));
        drop(all);
        assert!(lookups.look_up("localhost", 80, soon()).await.is_ok());
    }

    #[tokio::test]
    async fn what_nobody_listens_on_is_refused() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let egress = Egress::parse(&[format!("http://{authority}")], &[]).unwrap();
        let (lookups, until) = (Lookups::new(), Instant::now() + Duration::from_secs(30));
        assert!(connect(&to(&authority), &egress, &lookups, until).await.is_ok());
        drop(listener);
        assert!(matches!(
            connect(&to(&authority), &egress, &lookups, until).await,
            Err(Error::ConnectionRefused)
        ));
    }
}
