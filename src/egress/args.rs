//! What an operator can set about outbound requests.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use http::HeaderValue;
use ipnet::IpNet;

use super::target::{HostPattern, PortRange};

/// Limits and exceptions of outbound requests. Every list may be empty, as the chart sets it then.
#[derive(Args, Debug, Clone)]
pub struct EgressArgs {
    /// Networks that may be fetched from although they are not public, for example `10.1.0.0/16,fd12::/16`.
    #[arg(long, env = "IMAGEBATCH_EGRESS_ALLOW_CIDRS", default_value_t)]
    pub egress_allow_cidrs: List<IpNet>,
    /// Hosts that may have private addresses, for example images.shop.internal,*.media.svc.cluster.local.
    /// Loopback and link-local addresses need --egress-allow-cidrs.
    #[arg(long, env = "IMAGEBATCH_EGRESS_ALLOW_HOSTS", default_value_t)]
    pub egress_allow_hosts: List<HostPattern>,
    /// Ports beside 80 and 443, for example 8080,8440-8449.
    #[arg(long, env = "IMAGEBATCH_EGRESS_ALLOW_PORTS", default_value_t)]
    pub egress_allow_ports: List<PortRange>,
    /// Where the owner of a host can complain: a URL or an e-mail address, put into the User-Agent.
    #[arg(long, env = "IMAGEBATCH_EGRESS_CONTACT", default_value_t)]
    pub egress_contact: Contact,
    /// Most requests at the same time to one host, counted in this process.
    #[arg(long, env = "IMAGEBATCH_FETCH_PER_HOST", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub fetch_per_host: u16,
    /// Most tries of one URL while its host fails in a way that may pass.
    #[arg(long, env = "IMAGEBATCH_FETCH_ATTEMPTS", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=20))]
    pub fetch_attempts: u16,
    /// Longest wait before the second try, in milliseconds; it doubles with each further one.
    #[arg(long, env = "IMAGEBATCH_FETCH_BACKOFF_MILLISECONDS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub fetch_backoff_milliseconds: u64,
    /// Longest wait that a host's Retry-After can ask for, in seconds; what would have to wait longer fails.
    #[arg(long, env = "IMAGEBATCH_FETCH_MAX_RETRY_AFTER_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub fetch_max_retry_after_seconds: u64,
    /// Most seconds until a host is found and connected, TLS included.
    #[arg(long, env = "IMAGEBATCH_FETCH_CONNECT_TIMEOUT_SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub fetch_connect_timeout_seconds: u64,
    /// Most seconds from the request to the answer's first byte, connecting included.
    #[arg(long, env = "IMAGEBATCH_FETCH_FIRST_BYTE_TIMEOUT_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub fetch_first_byte_timeout_seconds: u64,
    /// Most seconds of one try, redirects and the last byte included, waits for other requests excluded.
    #[arg(long, env = "IMAGEBATCH_FETCH_TIMEOUT_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub fetch_timeout_seconds: u64,
    /// Least bytes a second of a body, on average of --fetch-min-rate-seconds; 0: any.
    #[arg(long, env = "IMAGEBATCH_FETCH_MIN_BYTES_PER_SECOND", default_value_t = 1024)]
    pub fetch_min_bytes_per_second: u64,
    /// Seconds over which the rate of a body is averaged.
    #[arg(long, env = "IMAGEBATCH_FETCH_MIN_RATE_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub fetch_min_rate_seconds: u64,
    /// Most bytes of a body, counted after decompression.
    #[arg(long, env = "IMAGEBATCH_FETCH_MAX_BYTES", default_value_t = 25 * 1024 * 1024)]
    pub fetch_max_bytes: u64,
    /// Most redirects of one try.
    #[arg(long, env = "IMAGEBATCH_FETCH_MAX_REDIRECTS", default_value_t = 5, value_parser = clap::value_parser!(u16).range(0..=20))]
    pub fetch_max_redirects: u16,
    /// Most bytes of a URL.
    #[arg(long, env = "IMAGEBATCH_FETCH_MAX_URL_BYTES", default_value_t = 2_048)]
    pub fetch_max_url_bytes: usize,
}

/// Bounds of one fetch.
#[derive(Debug, Clone, Copy)]
pub struct FetchLimits {
    /// Most bytes of the body, counted after decompression.
    pub max_bytes: u64,
    /// Longest time of one try, without waits for other requests to the host.
    pub timeout: Duration,
}

impl EgressArgs {
    /// Returns the bounds of a fetch that has no other.
    pub(super) fn limits(&self) -> FetchLimits {
        FetchLimits { max_bytes: self.fetch_max_bytes, timeout: Duration::from_secs(self.fetch_timeout_seconds) }
    }
}

/// A list written with commas, which may be empty.
#[derive(Debug, Clone)]
pub struct List<T>(pub Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: FromStr> FromStr for List<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        text.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl<T: fmt::Display> fmt::Display for List<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let items: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        formatter.write_str(&items.join(","))
    }
}

/// A URL or e-mail address for the User-Agent; may be empty.
#[derive(Debug, Clone)]
pub struct Contact {
    text: String,
    user_agent: HeaderValue,
}

/// Why a text is no contact.
#[derive(Debug, thiserror::Error)]
#[error("a contact is a URL or an e-mail address: visible ASCII without parentheses, at most 200 bytes")]
pub struct ContactError;

const PRODUCT: &str = concat!("ImageBatch/", env!("CARGO_PKG_VERSION"));

impl Default for Contact {
    fn default() -> Self {
        Self { text: String::new(), user_agent: HeaderValue::from_static(PRODUCT) }
    }
}

impl FromStr for Contact {
    type Err = ContactError;

    fn from_str(text: &str) -> Result<Self, ContactError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'(' | b')'));
        if !visible || text.len() > 200 {
            return Err(ContactError);
        }
        let user_agent = HeaderValue::try_from(format!("{PRODUCT} (+{text})")).map_err(|_| ContactError)?;
        Ok(Self { text: text.to_owned(), user_agent })
    }
}

impl fmt::Display for Contact {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Contact {
    /// Returns the User-Agent of outbound requests, such as `ImageBatch/0.1.0 (+https://shop.example/bot)`.
    pub(super) fn user_agent(&self) -> HeaderValue {
        self.user_agent.clone()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Process {
        #[command(flatten)]
        egress: EgressArgs,
    }

    fn parse(arguments: &[&str]) -> Result<EgressArgs, clap::Error> {
        Process::try_parse_from(["test"].iter().chain(arguments)).map(|it| it.egress)
    }

    #[test]
    fn empty_lists_are_what_the_chart_sets_by_default() {
        let args =
            parse(&["--egress-allow-cidrs=", "--egress-allow-hosts=", "--egress-allow-ports=", "--egress-contact="])
                .expect("they may be empty");
        assert!(args.egress_allow_cidrs.0.is_empty() && args.egress_allow_hosts.0.is_empty());
        assert!(args.egress_contact.user_agent() == PRODUCT);
    }

    #[test]
    fn bad_values_are_refused_by_name() {
        for (flag, value) in [
            ("--egress-allow-cidrs", "10.0.0.0/33"),
            ("--egress-allow-hosts", "a*.example"),
            ("--egress-allow-ports", "9-8"),
            ("--egress-contact", "shop\r\nX: 1"),
        ] {
            let error = parse(&[&format!("{flag}={value}")]).expect_err(value).to_string();
            assert!(error.contains(flag), "{error}");
        }
        let args = parse(&["--egress-contact=mailto:images@shop.example"]).expect("a contact");
        assert_eq!(args.egress_contact.user_agent(), format!("{PRODUCT} (+mailto:images@shop.example)"));
    }
}
