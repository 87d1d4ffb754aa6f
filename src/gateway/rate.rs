//! How much one caller may ask: requests by address, before anybody knows who it is, and requests and uploads by
//! caller. Everybody has a bucket that fills at an even pace (GCRA, by `governor`); the numbers hold for one replica.
//!
//! Images are exempt, as a CDN asks for all of its users, from few addresses. Further requests than the gateway can
//! work on at the same time are refused at once, so that a flood takes no memory.

use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use axum::body::Body;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderName, HeaderValue, Method, Response};
use axum::middleware::Next;
use axum::response::IntoResponse;
use clap::Args;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use ipnet::IpNet;
use tokio::sync::Semaphore;

use super::address;
use super::error::{ApiError, Code};

/// How much one caller may ask.
#[derive(Args, Debug, Clone)]
pub struct RateArgs {
    /// Requests a minute of one caller, images apart; 0: any number. Each replica counts for itself.
    #[arg(long, env = "IMAGEBATCH_REQUESTS_PER_MINUTE", default_value_t = 600)]
    pub requests_per_minute: u32,
    /// Uploads and retries a minute of one caller; 0: any number.
    #[arg(long, env = "IMAGEBATCH_UPLOADS_PER_MINUTE", default_value_t = 60)]
    pub uploads_per_minute: u32,
    /// Rows of a namespace's batches that have not ended; an upload or a retry that would go past it is answered 429.
    /// 0: any number. Each replica goes by what its watch knows.
    #[arg(long, env = "IMAGEBATCH_MAX_ROWS_IN_FLIGHT", default_value_t = 0)]
    pub max_rows_in_flight: u64,
    /// Requests a minute of one address (of a /64 of IPv6), whoever it says it is; 0: any number.
    #[arg(long, env = "IMAGEBATCH_REQUESTS_PER_MINUTE_AND_ADDRESS", default_value_t = 1_200)]
    pub requests_per_minute_and_address: u32,
    /// Networks of proxies whose X-Forwarded-For is believed.
    #[arg(long, env = "IMAGEBATCH_TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<IpNet>,
    /// Requests that are worked on at the same time; further ones are answered 503.
    #[arg(long, env = "IMAGEBATCH_MAX_CONCURRENT_REQUESTS", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_concurrent_requests: u32,
}

impl RateArgs {
    /// Checks that a CSV of as many rows as allowed can be accepted at all.
    pub(super) fn check(&self, max_rows: u64) -> anyhow::Result<()> {
        let most = self.max_rows_in_flight;
        ensure!(
            most == 0 || most >= max_rows,
            "--max-rows-in-flight {most} is less than --max-rows {max_rows}: some uploads could never be accepted"
        );
        Ok(())
    }
}

impl Default for RateArgs {
    /// No limits but that of what is under way.
    fn default() -> Self {
        Self {
            requests_per_minute: 0,
            uploads_per_minute: 0,
            max_rows_in_flight: 0,
            requests_per_minute_and_address: 0,
            trusted_proxies: Vec::new(),
            max_concurrent_requests: 1_024,
        }
    }
}

/// Whose requests are counted together: a user where it is known, else an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Caller(pub(crate) String);

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// Window of the quotas.
const MINUTE: u32 = 60;
/// Callers that are remembered; beyond it, those whose bucket is full again are forgotten.
const MAX_CALLERS: usize = 100_000;

/// The buckets of all callers.
pub struct RateLimits {
    addresses: Option<Limit<IpAddr>>,
    requests: Option<Limit<Caller>>,
    uploads: Option<Limit<Caller>>,
    trusted: Vec<IpNet>,
    places: Semaphore,
}

impl RateLimits {
    pub(crate) fn new(args: &RateArgs) -> Self {
        Self {
            addresses: Limit::new("address", args.requests_per_minute_and_address),
            requests: Limit::new("requests", args.requests_per_minute),
            uploads: Limit::new("uploads", args.uploads_per_minute),
            trusted: args.trusted_proxies.clone(),
            places: Semaphore::new(args.max_concurrent_requests as usize),
        }
    }
}

/// Finds out where a request comes from, and refuses it where that address, or everybody together, asks too much.
pub(crate) async fn by_address(
    State(limits): State<Arc<RateLimits>>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    let Ok(_place) = limits.places.try_acquire() else {
        return ApiError::new(Code::Overloaded, "as many requests as the gateway can work on are under way")
            .into_response();
    };
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|it| it.0.ip());
    if let Some(peer) = peer {
        let client = address::of_client(peer, request.headers(), &limits.trusted);
        let network = address::network(client);
        if let Some(limit) = limits.addresses.as_ref().filter(|_| is_limited(&request))
            && let Err(refused) = limit.take(&network)
        {
            return refused.into_response();
        }
        tracing::Span::current().record("client.address", client.to_string());
        request.extensions_mut().insert(Caller(network.to_string()));
    }
    next.run(request).await
}

/// Refuses a request whose caller asks too much; tells what is left.
pub(crate) async fn by_caller(limits: &RateLimits, request: Request, next: Next) -> Response<Body> {
    let Some(caller) = request.extensions().get::<Caller>().cloned().filter(|_| is_limited(&request)) else {
        return next.run(request).await;
    };
    let mut told = Vec::new();
    let uploads = limits.uploads.as_ref().filter(|_| is_upload(&request));
    for limit in limits.requests.iter().chain(uploads) {
        match limit.take(&caller) {
            Ok(left) => told.push((limit.policy.clone(), left)),
            Err(refused) => return refused.into_response(),
        }
    }
    let mut response = next.run(request).await;
    for (policy, left) in told {
        response.headers_mut().append(POLICY, policy);
        response.headers_mut().append(LIMIT, left);
    }
    response
}

fn is_limited(request: &Request) -> bool {
    !request.uri().path().starts_with("/images/")
}

fn is_upload(request: &Request) -> bool {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    request.method() == Method::POST && matches!(route, Some("/v1/batches" | "/v1/batches/{id}/retry"))
}

type Buckets<K> = RateLimiter<K, DefaultKeyedStateStore<K>, DefaultClock, StateInformationMiddleware>;

struct Limit<K: Hash + Eq + Clone> {
    name: &'static str,
    quota: u32,
    policy: HeaderValue,
    buckets: Buckets<K>,
}

impl<K: Hash + Eq + Clone> Limit<K> {
    fn new(name: &'static str, per_minute: u32) -> Option<Self> {
        let quota = Quota::per_minute(NonZeroU32::new(per_minute)?);
        let buckets = RateLimiter::keyed(quota).with_middleware::<StateInformationMiddleware>();
        let policy = item(&format!("\"{name}\";q={per_minute};w={MINUTE}"));
        Some(Self { name, quota: per_minute, policy, buckets })
    }

    /// Takes one from a caller's bucket; returns what is left as the header `RateLimit` says it.
    fn take(&self, caller: &K) -> Result<HeaderValue, ApiError> {
        if self.buckets.len() > MAX_CALLERS {
            self.buckets.retain_recent();
        }
        match self.buckets.check_key(caller) {
            Ok(state) => {
                let left = state.remaining_burst_capacity();
                let full_in = u64::from(self.quota.saturating_sub(left)) * u64::from(MINUTE);
                Ok(self.limit(left, full_in.div_ceil(u64::from(self.quota))))
            }
            Err(early) => {
                let wait = early.wait_time_from(DefaultClock::default().now()).max(Duration::from_millis(1));
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                let detail =
                    format!("more than {} {} a minute; come back in {seconds} s", self.quota, self.counted_as());
                Err(ApiError::new(Code::TooManyRequests, detail)
                    .header(RETRY_AFTER, HeaderValue::from(seconds))
                    .header(POLICY, self.policy.clone())
                    .header(LIMIT, self.limit(0, seconds)))
            }
        }
    }

    fn counted_as(&self) -> &'static str {
        match self.name {
            "address" => "requests of this address",
            "uploads" => "uploads",
            _ => "requests",
        }
    }

    fn limit(&self, left: u32, seconds: u64) -> HeaderValue {
        item(&format!("\"{}\";r={left};t={seconds}", self.name))
    }
}

/// Names and numbers are visible ASCII.
fn item(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
