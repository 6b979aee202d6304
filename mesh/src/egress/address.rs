//! Which addresses are of the public Internet. What is not certain to be public is taken for private: whoever wants it
//! reached names it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where clouds tell an instance its credentials; networks that happen to hold one of them do not name it.
const METADATA: &[IpAddr] = &[
    // all the large ones
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    // containers of AWS
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    // Google
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    // Alibaba
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    // Azure's host, which has an address that looks public
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

/// Networks that are not of the public Internet (IANA's special-purpose registry), as address and bits.
const SPECIAL_V4: &[(Ipv4Addr, u8)] = &[
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // multicast, and everything from there on
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Of the one range of IPv6 that is public at all (`2000::/3`), what is not.
const SPECIAL_V6: &[(Ipv6Addr, u8)] = &[
    // protocols of their own: Teredo, benchmarks, ORCHID
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    // 6to4 holds an IPv4 address, and nobody offers it any more
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];
const GLOBAL_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
/// The well-known prefix of NAT64 (RFC 6052): the last four bytes are the IPv4 address that is reached.
const NAT64: (Ipv6Addr, u8) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// The address that is really meant: an IPv4 one that is written or translated as IPv6 is itself.
pub(super) fn real(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return v4.into();
    }
    if within_v6(v6, NAT64) {
        let [.., a, b, c, d] = v6.octets();
        return Ipv4Addr::new(a, b, c, d).into();
    }
    address
}

/// Whether an address is of the public Internet, and of nobody's inside.
pub fn is_public(address: IpAddr) -> bool {
    let real = real(address);
    !is_metadata(real)
        && match real {
            IpAddr::V4(v4) => !SPECIAL_V4.iter().any(|network| within_v4(v4, *network)),
            IpAddr::V6(v6) => {
                within_v6(v6, GLOBAL_V6) && !SPECIAL_V6.iter().any(|network| within_v6(v6, *network))
            }
        }
}

/// Whether a cloud tells its secrets at that address.
pub(super) fn is_metadata(real: IpAddr) -> bool {
    METADATA.contains(&real)
}

pub(super) fn within_v4(address: Ipv4Addr, (network, bits): (Ipv4Addr, u8)) -> bool {
    let apart = address.to_bits() ^ network.to_bits();
    apart.checked_shr(32 - u32::from(bits)).unwrap_or(0) == 0
}

pub(super) fn within_v6(address: Ipv6Addr, (network, bits): (Ipv6Addr, u8)) -> bool {
    let apart = address.to_bits() ^ network.to_bits();
    apart.checked_shr(128 - u32::from(bits)).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn public(text: &str) -> bool {
        is_public(text.parse().unwrap())
    }

    #[test]
    fn what_is_public_begins_and_ends_where_the_registry_says() {
        // the last address before each network, its first, its last, the first after it
        for (before, first, last, after) in [
            ("9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"),
            ("100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"),
            ("126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"),
            ("169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"),
            ("172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"),
            ("191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"),
            ("192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"),
            ("192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"),
            ("192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"),
            ("198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"),
            ("198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"),
            ("203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"),
            ("168.63.129.15", "168.63.129.16", "168.63.129.16", "168.63.129.17"),
            ("2001:db7:ffff::", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"),
            ("2001:ffff::", "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::"),
            ("3ffe:ffff::", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"),
        ] {
            assert!(public(before) && public(after), "{before} {after}");
            assert!(!public(first) && !public(last), "{first} {last}");
        }
    }

    #[test]
    fn what_belongs_to_nobody_outside_is_not_public() {
        for inside in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "169.254.169.254",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",           // IPv4-compatible
            "::ffff:127.0.0.1",   // IPv4-mapped
            "::ffff:0:127.0.0.1", // IPv4-translated (SIIT)
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::808:808",
            "100::1",
            "2001::1",        // Teredo
            "2001:2::1",      // benchmarks
            "2001:10::1",     // ORCHID
            "2001:20::1",     // ORCHIDv2
            "2002:7f00:1::",  // 6to4 of 127.0.0.1
            "2002:808:808::", // 6to4 of a public one
            "5f00::1",        // segment routing
            "fc00::1",
            "fd00::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "1::1",
            "4000::1",
        ] {
            assert!(!public(inside), "{inside}");
        }
        for outside in [
            "1.1.1.1",
            "8.8.8.8",
            "93.184.215.14",
            "2606:4700:4700::1111",
            "64:ff9b::808:808",
            "::ffff:8.8.8.8",
        ] {
            assert!(public(outside), "{outside}");
        }
    }

    /// Every way to write an IPv4 address within an IPv6 one.
    fn disguises(v4: Ipv4Addr) -> [Ipv6Addr; 6] {
        let bits = u128::from(v4.to_bits());
        [
            v4.to_ipv6_mapped(),
            Ipv6Addr::from_bits(bits),
            Ipv6Addr::from_bits(0xffff_u128 << 48 | bits),
            Ipv6Addr::from_bits(NAT64.0.to_bits() | bits),
            Ipv6Addr::from_bits(0x64_ff9b_0001_u128 << 80 | bits),
            Ipv6Addr::from_bits(0x2002_u128 << 112 | bits << 80),
        ]
    }

    proptest! {
        #[test]
        fn no_disguise_makes_a_private_address_public(network in 0..SPECIAL_V4.len(), host: u32) {
            let (network, bits) = SPECIAL_V4[network];
            let address = Ipv4Addr::from_bits(network.to_bits() | (host & (u32::MAX >> bits)));
            prop_assert!(!is_public(address.into()));
            for disguise in disguises(address) {
                prop_assert!(!is_public(disguise.into()), "{disguise}");
            }
        }

        #[test]
        fn nothing_local_is_public(bits: u128) {
            for (network, length) in [("fc00::", 7), ("fe80::", 10), ("fec0::", 10), ("ff00::", 8), ("::", 96)] {
                let network: Ipv6Addr = network.parse().unwrap();
                let address = Ipv6Addr::from_bits(network.to_bits() | (bits & (u128::MAX >> length)));
                prop_assert!(!is_public(address.into()), "{address}");
            }
        }

        /// The standard library's own words for what it has words for.
        #[test]
        fn what_the_library_calls_local_is_not_public(bits: u32) {
            let v4 = Ipv4Addr::from_bits(bits);
            let local = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_broadcast()
                || v4.is_documentation() || v4.is_multicast() || v4.is_unspecified();
            prop_assert!(!(local && is_public(v4.into())));
        }
    }
}
