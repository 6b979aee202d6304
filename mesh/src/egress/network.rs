//! Networks that a manifest names beside the public Internet.

use std::fmt;
use std::net::IpAddr;

use super::address::{real, within_v4, within_v6};

/// The fewest bits that name an IPv4 network; fewer would name the Internet ...
const BITS_V4_MIN: u8 = 8;
/// ... and an IPv6 one: all unique local addresses are `fc00::/7`.
const BITS_V6_MIN: u8 = 7;

/// Addresses that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

impl Network {
    /// Parses `10.0.0.0/8`; an address alone is a network of one.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, bits) = match text.split_once('/') {
            None => (text, None),
            Some((address, bits)) => (address, Some(bits)),
        };
        let first: IpAddr = address.parse().map_err(|_| "it is no IP address".to_owned())?;
        if real(first) != first {
            return Err(format!("it is the IPv4 address {} in other words", real(first)));
        }
        let (bits_min, bits_max) = if first.is_ipv4() { (BITS_V4_MIN, 32) } else { (BITS_V6_MIN, 128) };
        let bits = match bits {
            None => bits_max,
            Some(bits) => bits
                .parse()
                .ok()
                .filter(|bits| (bits_min..=bits_max).contains(bits))
                .ok_or_else(|| format!("the number after the slash may be {bits_min} to {bits_max}"))?,
        };
        let network = Self { first, bits };
        if network.lowest() != first {
            return Err(format!("the network begins at {}", network.lowest()));
        }
        Ok(network)
    }

    fn lowest(self) -> IpAddr {
        match self.first {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                std::net::Ipv4Addr::from_bits(v4.to_bits() & mask).into()
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                std::net::Ipv6Addr::from_bits(v6.to_bits() & mask).into()
            }
        }
    }

    /// Whether it is of this one address.
    pub(super) fn is(self, address: IpAddr) -> bool {
        self.first == address && self.bits == if address.is_ipv4() { 32 } else { 128 }
    }

    /// Whether the address is in it.
    pub(super) fn holds(self, address: IpAddr) -> bool {
        match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => within_v4(address, (first, self.bits)),
            (IpAddr::V6(first), IpAddr::V6(address)) => within_v6(address, (first, self.bits)),
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_what_begins_as_it_does() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], "11.0.0.0"),
            ("192.168.4.0/22", ["192.168.4.0", "192.168.7.255"], "192.168.8.0"),
            ("127.0.0.1", ["127.0.0.1", "127.0.0.1"], "127.0.0.2"),
            ("fc00::/7", ["fc00::", "fdff::1"], "fe00::"),
            ("::1/128", ["::1", "::1"], "::2"),
        ] {
            let network = Network::parse(network).unwrap();
            assert!(inside.iter().all(|address| network.holds(address.parse().unwrap())), "{network}");
            assert!(!network.holds(outside.parse().unwrap()), "{network}");
            assert_eq!(Network::parse(&network.to_string()), Ok(network));
        }
    }

    #[test]
    fn what_is_none_is_refused_with_why() {
        for (text, why) in [
            ("0.0.0.0/0", "8 to 32"),
            ("10.0.0.0/7", "8 to 32"),
            ("10.0.0.0/33", "8 to 32"),
            ("::/0", "7 to 128"),
            ("10.0.0.0/", "8 to 32"),
            ("10.1.0.0/8", "begins at 10.0.0.0"),
            ("::ffff:10.0.0.0/104", "IPv4 address 10.0.0.0"),
            ("db.internal", "no IP address"),
            ("", "no IP address"),
        ] {
            let error = Network::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
