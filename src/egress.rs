//! The one HTTP client that talks to hosts named by users: bounded in time, bytes and redirects, and
//! kept away from addresses that are not public.
//!
//! Every resolved address is checked and only checked ones are dialled, so a name that changes its
//! answer between check and connection gains nothing. IP literals never reach the resolver and are
//! checked apart, at every hop.

pub mod address;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use clap::Args;
use futures::{Stream, TryStreamExt};
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{StatusCode, Url, redirect};

use address::Allowed;

/// Limits of outbound requests.
#[derive(Args, Debug, Clone)]
pub struct EgressArgs {
    /// Networks that may be fetched from although they are not public, for example 10.1.0.0/16.
    #[arg(long, env = "IMAGEBATCH_EGRESS_ALLOW_CIDRS", value_delimiter = ',')]
    pub egress_allow_cidrs: Vec<IpNet>,
    /// Most seconds from the request to the last byte.
    #[arg(long, env = "IMAGEBATCH_FETCH_TIMEOUT_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub fetch_timeout_seconds: u64,
    /// Most bytes of a body, counted after decompression.
    #[arg(long, env = "IMAGEBATCH_FETCH_MAX_BYTES", default_value_t = 25 * 1024 * 1024)]
    pub fetch_max_bytes: u64,
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The host's address is not public, and no allow-list names it.
    #[error("the host's address is not public: {0}")]
    AddressForbidden(String),
    /// A redirect loop, too many of them, or one from https to http.
    #[error("redirect refused: {0}")]
    RedirectRefused(String),
    /// The host's name does not resolve.
    #[error("the host's name cannot be resolved: {0}")]
    HostNotFound(String),
    /// No connection, or a broken one.
    #[error("the connection failed: {0}")]
    Connect(String),
    /// Not within the time limit.
    #[error("no complete answer within {0} seconds")]
    Timeout(u64),
    /// An answer other than 200.
    #[error("the host answered {status}")]
    Status {
        /// The HTTP status.
        status: StatusCode,
        /// What `Retry-After` asked for.
        retry_after: Option<Duration>,
    },
    /// The body ended before its announced length.
    #[error("the body broke off: {0}")]
    BodyIncomplete(String),
    /// The body exceeds the limit.
    #[error("the file is larger than the limit of {0} bytes")]
    TooLarge(u64),
}

impl FetchError {
    /// Returns whether another try may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Timeout(_) | Self::BodyIncomplete(_) | Self::HostNotFound(_) => true,
            Self::Status { status, .. } => status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429),
            Self::AddressForbidden(_) | Self::RedirectRefused(_) | Self::TooLarge(_) => false,
        }
    }
}

/// Bounds of one fetch.
#[derive(Debug, Clone, Copy)]
pub struct FetchLimits {
    /// Most bytes of the body, counted after decompression.
    pub max_bytes: u64,
    /// Longest time from the request to the last byte.
    pub timeout: Duration,
}

/// A guarded HTTP client.
#[derive(Debug, Clone)]
pub struct Egress {
    client: reqwest::Client,
    allowed: Arc<Allowed>,
    limits: FetchLimits,
}

const USER_AGENT: &str = concat!("ImageBatch/", env!("CARGO_PKG_VERSION"));
const MAX_REDIRECTS: usize = 5;

impl Egress {
    /// Returns a client as the arguments describe it.
    pub fn new(args: &EgressArgs) -> Result<Self, reqwest::Error> {
        let allowed = Arc::new(Allowed::new(args.egress_allow_cidrs.clone()));
        let client = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(Duration::from_secs(10))
            .timeout(Duration::from_secs(args.fetch_timeout_seconds))
            .redirect(redirect_policy(Arc::clone(&allowed)))
            .dns_resolver(Arc::new(GuardedResolver { allowed: Arc::clone(&allowed) }))
            .build()?;
        let limits =
            FetchLimits { max_bytes: args.fetch_max_bytes, timeout: Duration::from_secs(args.fetch_timeout_seconds) };
        Ok(Self { client, allowed, limits })
    }

    /// Fetches a body; nothing is trusted but the bytes that arrive.
    pub async fn fetch(&self, url: &str) -> Result<Bytes, FetchError> {
        let mut chunks = Box::pin(self.open(url, self.limits).await?);
        let mut body = BytesMut::new();
        while let Some(chunk) = chunks.try_next().await? {
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// Opens a body that is read as it arrives, within limits of its own.
    pub async fn open(
        &self,
        url: &str,
        limits: FetchLimits,
    ) -> Result<impl Stream<Item = Result<Bytes, FetchError>> + Send + 'static, FetchError> {
        let FetchLimits { max_bytes, timeout } = limits;
        let url = Url::parse(url).map_err(|error| FetchError::Connect(error.to_string()))?;
        refuse_literal(&url, &self.allowed).map_err(FetchError::AddressForbidden)?;
        let request = self.client.get(url).timeout(timeout);
        let mut response = request.send().await.map_err(|error| classify(&error, timeout))?;
        if response.status() != StatusCode::OK {
            let retry_after = response
                .headers()
                .get(reqwest::header::RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.trim().parse().ok())
                .map(Duration::from_secs);
            return Err(FetchError::Status { status: response.status(), retry_after });
        }
        // The header may lie; it only saves the download of what would be refused anyway.
        if response.content_length().is_some_and(|length| length > max_bytes) {
            return Err(FetchError::TooLarge(max_bytes));
        }
        Ok(async_stream::try_stream! {
            let mut bytes = 0;
            while let Some(chunk) = response.chunk().await.map_err(|error| classify(&error, timeout))? {
                bytes += chunk.len() as u64;
                if bytes > max_bytes {
                    Err(FetchError::TooLarge(max_bytes))?;
                }
                yield chunk;
            }
        })
    }
}

fn classify(error: &reqwest::Error, timeout: Duration) -> FetchError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut deepest = error.to_string();
    while let Some(current) = cause {
        if let Some(refused) = current.downcast_ref::<Refused>() {
            return match refused {
                Refused::Address(detail) => FetchError::AddressForbidden(detail.clone()),
                Refused::Redirect(detail) => FetchError::RedirectRefused(detail.clone()),
                Refused::Name(detail) => FetchError::HostNotFound(detail.clone()),
            };
        }
        deepest = current.to_string();
        cause = current.source();
    }
    if error.is_timeout() {
        FetchError::Timeout(timeout.as_secs())
    } else if error.is_body() || error.is_decode() {
        FetchError::BodyIncomplete(deepest)
    } else {
        FetchError::Connect(deepest)
    }
}

/// What the guard refused, found again in the error chain of the HTTP client.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0}")]
    Address(String),
    #[error("{0}")]
    Redirect(String),
    #[error("{0}")]
    Name(String),
}

fn redirect_policy(allowed: Arc<Allowed>) -> redirect::Policy {
    redirect::Policy::custom(move |attempt| {
        let from_https = attempt.previous().last().is_some_and(|it| it.scheme() == "https");
        let refused = if attempt.previous().len() > MAX_REDIRECTS {
            Refused::Redirect(format!("more than {MAX_REDIRECTS} redirects"))
        } else if !matches!(attempt.url().scheme(), "http" | "https") {
            Refused::Redirect(format!("to the scheme {:?}", attempt.url().scheme()))
        } else if from_https && attempt.url().scheme() == "http" {
            Refused::Redirect("from https to http".to_owned())
        } else if let Err(detail) = refuse_literal(attempt.url(), &allowed) {
            Refused::Address(detail)
        } else {
            return attempt.follow();
        };
        attempt.error(refused)
    })
}

fn refuse_literal(url: &Url, allowed: &Allowed) -> Result<(), String> {
    let address = match url.host() {
        Some(url::Host::Ipv4(address)) => address.into(),
        Some(url::Host::Ipv6(address)) => address.into(),
        Some(url::Host::Domain(_)) | None => return Ok(()),
    };
    if allowed.permits(address) { Ok(()) } else { Err(address.to_string()) }
}

struct GuardedResolver {
    allowed: Arc<Allowed>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = Arc::clone(&self.allowed);
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0))
                .await
                .map_err(|error| Refused::Name(format!("{host}: {error}")))?
                .collect();
            // One bad address spoils the name: a mixed answer is how rebinding begins.
            if let Some(bad) = addresses.iter().find(|it| !allowed.permits(it.ip())) {
                return Err(Refused::Address(format!("{host} is {}", bad.ip())).into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
