//! From a host's name to a connection: one look-up, every address checked, and connected to what was checked.

use std::io::ErrorKind;
use std::net::SocketAddr;

use oprc_mesh::egress::{Destination, Egress, Host};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use wasmtime_wasi_http::Error;

/// Addresses of one host that are tried, one after the other.
const ADDRESSES_MAX: usize = 4;

/// Connects, until `until` at the latest.
pub(super) async fn connect(to: &Destination, egress: &Egress, until: Instant) -> Result<TcpStream, Error> {
    let addresses = permitted(to, egress, found(to, until).await?)?;
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
async fn found(to: &Destination, until: Instant) -> Result<Vec<SocketAddr>, Error> {
    let name = match &to.host {
        Host::Address(address) => return Ok(vec![SocketAddr::new(*address, to.port)]),
        Host::Name(name) => name.as_str(),
    };
    let looked_up = timeout_at(until, lookup_host((name, to.port))).await.map_err(|_| Error::DnsTimeout)?;
    let unknown = |error: std::io::Error| Error::DnsError { rcode: Some(error.to_string()), info_code: None };
    Ok(looked_up.map_err(unknown)?.collect())
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
    async fn what_nobody_listens_on_is_refused() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let egress = Egress::parse(&[format!("http://{authority}")], &[]).unwrap();
        let until = Instant::now() + std::time::Duration::from_secs(30);
        assert!(connect(&to(&authority), &egress, until).await.is_ok());
        drop(listener);
        assert!(matches!(connect(&to(&authority), &egress, until).await, Err(Error::ConnectionRefused)));
    }
}
