//! The one HTTP client that talks to hosts named by users: bounded in time, bytes and redirects, polite
//! to each host, and kept away from addresses that are not public.
//!
//! ```text
//! URL -> target (scheme, port, user name, length, literal address)
//!     -> turns (so many requests a host, its pauses)
//!     -> connector: resolver -> every address checked -> dialled -> TLS
//!     -> redirect? back to target, at most five times
//!     -> body (bytes after decompression, time, rate)
//!     -> retry: what may pass, after a random wait or Retry-After
//! ```
//!
//! It stands on hyper and not on a client above it, because the guard is a connector: an address is
//! checked right before it is dialled, whether a name or a literal led to it. There is no cookie, no
//! Referer, no credential, and no proxy: the environment is not asked for one, as a proxy would do the
//! look-up where nobody checks it. `docs/egress.md` says what is refused and how to allow it.

pub mod address;
pub mod args;
pub mod connector;
pub mod error;
pub mod resolver;
pub mod target;

mod body;
mod network;
mod redirect;
mod retry;
mod send;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, TryStreamExt};
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use jiff::Timestamp;
use tokio::time::Instant;
use tower_http::decompression::DecompressionBody;
use tower_service::Service;
use url::Url;

pub use args::{EgressArgs, FetchLimits};
pub use error::FetchError;
pub use network::{Network, SetupError};
pub use send::Answer;

use body::{BodyLimits, MinRate};
use network::HttpClient;
use retry::RetryPolicy;
use target::Rules;
use turns::{Turn, Turns};

/// A guarded HTTP client; clones share its connections and the turns at each host.
#[derive(Clone)]
pub struct Egress(Arc<Inner>);

struct Inner {
    client: HttpClient,
    rules: Arc<Rules>,
    turns: Turns,
    retry: RetryPolicy,
    limits: FetchLimits,
    first_byte: Duration,
    min_rate: MinRate,
    max_redirects: u16,
    user_agent: HeaderValue,
}

impl Egress {
    /// Returns a client as the arguments describe it.
    pub fn new(args: &EgressArgs) -> Result<Self, SetupError> {
        Ok(Self::with_network(args, Network::system()?))
    }

    /// Returns a client with a network of its own.
    #[must_use]
    pub fn with_network(args: &EgressArgs, network: Network) -> Self {
        let rules = Arc::new(Rules::new(args));
        let window = Duration::from_secs(args.fetch_min_rate_seconds);
        let longest_pause = Duration::from_secs(args.fetch_max_retry_after_seconds);
        Self(Arc::new(Inner {
            client: network.client(Arc::clone(&rules), args),
            rules,
            turns: Turns::new(args.fetch_per_host.into(), longest_pause),
            retry: RetryPolicy::new(args),
            limits: args.limits(),
            first_byte: Duration::from_secs(args.fetch_first_byte_timeout_seconds),
            min_rate: MinRate { bytes_per_second: args.fetch_min_bytes_per_second, window },
            max_redirects: args.fetch_max_redirects,
            user_agent: args.egress_contact.user_agent(),
        }))
    }

    /// Returns how many requests may be open to one host.
    #[must_use]
    pub fn per_host(&self) -> usize {
        self.0.turns.per_host()
    }

    /// Fetches a body, with further tries where that may help; nothing is trusted but the bytes that
    /// arrive. Returns it with the number of tries.
    pub async fn fetch(&self, url: &str) -> (Result<Bytes, FetchError>, u16) {
        let once = || async {
            let mut chunks = Box::pin(self.open(url, self.0.limits).await?);
            let mut body = BytesMut::new();
            while let Some(chunk) = chunks.try_next().await? {
                body.extend_from_slice(&chunk);
            }
            Ok(body.freeze())
        };
        self.retry(once, |error| Some(error)).await
    }

    /// Runs something that fetches until it succeeds or another try is of no use; `of_fetch` returns the
    /// failed fetch where that was the reason. Returns the result with the number of tries.
    pub async fn retry<T, E, F>(
        &self,
        mut once: impl FnMut() -> F,
        of_fetch: impl Fn(&E) -> Option<&FetchError>,
    ) -> (Result<T, E>, u16)
    where
        F: Future<Output = Result<T, E>>,
    {
        let mut attempts = 1;
        loop {
            let error = match once().await {
                Ok(done) => return (Ok(done), attempts),
                Err(error) => error,
            };
            let Some(wait) = of_fetch(&error).and_then(|it| self.0.retry.wait(it, attempts)) else {
                return (Err(error), attempts);
            };
            tokio::time::sleep(wait).await;
            attempts += 1;
        }
    }

    /// Opens a body that is read as it arrives, within limits of its own; one try.
    pub async fn open(
        &self,
        url: &str,
        limits: FetchLimits,
    ) -> Result<impl Stream<Item = Result<Bytes, FetchError>> + Send + 'static, FetchError> {
        let inner = &*self.0;
        let FetchLimits { max_bytes, timeout } = limits;
        let mut url = inner.rules.target(url)?;
        let mut left = timeout;
        for _ in 0..=inner.max_redirects {
            // The turn at this host ends before one at the next is taken: hosts that redirect to each
            // other would wait for each other.
            let turn = inner.turns.take(url.host_str().unwrap_or_default()).await?;
            let start = Instant::now();
            let response = inner.ask(&url, left, timeout).await?;
            left = left.saturating_sub(start.elapsed());
            if let Some(to) = redirect::next(&url, response.status(), response.headers(), &inner.rules)? {
                url = to;
                continue;
            }
            inner.refuse_status(&response, &turn)?;
            // The header may lie; it only saves the download of what would be refused anyway.
            if content_length(&response).is_some_and(|length| length > max_bytes) {
                return Err(FetchError::TooLarge(max_bytes));
            }
            let limits = BodyLimits { max_bytes, left, whole: timeout, min_rate: inner.min_rate };
            return Ok(body::read(response.into_body(), limits, turn));
        }
        Err(FetchError::RedirectRefused(format!("more than {} redirects", inner.max_redirects)))
    }
}

impl Inner {
    /// Sends one request and waits for the head of its answer.
    async fn ask(
        &self,
        url: &Url,
        left: Duration,
        whole: Duration,
    ) -> Result<Response<DecompressionBody<Incoming>>, FetchError> {
        let mut request = Request::new(Full::default());
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        let (what, limit) =
            if left < self.first_byte { ("complete answer", whole) } else { ("answer", self.first_byte) };
        let answer = tokio::time::timeout(left.min(self.first_byte), self.send(url, request)).await;
        answer.unwrap_or(Err(FetchError::Timeout { what, limit }))
    }

    /// Sends a request to a URL that the rules allow, in our name.
    async fn send(
        &self,
        url: &Url,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<DecompressionBody<Incoming>>, FetchError> {
        *request.uri_mut() = url.as_str().parse::<Uri>().map_err(|error| FetchError::InvalidUrl(format!("{error}")))?;
        request.headers_mut().insert(header::USER_AGENT, self.user_agent.clone());
        // A clone is as ready as its origin: the client below waits for nothing before a call.
        self.client.clone().call(request).await.map_err(|error| error::of_request(&error))
    }

    /// Refuses every answer but 200, and pauses the host where that asks for it.
    fn refuse_status<B>(&self, response: &Response<B>, turn: &Turn) -> Result<(), FetchError> {
        let status = response.status();
        let retry_after = retry::retry_after(response.headers(), Timestamp::now());
        match (status.as_u16(), retry_after) {
            (429 | 503, Some(asked)) => self.turns.pause(turn, asked),
            (429, None) => self.turns.pause(turn, self.retry.short_pause()),
            (503, None) => {}
            _ => turn.succeeded(),
        }
        if status == StatusCode::OK {
            return Ok(());
        }
        Err(FetchError::Status { status, retry_after })
    }
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Egress").field("rules", &self.0.rules).finish_non_exhaustive()
    }
}

/// Returns the announced length of a body that is not compressed.
fn content_length<B>(response: &Response<B>) -> Option<u64> {
    response.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
