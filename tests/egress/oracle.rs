//! A second implementation of "globally routable" and of the spellings of IPv4, made of other parts
//! than the guard: the standard library's predicates, a list of networks, and `inet_aton`'s rules.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// What the standard library's stable predicates do not know: the rest of the IANA special-purpose
/// registries, and clouds' own services.
const NOT_GLOBAL: &[&str] = &[
    "0.0.0.0/8",
    "100.64.0.0/10",
    "168.63.129.16/32",
    "192.0.0.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "240.0.0.0/4",
    "::/3",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "2620:4f:8000::/48",
    "3fff::/20",
    "4000::/2",
    "8000::/1",
];

/// Returns whether packets for the address would leave for the public internet.
pub(crate) fn is_global(address: IpAddr) -> bool {
    let address = match address {
        IpAddr::V6(v6) => match (v6.to_ipv4_mapped(), v6.octets()) {
            (Some(v4), _) => v4.into(),
            (None, [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]) => Ipv4Addr::new(a, b, c, d).into(),
            (None, _) => address,
        },
        IpAddr::V4(_) => address,
    };
    let listed = NOT_GLOBAL.iter().any(|it| it.parse::<IpNet>().expect("a network").contains(&address));
    let known = match address {
        IpAddr::V4(v4) => {
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_documentation()
                || v4.is_unspecified()
                || v4.is_multicast()
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || isatap(v6).is_some_and(|v4| !is_global(v4.into()))
        }
    };
    !listed && !known
}

fn isatap(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., a, b, c, d, high0, high1, low0, low1] = address.octets();
    (matches!(a, 0 | 2) && [b, c, d] == [0, 0x5e, 0xfe]).then(|| Ipv4Addr::new(high0, high1, low0, low1))
}

/// Reads a host as `inet_aton` of the C library would: one to four numbers in base 8, 10 or 16, the
/// last of which fills all bytes that are left.
pub(crate) fn inet_aton(host: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u64> = host.trim_end_matches('.').split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    if first.len() > 3 || first.iter().any(|it| *it > 255) || *last >= 1 << (8 * (4 - first.len())) {
        return None;
    }
    let high = first.iter().enumerate().map(|(index, part)| part << (24 - 8 * index)).sum::<u64>();
    Some(Ipv4Addr::from((high | last) as u32))
}

fn number(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    match lower.strip_prefix("0x") {
        Some("") => Some(0),
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None if lower.len() > 1 && lower.starts_with('0') => u64::from_str_radix(&lower, 8).ok(),
        None => lower.parse().ok(),
    }
}
