//! Which IP addresses may be dialled. Pure.
//!
//! Everything that is not globally routable is refused unless a network of the allow-list holds it.
//! What would otherwise get around that:
//!
//! | bypass | closed by |
//! |---|---|
//! | private, shared, loopback, link-local, benchmarking, documentation, multicast, reserved IPv4 | [`NOT_PUBLIC_V4`], from the IANA special-purpose registry (RFC 6890; CGNAT: RFC 6598) |
//! | private, loopback, link-local, site-local (RFC 3879), multicast, discard (RFC 6666), segment routing (RFC 9602) IPv6 | only `2000::/3` is global unicast (RFC 4291 2.4) |
//! | protocol assignments, documentation (RFC 3849, RFC 9637), AS112 (RFC 7535) inside of `2000::/3` | [`NOT_PUBLIC_V6`] |
//! | IPv4-mapped `::ffff:a.b.c.d` (RFC 4291 2.5.5.2): the local stack dials the IPv4 address | judged as that address |
//! | NAT64 `64:ff9b::/96` (RFC 6052): a translator dials the IPv4 address | judged as that address |
//! | local-use NAT64 `64:ff9b:1::/48` (RFC 8215) | refused, unless a network within it is allowed: its length says where the IPv4 address is, which is judged too |
//! | IPv4-compatible (RFC 4291 2.5.5.1) and SIIT's `::ffff:0:a.b.c.d` (RFC 2765) | refused, and where they are allowed the address inside is judged too |
//! | 6to4 `2002::/16` (RFC 3056, RFC 7526), Teredo `2001::/32` (RFC 4380: server, and client inverted), ISATAP `::[02]00:5efe:a.b.c.d` (RFC 5214) | the same; ISATAP's form is found below every prefix |
//! | the cloud's own services: credentials at `169.254.169.254` and its like, some of them in shared, private or even public space | [`METADATA`]: allowed by their own address alone, never by a wider network or a host's name |
//!
//! The table of tests is `tests/egress/vectors.rs`; a property test compares this module with a second
//! implementation made of the standard library's predicates.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// What an address is, before any allow-list is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Globally routable.
    Public,
    /// For use inside of an organization: RFC 1918, RFC 6598 (shared), RFC 4193 (unique local). A host
    /// of the allow-list may have it.
    Private,
    /// Anything else, such as loopback and link-local: only the allow-list of networks permits it.
    Special,
}

/// The networks that an operator allows beyond the public ones.
#[derive(Debug, Default, Clone)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Returns a rule that allows public addresses and these networks.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Returns whether the address may be dialled.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = canonical(address);
        let own = match reach(address) {
            Reach::Public => true,
            Reach::Private | Reach::Special => self.holds(address),
        };
        own && self.embedded(address).all(|inner| self.permits(inner.into()))
    }

    fn holds(&self, address: IpAddr) -> bool {
        let exactly = METADATA.contains(&address);
        self.0
            .iter()
            .any(|network| network.contains(&address) && (!exactly || network.prefix_len() == network.max_prefix_len()))
    }

    /// Returns the IPv4 addresses that a tunnel or translator would dial for an IPv6 address.
    fn embedded(&self, address: IpAddr) -> impl Iterator<Item = Ipv4Addr> {
        let IpAddr::V6(v6) = address else { return Vec::new().into_iter() };
        let mut found = embedded_v4(v6);
        if in_v6(v6, NAT64_LOCAL) {
            // Which of the prefixes inside is in use, only the operator's list tells.
            let lengths = self.0.iter().filter(|it| it.contains(&address)).map(IpNet::prefix_len);
            found.extend(lengths.map(|length| nat64_v4(v6, length).unwrap_or(Ipv4Addr::UNSPECIFIED)));
        }
        found.into_iter()
    }
}

/// Returns what an address is; IPv4-mapped and NAT64's well-known addresses are what they lead to.
#[must_use]
pub fn reach(address: IpAddr) -> Reach {
    let address = canonical(address);
    if METADATA.contains(&address) {
        return Reach::Special;
    }
    let (private, special) = match address {
        IpAddr::V4(v4) => {
            (PRIVATE_V4.iter().any(|&block| in_v4(v4, block)), NOT_PUBLIC_V4.iter().any(|&block| in_v4(v4, block)))
        }
        IpAddr::V6(v6) => {
            let leads_elsewhere = embedded_v4(v6).iter().any(|&inner| reach(inner.into()) != Reach::Public);
            let reserved = NOT_PUBLIC_V6.iter().any(|&block| in_v6(v6, block));
            let private = in_v6(v6, UNIQUE_LOCAL) && !leads_elsewhere;
            (private, !in_v6(v6, GLOBAL_UNICAST) || reserved || leads_elsewhere)
        }
    };
    if private {
        Reach::Private
    } else if special {
        Reach::Special
    } else {
        Reach::Public
    }
}

/// An IPv4 network: address and length.
type V4 = ([u8; 4], u32);
/// An IPv6 network: the first 48 bits and the length.
type V6 = ([u16; 3], u32);

/// Addresses for use inside of an organization.
const PRIVATE_V4: [V4; 4] = [([10, 0, 0, 0], 8), ([100, 64, 0, 0], 10), ([172, 16, 0, 0], 12), ([192, 168, 0, 0], 16)];

/// The rest of the IANA IPv4 special-purpose registry, multicast and the reserved space. Blocks that it
/// calls globally reachable (AS112, AMT) serve no images either.
pub const NOT_PUBLIC_V4: [V4; 13] = [
    ([0, 0, 0, 0], 8),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 31, 196, 0], 24),
    ([192, 52, 193, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 175, 48, 0], 24),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 3),
];

const GLOBAL_UNICAST: V6 = ([0x2000, 0, 0], 3);
const UNIQUE_LOCAL: V6 = ([0xfc00, 0, 0], 7);
const NAT64_LOCAL: V6 = ([0x64, 0xff9b, 1], 48);

/// Blocks of `2000::/3` that are not public.
pub const NOT_PUBLIC_V6: [V6; 5] = [
    ([0x2001, 0, 0], 23),
    ([0x2001, 0x0db8, 0], 32),
    ([0x2002, 0, 0], 16),
    ([0x2620, 0x004f, 0x8000], 48),
    ([0x3fff, 0, 0], 20),
];

/// Services of clouds that hand out credentials or configuration to whoever reaches them.
pub const METADATA: [IpAddr; 9] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), // AWS, Azure, Google, OpenStack and others
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),   // AWS ECS task credentials
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),  // AWS EKS pod identity
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)), // Alibaba Cloud
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),     // Oracle Cloud
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),   // Azure's WireServer, in public space
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)), // AWS
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)), // AWS EKS pod identity
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)), // Google
];

/// Returns the address that packets reach in the end, where that does not depend on the network.
fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => join(high, low).into(),
        _ => address,
    }
}

/// Returns the IPv4 addresses inside of an IPv6 address of a tunnel or translator.
fn embedded_v4(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    match address.segments() {
        // Teredo: the server, and the client inverted.
        [0x2001, 0, server_high, server_low, .., high, low] => vec![join(server_high, server_low), join(!high, !low)],
        // 6to4, compatible (also `::` and `::1`) and SIIT, ISATAP.
        [0x2002, high, low, ..]
        | [0, 0, 0, 0, 0 | 0xffff, 0, high, low]
        | [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => vec![join(high, low)],
        _ => Vec::new(),
    }
}

/// Returns the IPv4 address behind a NAT64 prefix of a length of RFC 6052 2.2, which leaves out bits 64
/// to 71.
fn nat64_v4(address: Ipv6Addr, length: u8) -> Option<Ipv4Addr> {
    let [.., b6, b7, _, b9, b10, b11, b12, b13, b14, b15] = address.octets();
    let [.., c7, _, c9, c10, c11, _, _, _, _] = address.octets();
    match length {
        48 => Some(Ipv4Addr::new(b6, b7, b9, b10)),
        56 => Some(Ipv4Addr::new(c7, c9, c10, c11)),
        64 => Some(Ipv4Addr::new(b9, b10, b11, b12)),
        96 => Some(Ipv4Addr::new(b12, b13, b14, b15)),
        _ => None,
    }
}

fn join(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))
}

fn in_v4(address: Ipv4Addr, (network, bits): V4) -> bool {
    let shift = 32 - bits;
    u32::from(address) >> shift == u32::from(Ipv4Addr::from(network)) >> shift
}

fn in_v6(address: Ipv6Addr, ([a, b, c], bits): V6) -> bool {
    let shift = 128 - bits;
    u128::from(address) >> shift == u128::from(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)) >> shift
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn networks(list: &[&str]) -> Networks {
        Networks::new(list.iter().map(|it| it.parse().expect("a network")).collect())
    }

    #[test]
    fn public_addresses_are_permitted() {
        for text in [
            "1.1.1.1",
            "93.184.216.34",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "64:ff9b::101:101",
            "::ffff:1.1.1.1",
        ] {
            assert!(Networks::default().permits(address(text)), "{text}");
            assert_eq!(reach(address(text)), Reach::Public, "{text}");
        }
    }

    #[test]
    fn an_allowed_network_is_permitted_in_every_spelling() {
        let rule = networks(&["10.1.0.0/16", "fd12::/16"]);
        for text in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203", "fd12::1"] {
            assert!(rule.permits(address(text)), "{text}");
        }
        for text in ["10.2.0.1", "::10.1.2.3", "2002:a01:203::", "fd12::5efe:10.2.0.1", "fd13::1"] {
            assert!(!rule.permits(address(text)), "{text}");
        }
    }

    #[test]
    fn metadata_services_need_their_own_address() {
        let wide = networks(&["0.0.0.0/0", "::/0"]);
        for metadata in METADATA {
            assert!(!Networks::default().permits(metadata), "{metadata}");
            assert!(!wide.permits(metadata), "{metadata}");
            assert_eq!(reach(metadata), Reach::Special, "{metadata}");
            assert!(Networks::new(vec![metadata.into()]).permits(metadata), "{metadata}");
        }
        assert!(wide.permits(address("169.254.1.1")) && wide.permits(address("::1")));
    }

    #[test]
    fn local_nat64_is_judged_by_the_prefix_in_use() {
        let rule = networks(&["64:ff9b:1::/96"]);
        assert!(rule.permits(address("64:ff9b:1::101:101")));
        assert!(!rule.permits(address("64:ff9b:1::a00:1")), "10.0.0.1 inside");
        assert!(!rule.permits(address("64:ff9b:1:1::101:101")), "another prefix");
        let rule = networks(&["64:ff9b:1::/48"]);
        assert!(rule.permits(address("64:ff9b:1:101:1:100::")));
        assert!(!rule.permits(address("64:ff9b:1:a00:0:100:101:101")), "10.0.0.1 inside");
        assert!(!networks(&["64:ff9b:1::/50"]).permits(address("64:ff9b:1:101:1:100::")), "no length of RFC 6052");
        assert_eq!(nat64_v4("64:ff9b:1:1:c0:2:2100::".parse().expect("one"), 64), Some(Ipv4Addr::new(192, 0, 2, 33)));
        assert_eq!(nat64_v4("2001:db8:122:3c0:0:221::".parse().expect("one"), 56), Some(Ipv4Addr::new(192, 0, 2, 33)));
    }
}
