//! The client's address: the peer's, or what a proxy that is trusted says of it.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Returns the address of the client behind these proxies.
///
/// Each proxy adds its peer at the end of `X-Forwarded-For`, so that is read from there: the first address that is
/// no trusted proxy's is the client's. What stands before it anybody may have written.
pub(crate) fn of_client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|it| it.contains(address));
    let mut client = peer.to_canonical();
    let lines: Vec<&str> = headers.get_all(FORWARDED_FOR).iter().map(|it| it.to_str().unwrap_or_default()).collect();
    for entry in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        if !is_trusted(&client) {
            break;
        }
        let Some(next) = parse(entry.trim()) else { break };
        client = next;
    }
    client
}

/// With a port or without, as proxies write it.
fn parse(entry: &str) -> Option<IpAddr> {
    let address = entry.parse::<IpAddr>().ok();
    let bracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    let with_port = || entry.parse::<SocketAddr>().ok().map(|it| it.ip());
    address.or_else(bracketed).or_else(with_port).map(|it| it.to_canonical())
}

/// Returns what one client has: an IPv4 address, or a network of IPv6 addresses (RFC 6177 gives a site at least a
/// /64).
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_trusted_proxies_say_who_the_client_is() {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"].map(|it| it.parse().expect("a network")).to_vec();
        for (peer, lines, expected) in [
            ("192.0.2.1", &["203.0.113.9"][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("::ffff:10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["198.51.100.7, 203.0.113.9, 10.9.9.9"], "203.0.113.9"),
            ("10.0.0.1", &["198.51.100.7", "203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("fd00::1", &["[2001:db8::5]:4711"], "2001:db8::5"),
            ("fd00::1", &["[2001:db8::5]"], "2001:db8::5"),
            ("10.0.0.1", &["203.0.113.9, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, HeaderValue::from_static(line));
            }
            let found = of_client(peer.parse().expect("an address"), &headers, &trusted);
            assert_eq!(found.to_string(), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn addresses_of_one_site_are_one_client() {
        let of = |text: &str| network(text.parse().expect("an address")).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("192.0.2.1"), "192.0.2.1");
    }
}
