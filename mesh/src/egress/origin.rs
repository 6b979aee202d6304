//! Origins as manifests name them: scheme, host and port, and nothing more.

use std::fmt;
use std::net::IpAddr;

use super::address::real;

/// A DNS name, at the most.
const NAME_BYTES_MAX: usize = 253;
/// One label of it, at the most.
const LABEL_BYTES_MAX: usize = 63;

/// How an origin is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// The port unless told.
    pub const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Whom a request is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// A DNS name in lower case.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl Host {
    /// Parses what stands between `//` and port: a name, an IPv4 address, an IPv6 address in brackets.
    ///
    /// # Errors
    /// Why it is none. What some resolvers take for an address (`127.1`, `0x7f.1`) is none and no name either.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or("a bracket is not closed")?;
            let address: std::net::Ipv6Addr =
                inner.parse().map_err(|_| "in brackets stands no IPv6 address")?;
            return Ok(Self::Address(real(address.into())));
        }
        if let Ok(address) = text.parse::<std::net::Ipv4Addr>() {
            return Ok(Self::Address(address.into()));
        }
        let name = text.to_ascii_lowercase();
        check_name(&name)?;
        Ok(Self::Name(name))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(v4)) => write!(f, "{v4}"),
            Self::Address(IpAddr::V6(v6)) => write!(f, "[{v6}]"),
        }
    }
}

fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(format!("a name has 1 to {NAME_BYTES_MAX} characters"));
    }
    let sound = |label: &str| {
        let bytes = label.as_bytes();
        let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(byte);
        (1..=LABEL_BYTES_MAX).contains(&bytes.len())
            && bytes.iter().all(inner)
            && !bytes.starts_with(b"-")
            && !bytes.ends_with(b"-")
    };
    if !name.split('.').all(sound) {
        return Err(
            "a name has parts of 1 to 63 letters, digits, `-` and `_`, with a dot between them".to_owned()
        );
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    let digits = |text: &str, of: fn(&u8) -> bool| text.as_bytes().iter().all(of);
    let hex = last.strip_prefix("0x").is_some_and(|rest| digits(rest, u8::is_ascii_hexdigit));
    if hex || digits(last, u8::is_ascii_digit) {
        return Err("it ends in a number, and is no IPv4 address of four".to_owned());
    }
    Ok(())
}

/// Which hosts an origin is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hosts {
    One(Host),
    /// All names below this one, and not itself.
    Below(String),
}

/// Where a class may send requests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    scheme: Scheme,
    pub(super) hosts: Hosts,
    port: u16,
}

impl Origin {
    /// Parses `https://api.example.com`, `http://127.0.0.1:9000`, `https://*.example.com`.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("an origin begins with https:// or http://")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err("an origin begins with https:// or http://".to_owned()),
        };
        if let Some(at) = rest.find(['/', '?', '#', '\\']) {
            return Err(format!("an origin ends with its host or port: leave out {:?}", &rest[at..]));
        }
        if rest.contains('@') {
            return Err("an origin has no user or password".to_owned());
        }
        let (host, port) = split_port(rest)?;
        let hosts = match host.strip_prefix("*.") {
            Some(parent) => Hosts::Below(parent_of_some(parent)?),
            None if host.contains('*') => {
                return Err(
                    "a star stands alone for the first part of a name, as in *.example.com".to_owned()
                );
            }
            None => Hosts::One(Host::parse(host)?),
        };
        Ok(Self { scheme, hosts, port: port.unwrap_or(scheme.port()) })
    }

    /// Whether a request goes there.
    pub(super) fn is_of(&self, scheme: Scheme, host: &Host, port: u16) -> bool {
        self.scheme == scheme
            && self.port == port
            && match (&self.hosts, host) {
                (Hosts::One(one), host) => one == host,
                (Hosts::Below(parent), Host::Name(name)) => name
                    .strip_suffix(parent.as_str())
                    .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
                (Hosts::Below(_), Host::Address(_)) => false,
            }
    }
}

/// A name below which others are, of two parts at least: nobody owns all of `com`.
fn parent_of_some(parent: &str) -> Result<String, String> {
    match Host::parse(parent)? {
        Host::Name(name) if name.contains('.') => Ok(name),
        _ => Err("a star stands before a name of two parts at least, as in *.example.com".to_owned()),
    }
}

/// Host and port; the colons of an IPv6 address stand in brackets.
pub(super) fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    if text.starts_with('[') && !text.contains(']') {
        return Err("a bracket is not closed".to_owned());
    }
    let after = text.rfind(']').map_or(0, |at| at + 1);
    let Some(colon) = text[after..].find(':') else { return Ok((text, None)) };
    let (host, port) = (&text[..after + colon], &text[after + colon + 1..]);
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| digits && *port != 0);
    Ok((host, Some(port.ok_or("a port is a number from 1 to 65535")?)))
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme.as_str())?;
        match &self.hosts {
            Hosts::One(host) => write!(f, "{host}")?,
            Hosts::Below(parent) => write!(f, "*.{parent}")?,
        }
        if self.port == self.scheme.port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_in_one_way() {
        for (text, canonical) in [
            ("https://api.example.com", "https://api.example.com"),
            ("HTTPS://API.Example.com:443", "https://api.example.com"),
            ("http://api.example.com:443", "http://api.example.com:443"),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("http://[::1]:80", "http://[::1]"),
            ("http://[::ffff:10.0.0.1]", "http://10.0.0.1"),
            ("http://localhost:80", "http://localhost"),
            ("https://*.Example.com", "https://*.example.com"),
            ("https://my_service.default.svc.cluster.local", "https://my_service.default.svc.cluster.local"),
        ] {
            let origin = Origin::parse(text).unwrap();
            assert_eq!(origin.to_string(), canonical);
            assert_eq!(Origin::parse(canonical), Ok(origin));
        }
    }

    #[test]
    fn what_is_none_is_refused_with_why() {
        for (text, why) in [
            ("api.example.com", "begins with https://"),
            ("ftp://example.com", "begins with https://"),
            ("https://example.com/", "leave out \"/\""),
            ("https://example.com/v1", "leave out \"/v1\""),
            ("https://example.com?x", "leave out"),
            ("https://user@example.com", "no user"),
            ("https://", "1 to 253"),
            ("https://example.com:0", "1 to 65535"),
            ("https://example.com:65536", "1 to 65535"),
            ("https://example.com:+1", "1 to 65535"),
            ("https://example.com:", "1 to 65535"),
            ("https://example.com.", "parts of 1 to 63"),
            ("https://-a.com", "parts of 1 to 63"),
            ("https://bücher.example", "parts of 1 to 63"),
            ("https://a b.example", "parts of 1 to 63"),
            ("https://*", "star"),
            ("https://*.com", "two parts"),
            ("https://*.10.0.0.1", "two parts"),
            ("https://a.*.example.com", "star"),
            ("https://2130706433", "ends in a number"),
            ("https://127.1", "ends in a number"),
            ("https://0x7f.0x1", "ends in a number"),
            ("https://0177.0.0.01", "ends in a number"),
            ("https://[::1", "not closed"),
            ("https://[fe80::1%eth0]", "no IPv6 address"),
            ("https://[1.2.3.4]", "no IPv6 address"),
        ] {
            let error = Origin::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_request_goes_to_an_origin_if_all_of_it_is_alike() {
        let goes = |origin: &str, scheme, host: &str, port| {
            Origin::parse(origin).unwrap().is_of(scheme, &Host::parse(host).unwrap(), port)
        };
        assert!(goes("https://api.example.com", Scheme::Https, "API.example.COM", 443));
        assert!(!goes("https://api.example.com", Scheme::Http, "api.example.com", 443));
        assert!(!goes("https://api.example.com", Scheme::Https, "api.example.com", 8443));
        assert!(!goes("https://api.example.com", Scheme::Https, "example.com", 443));
        assert!(goes("https://*.example.com", Scheme::Https, "a.b.example.com", 443));
        for other in ["example.com", "badexample.com", "a.example.com.evil.org", "10.0.0.1"] {
            assert!(!goes("https://*.example.com", Scheme::Https, other, 443), "{other}");
        }
        assert!(goes("http://[::ffff:127.0.0.1]:90", Scheme::Http, "127.0.0.1", 90));
        assert!(!goes("http://localhost", Scheme::Http, "127.0.0.1", 80), "an address is no name");
    }
}
