//! Which URLs may be asked for, before anything is looked up: scheme, port, user information, length,
//! and hosts that are addresses. Pure.
//!
//! The `url` crate reads a URL as browsers do (WHATWG), so that `127.1`, `0x7f.1`, `2130706433`,
//! full-width digits and IPv6 in every spelling arrive here as the address they mean. What browsers
//! quietly drop or rewrite, and other parsers read differently, is refused instead: control characters,
//! white space at the ends, and backslashes before the path (`http://shop.example\@10.0.0.1`).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use url::{Host, Url};

use super::address::{Networks, Reach, reach};
use super::args::EgressArgs;
use super::error::FetchError;

/// What may be asked for and dialled.
#[derive(Debug, Clone)]
pub struct Rules {
    networks: Networks,
    hosts: Vec<HostPattern>,
    ports: Vec<PortRange>,
    max_url_bytes: usize,
}

impl Rules {
    /// Returns the rules as the arguments describe them.
    #[must_use]
    pub fn new(args: &EgressArgs) -> Self {
        Self {
            networks: Networks::new(args.egress_allow_cidrs.0.clone()),
            hosts: args.egress_allow_hosts.0.clone(),
            ports: args.egress_allow_ports.0.clone(),
            max_url_bytes: args.fetch_max_url_bytes,
        }
    }

    /// Returns the URL as it is asked for, without its fragment, or why it is not.
    pub fn target(&self, url: &str) -> Result<Url, FetchError> {
        if url.len() > self.max_url_bytes {
            return Err(FetchError::UrlTooLong { length: url.len(), limit: self.max_url_bytes });
        }
        refuse_ambiguous(url)?;
        let url = Url::parse(url).map_err(|error| FetchError::InvalidUrl(error.to_string()))?;
        self.check(url)
    }

    /// Returns a parsed URL, such as a redirect's, without its fragment, or why it is not asked for.
    pub(super) fn check(&self, mut url: Url) -> Result<Url, FetchError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(FetchError::InvalidUrl(format!("the scheme is {:?}, not http or https", url.scheme())));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(FetchError::InvalidUrl("it contains a user name or password".to_owned()));
        }
        // Not a name; other parsers read `127.0.0.1..` as an address.
        let host = url.host_str().unwrap_or_default();
        if host.strip_suffix('.').unwrap_or(host).split('.').any(str::is_empty) {
            return Err(FetchError::InvalidUrl("a part of the host's name is empty".to_owned()));
        }
        let port = url.port_or_known_default().unwrap_or_default();
        if !matches!(port, 80 | 443) && !self.ports.iter().any(|range| range.contains(port)) {
            return Err(FetchError::PortForbidden(port));
        }
        if let Some(address) = literal(&url)
            && !self.permits(host, address)
        {
            return Err(FetchError::AddressForbidden(address.to_string()));
        }
        url.set_fragment(None);
        Ok(url)
    }

    /// Returns whether an address that a host has may be dialled.
    #[must_use]
    pub fn permits(&self, host: &str, address: IpAddr) -> bool {
        self.networks.permits(address)
            || reach(address) == Reach::Private && self.hosts.iter().any(|pattern| pattern.matches(host))
    }
}

/// Returns the address that stands in place of a host's name.
pub(super) fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

/// Refuses what the parser would drop or rewrite.
pub(super) fn refuse_ambiguous(url: &str) -> Result<(), FetchError> {
    if url.chars().any(|it| it.is_control() || matches!(it, '\u{2028}' | '\u{2029}')) {
        return Err(FetchError::InvalidUrl("it contains a control character".to_owned()));
    }
    if url.trim() != url {
        return Err(FetchError::InvalidUrl("it begins or ends with white space".to_owned()));
    }
    let behind_scheme = url.split_once("//").map_or(url, |(_, behind)| behind);
    let authority = behind_scheme.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('\\') {
        return Err(FetchError::InvalidUrl("it contains a backslash before the path".to_owned()));
    }
    Ok(())
}

/// A host of the allow-list: a name, or `*.` and the end of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    name: String,
    below: bool,
}

/// Why a text is no entry of a list.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(&'static str);

impl HostPattern {
    /// Returns whether the pattern names this host; case and a dot at the end do not matter.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if self.below {
            host.strip_suffix(&self.name).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
        } else {
            host == self.name
        }
    }
}

impl FromStr for HostPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let name = text.strip_prefix("*.");
        let below = name.is_some();
        let name = name.unwrap_or(text);
        match Host::parse(name) {
            Ok(Host::Domain(name)) if !name.contains('*') => {
                Ok(Self { name: name.strip_suffix('.').unwrap_or(&name).to_owned(), below })
            }
            Ok(Host::Ipv4(_) | Host::Ipv6(_)) => Err(PatternError("an address: list it as a network")),
            _ => Err(PatternError("a host is a name such as images.shop.internal, or *.shop.internal")),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", if self.below { "*." } else { "" }, self.name)
    }
}

/// One port, or all from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl FromStr for PortRange {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if 0 < first && first <= last => Ok(Self { first, last }),
            _ => Err(PatternError("a port is a number from 1 to 65535, or two such as 8440-8449")),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(formatter, "{}", self.first)
        } else {
            write!(formatter, "{}-{}", self.first, self.last)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_match_exactly_or_below_a_suffix() {
        let pattern = |text: &str| text.parse::<HostPattern>().expect("a pattern");
        for (text, host, expected) in [
            ("Images.Shop.Internal", "images.shop.internal", true),
            ("images.shop.internal", "images.shop.internal.", true),
            ("images.shop.internal", "x.images.shop.internal", false),
            ("*.shop.internal", "images.shop.internal", true),
            ("*.shop.internal", "a.b.shop.internal.", true),
            ("*.shop.internal", "shop.internal", false),
            ("*.shop.internal", "myshop.internal", false),
            ("*.shop.internal", ".shop.internal", false),
        ] {
            assert_eq!(pattern(text).matches(host), expected, "{text} {host}");
        }
        for text in ["*", "*.*.example", "a.*.example", "10.0.0.1", "[::1]", "a b", "http://a"] {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn ports_are_single_or_ranges() {
        let range = |text: &str| text.parse::<PortRange>();
        assert!(range("8080").expect("a port").contains(8080));
        assert!(range("8440-8449").expect("a range").contains(8449));
        for text in ["", "0", "70000", "9-8", "-", "80-", "a"] {
            assert!(range(text).is_err(), "{text}");
        }
    }
}
