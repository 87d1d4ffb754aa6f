//! Which IP addresses may be dialled. Pure.
//!
//! Everything that is not globally routable is refused unless an allow-list names it, after IPv4
//! addresses inside IPv6 are unwrapped, as these reach the IPv4 network through a gateway or the
//! local stack: mapped (RFC 4291 2.5.5.2), compatible (2.5.5.1), NAT64 (RFC 6052, RFC 8215),
//! 6to4 (RFC 3056), Teredo (RFC 4380), ISATAP (RFC 5214).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The networks that an operator allows beyond the public ones.
#[derive(Debug, Default)]
pub struct Allowed {
    networks: Vec<IpNet>,
}

impl Allowed {
    /// Returns a rule that allows public addresses and these networks.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self { networks }
    }

    /// Returns whether the address may be dialled.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = match address {
            IpAddr::V6(v6) => embedded_v4(v6).map_or(address, IpAddr::V4),
            IpAddr::V4(_) => address,
        };
        is_public(address) || self.networks.iter().any(|network| network.contains(&address))
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !FORBIDDEN_V4.iter().any(|&(network, bits)| in_v4(v4, network, bits)),
        // Global unicast is 2000::/3 (RFC 4291); a few blocks of it are not for the public.
        IpAddr::V6(v6) => {
            in_v6(v6, [0x2000, 0], 3) && !FORBIDDEN_V6.iter().any(|&(network, bits)| in_v6(v6, network, bits))
        }
    }
}

/// The IANA IPv4 special-purpose registry (RFC 6890 and its updates), multicast and the reserved space.
const FORBIDDEN_V4: [([u8; 4], u32); 16] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 31, 196, 0], 24),
    ([192, 52, 193, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 3),
];

/// Blocks of `2000::/3` that are not public: protocol assignments, documentation, 6to4 with no public
/// IPv4 inside is unwrapped before.
const FORBIDDEN_V6: [([u16; 2], u32); 3] = [([0x2001, 0], 23), ([0x2001, 0x0db8], 32), ([0x3fff, 0], 20)];

fn in_v4(address: Ipv4Addr, network: [u8; 4], bits: u32) -> bool {
    let shift = 32 - bits;
    u32::from(address) >> shift == u32::from(Ipv4Addr::from(network)) >> shift
}

fn in_v6(address: Ipv6Addr, network: [u16; 2], bits: u32) -> bool {
    let [a, b, ..] = address.segments();
    let shift = 32 - bits;
    let join = |high: u16, low: u16| (u32::from(high) << 16 | u32::from(low)) >> shift;
    join(a, b) == join(network[0], network[1])
}

fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        // Teredo hides the client's address inverted.
        [0x2001, 0, .., high, low] => v4(!high, !low),
        // Mapped and compatible (`::` and `::1` fall into 0.0.0.0/8), the SIIT spelling, NAT64's well-known
        // prefix (of the local one the operator's split is unknown: refused as not public), 6to4, ISATAP.
        [0, 0, 0, 0, 0, 0xffff | 0, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..]
        | [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => v4(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_not_public_are_refused() {
        let rule = Allowed::default();
        for address in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "169.254.20.10",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:0:a00:1",
            "::10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:a00:1::",
            "2001:0::",
            "2001:0:1:2:3:4:f5ff:fffe",
            "2a00::5efe:10.0.0.1",
            "2a00::200:5efe:a00:1",
            "fe80::1",
            "fc00::1",
            "fd00::1",
            "fec0::1",
            "ff02::1",
            "5f00::1",
            "3fff::1",
            "2001:db8::1",
            "100::1",
        ] {
            assert!(!rule.permits(address.parse().expect("an address")), "{address}");
        }
    }

    #[test]
    fn public_addresses_are_permitted() {
        let rule = Allowed::default();
        for address in
            ["1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700::1111", "64:ff9b::101:101", "2002:101:101::"]
        {
            assert!(rule.permits(address.parse().expect("an address")), "{address}");
        }
    }

    #[test]
    fn an_allow_list_opens_its_networks_only() {
        let rule = Allowed::new(vec!["10.1.0.0/16".parse().expect("a network")]);
        assert!(rule.permits("10.1.2.3".parse().expect("an address")));
        assert!(rule.permits("::ffff:10.1.2.3".parse().expect("an address")));
        assert!(!rule.permits("10.2.0.1".parse().expect("an address")));
    }
}
