//! Names to addresses, as the system does it: the hosts file first, then the name servers and search
//! domains of `/etc/resolv.conf` (in a cluster: its DNS), with bounded time and cache.
//!
//! The system's own `getaddrinfo` blocks a thread for as long as it likes, says of no failure whether
//! it may pass, and cannot be pointed at a name server of a test. Answers are not judged here: the
//! connector checks every address right before it dials.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Hosts, TokioResolver};

use super::error::FetchError;

/// Longest time that an answer is kept, whatever its TTL.
const MAX_CACHED: Duration = Duration::from_secs(60);
/// Longest time that the absence of a name is kept.
const MAX_CACHED_ABSENCE: Duration = Duration::from_secs(10);
/// Answers kept at most.
const CACHED_ANSWERS: u64 = 1_024;
/// Longest wait for one name server's answer; the search goes on with the next.
const PER_QUERY: Duration = Duration::from_secs(2);

/// A resolver of names; clones share the cache.
#[derive(Clone)]
pub struct Resolver {
    hosts: Arc<Hosts>,
    dns: TokioResolver,
}

impl Resolver {
    /// Returns a resolver configured as the system is.
    pub fn system() -> Result<Self, NetError> {
        let (config, options) = read_system_conf().unwrap_or_else(|_| {
            // Without a configuration the C library asks the local host too.
            let local = NameServerConfig::udp_and_tcp(IpAddr::from([127, 0, 0, 1]));
            (ResolverConfig::from_name_servers(vec![local]), ResolverOpts::default())
        });
        Self::new(config, options, Hosts::from_system().unwrap_or_default())
    }

    /// Returns a resolver with name servers and a hosts file of its own, for tests.
    pub fn new(config: ResolverConfig, mut options: ResolverOpts, hosts: Hosts) -> Result<Self, NetError> {
        // Asked for by `resolve` itself: a name of the hosts file needs no name server for its other
        // kind of address.
        options.use_hosts_file = ResolveHosts::Never;
        options.timeout = options.timeout.min(PER_QUERY);
        options.cache_size = CACHED_ANSWERS;
        options.positive_max_ttl = Some(MAX_CACHED);
        options.negative_max_ttl = Some(MAX_CACHED_ABSENCE);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        Ok(Self { hosts: Arc::new(hosts), dns: builder.build()? })
    }

    /// Returns all addresses of a name, at least one.
    pub(super) async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, FetchError> {
        // ASCII: the URL's parser has done the rest, and names with underscores must pass.
        let name = Name::from_ascii(host).map_err(|_| FetchError::HostNotFound(format!("{host} is no name")))?;
        let mut addresses = self.in_hosts_file(&name);
        if addresses.is_empty() {
            let found = match self.dns.lookup_ip(name.clone()).await {
                // Of a search the last answer is told. Where that was a search domain's, the name itself
                // may have failed in a way that passes.
                Err(error) if is_absent(&error) && !name.is_fqdn() => self.dns.lookup_ip(absolute(name)).await,
                found => found,
            };
            addresses.extend(found.map_err(|error| explain(host, &error))?.iter());
        }
        if addresses.is_empty() { Err(FetchError::HostNotFound(host.to_owned())) } else { Ok(addresses) }
    }

    fn in_hosts_file(&self, name: &Name) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        for kind in [RecordType::A, RecordType::AAAA] {
            if let Some(found) = self.hosts.lookup_static_host(&Query::query(name.clone(), kind)) {
                addresses.extend(found.answers().iter().filter_map(|record| record.data.ip_addr()));
            }
        }
        addresses
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Resolver").finish_non_exhaustive()
    }
}

fn absolute(mut name: Name) -> Name {
    name.set_fqdn(true);
    name
}

/// Returns whether a name server has said that the name, or an address of it, does not exist.
fn is_absent(error: &NetError) -> bool {
    let NetError::Dns(DnsError::NoRecordsFound(absent)) = error else { return false };
    matches!(absent.response_code, ResponseCode::NXDomain | ResponseCode::NoError)
}

/// A name server that says the name is not there is believed; anything else may pass.
fn explain(host: &str, error: &NetError) -> FetchError {
    if is_absent(error) {
        FetchError::HostNotFound(host.to_owned())
    } else {
        FetchError::LookUp(format!("{host}: {error}"))
    }
}
