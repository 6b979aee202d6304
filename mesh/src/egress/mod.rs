//! Where a class's requests may go: pure decisions over what its manifest names.
//!
//! Two questions, both asked of every request. Is it for an origin that is named ([`Egress::admits`])? And may the address
//! that its host turned out to have be reached for that origin ([`Egress::reaches`])? A name is worth no more than whoever
//! answers for it in DNS, so it leads to the public Internet alone, unless the manifest names a network beside it.

mod address;
mod network;
mod origin;

use std::net::IpAddr;

pub use address::is_public;
pub use network::Network;
pub use origin::{Host, Origin, Scheme};

use crate::limits::{HTTP_NETWORKS_MAX, HTTP_ORIGINS_MAX};
use address::{is_metadata, real};

/// The one name that leads to this machine and nowhere else (RFC 6761).
const LOCALHOST: &str = "localhost";

/// What a manifest allows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Egress {
    origins: Vec<Origin>,
    networks: Vec<Network>,
}

/// Whom a request is for, as far as its URL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Whom.
    pub host: Host,
    /// Where.
    pub port: u16,
}

impl Destination {
    /// Reads it from what stands between `//` and path of a URL.
    ///
    /// # Errors
    /// Why there is none in it.
    pub fn of(scheme: Scheme, authority: &str) -> Result<Self, String> {
        if authority.contains('@') {
            return Err("a URL has a user or password".to_owned());
        }
        let (host, port) = origin::split_port(authority)?;
        Ok(Self { scheme, host: Host::parse(host)?, port: port.unwrap_or(scheme.port()) })
    }
}

impl Egress {
    /// Parses what a manifest names.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn parse(origins: &[String], networks: &[String]) -> Result<Self, String> {
        let origins = all("http", "an origin", origins, HTTP_ORIGINS_MAX, Origin::parse)?;
        let networks = all("http_networks", "a network", networks, HTTP_NETWORKS_MAX, Network::parse)?;
        Ok(Self { origins, networks })
    }

    /// The origins as they are kept: in one form each, sorted, once.
    pub fn origins(&self) -> Vec<String> {
        self.origins.iter().map(ToString::to_string).collect()
    }

    /// The networks in the same way.
    pub fn networks(&self) -> Vec<String> {
        self.networks.iter().map(ToString::to_string).collect()
    }

    /// Whether some origin is named to which the request goes.
    pub fn admits(&self, to: &Destination) -> bool {
        self.origins.iter().any(|origin| origin.is_of(to.scheme, &to.host, to.port))
    }

    /// Whether `host`, of a request that is admitted, may be reached at `address`.
    ///
    /// An address that is named is reached, whatever it is, and `localhost` is this machine. Any other name reaches what
    /// is public, and what lies in a network that is named; what tells a cloud's secrets only if that very address is.
    pub fn reaches(&self, host: &Host, address: IpAddr) -> bool {
        let address = real(address);
        match host {
            Host::Address(named) => *named == address,
            Host::Name(name) if name == LOCALHOST => address.is_loopback(),
            Host::Name(_) if is_metadata(address) => self.networks.iter().any(|network| network.is(address)),
            Host::Name(_) => is_public(address) || self.networks.iter().any(|network| network.holds(address)),
        }
    }
}

/// Parses each of `texts`, of which there are `most` at the most; the result is sorted and has each once.
fn all<T: Ord>(
    key: &str,
    what: &str,
    texts: &[String],
    most: usize,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    if texts.len() > most {
        return Err(format!("allow.{key} lists {}; {most} are allowed", texts.len()));
    }
    let parsed = texts
        .iter()
        .map(|text| parse(text).map_err(|why| format!("{text:?} in allow.{key} is not {what}: {why}")));
    let mut parsed = parsed.collect::<Result<Vec<_>, _>>()?;
    parsed.sort();
    parsed.dedup();
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn egress(origins: &[&str], networks: &[&str]) -> Egress {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        Egress::parse(&owned(origins), &owned(networks)).unwrap()
    }

    fn to(authority: &str) -> Destination {
        Destination::of(Scheme::Http, authority).unwrap()
    }

    fn reaches(egress: &Egress, host: &str, address: &str) -> bool {
        egress.reaches(&Host::parse(host).unwrap(), address.parse().unwrap())
    }

    #[test]
    fn without_a_word_nothing_is_admitted() {
        let none = Egress::default();
        for authority in ["example.com", "localhost", "127.0.0.1:80", "[::1]"] {
            assert!(!none.admits(&to(authority)), "{authority}");
        }
    }

    #[test]
    fn a_name_reaches_what_is_public_whatever_dns_says() {
        let egress = egress(&["http://example.com"], &[]);
        assert!(egress.admits(&to("example.com")) && !egress.admits(&to("example.com:81")));
        assert!(reaches(&egress, "example.com", "93.184.215.14"));
        for inside in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "fd00:ec2::254"]
        {
            assert!(!reaches(&egress, "example.com", inside), "{inside}");
        }
    }

    #[test]
    fn what_is_named_is_reached_and_nothing_else_by_that_name() {
        let egress = egress(&["http://10.0.0.1", "http://localhost:90", "http://169.254.169.254"], &[]);
        assert!(egress.admits(&to("10.0.0.1")) && egress.admits(&to("[::ffff:10.0.0.1]")));
        assert!(reaches(&egress, "10.0.0.1", "10.0.0.1") && !reaches(&egress, "10.0.0.1", "10.0.0.2"));
        assert!(egress.admits(&to("LocalHost:90")) && !egress.admits(&to("127.0.0.1:90")));
        assert!(reaches(&egress, "localhost", "127.0.0.1") && reaches(&egress, "localhost", "::1"));
        assert!(!reaches(&egress, "localhost", "10.0.0.1") && !reaches(&egress, "localhost", "8.8.8.8"));
        assert!(reaches(&egress, "169.254.169.254", "169.254.169.254"));
    }

    #[test]
    fn a_network_opens_what_lies_in_it_but_no_clouds_secrets() {
        let wide = egress(&["http://db.internal"], &["10.0.0.0/8", "169.254.0.0/16"]);
        assert!(
            reaches(&wide, "db.internal", "10.1.2.3") && reaches(&wide, "db.internal", "::ffff:10.1.2.3")
        );
        assert!(
            !reaches(&wide, "db.internal", "192.168.0.1")
                && !reaches(&wide, "db.internal", "169.254.169.254")
        );
        let exact = egress(&["http://meta.internal"], &["169.254.169.254/32"]);
        assert!(reaches(&exact, "meta.internal", "169.254.169.254"));
        assert!(!exact.admits(&to("169.254.169.254")), "a network is no origin");
    }

    #[test]
    fn what_is_written_otherwise_is_no_destination() {
        for authority in
            ["user@example.com", "2130706433", "0x7f000001", "127.1", "example.com.", "a:b:c", "", "[::1"]
        {
            assert!(Destination::of(Scheme::Http, authority).is_err(), "{authority}");
        }
    }

    #[test]
    fn so_many_are_allowed_and_no_more() {
        let origins =
            |count: usize| (0..count).map(|n| format!("https://h{n}.example.com")).collect::<Vec<_>>();
        assert_eq!(Egress::parse(&origins(HTTP_ORIGINS_MAX), &[]).unwrap().origins().len(), HTTP_ORIGINS_MAX);
        let error = Egress::parse(&origins(HTTP_ORIGINS_MAX + 1), &[]).unwrap_err();
        assert!(error.contains("allow.http lists 65; 64 are allowed"), "{error}");
        let networks = |count: usize| (0..count).map(|n| format!("10.0.{n}.0/24")).collect::<Vec<_>>();
        assert!(Egress::parse(&[], &networks(HTTP_NETWORKS_MAX)).is_ok());
        assert!(Egress::parse(&[], &networks(HTTP_NETWORKS_MAX + 1)).is_err());
    }

    proptest! {
        /// No text that a guest or a manifest may send makes the parsers panic, and what they take they write again.
        #[test]
        fn what_is_parsed_is_written_as_it_was_meant(text in "(https?://)?[\\[\\]a-z0-9.:*@%/_-]{0,24}") {
            if let Ok(origin) = Origin::parse(&text) {
                prop_assert_eq!(Origin::parse(&origin.to_string()), Ok(origin));
            }
            if let Ok(network) = Network::parse(&text) {
                prop_assert_eq!(Network::parse(&network.to_string()), Ok(network));
            }
            let _ = Destination::of(Scheme::Https, &text);
        }

        /// Without networks, a name other than `localhost` reaches exactly what is public.
        #[test]
        fn a_name_opens_nothing_inside(bits: u128, v4: u32) {
            let egress = egress(&["http://*.example.com"], &[]);
            let host = Host::parse("a.example.com").unwrap();
            let v4 = std::net::Ipv4Addr::from_bits(v4);
            for address in [IpAddr::from(std::net::Ipv6Addr::from_bits(bits)), v4.into(), v4.to_ipv6_mapped().into()] {
                prop_assert_eq!(egress.reaches(&host, address), is_public(address));
            }
        }
    }
}
