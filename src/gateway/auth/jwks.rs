//! The public keys of an OpenID Connect issuer: found by its discovery document, kept, and read again when they
//! are old or a token names one that is not among them, at a bounded rate.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::StreamExt;
use jsonwebtoken::jwk::Jwk;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tracing::Instrument;
use url::{Host, Url};

use crate::gateway::error::{ApiError, Code};

/// Longest time for the issuer's two documents.
const FETCH: Duration = Duration::from_secs(5);
/// Largest document.
const MAX_BYTES: usize = 1024 * 1024;
/// How old keys may be while the issuer cannot be reached.
const USABLE: Duration = Duration::from_secs(60 * 60);
/// Shortest pause between two tries, whatever tokens name.
const PAUSE: Duration = Duration::from_secs(10);

/// The keys of one issuer.
pub(super) struct Jwks {
    issuer: Url,
    client: Client,
    /// How old keys may be before they are read again.
    fresh: Duration,
    known: RwLock<Known>,
    /// When they were last tried to be read; locked while they are.
    tried: Arc<Mutex<Option<Instant>>>,
}

/// The keys that were read last.
#[derive(Clone, Default)]
struct Known {
    keys: Arc<[Jwk]>,
    read: Option<Instant>,
}

impl Known {
    fn is_younger_than(&self, age: Duration) -> bool {
        self.read.is_some_and(|it| it.elapsed() < age)
    }

    /// Returns the key of that id; without one the only key there is.
    fn pick(&self, kid: Option<&str>) -> Option<&Jwk> {
        match (kid, &*self.keys) {
            (Some(kid), keys) => keys.iter().find(|it| it.common.key_id.as_deref() == Some(kid)),
            (None, [key]) => Some(key),
            (None, _) => None,
        }
    }
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct Published {
    keys: Vec<Value>,
}

impl Jwks {
    pub(super) fn new(issuer: &Url, ca_file: Option<&Path>, fresh: Duration) -> anyhow::Result<Self> {
        check_url(issuer).context("--oidc-issuer")?;
        let mut client = Client::builder().timeout(FETCH).redirect(Policy::none());
        if let Some(path) = ca_file {
            let read = || anyhow::Ok(Certificate::from_pem_bundle(&std::fs::read(path)?)?);
            let certificates = read().with_context(|| format!("--oidc-ca-file {}", path.display()))?;
            client = client.tls_certs_merge(certificates);
        }
        let client = client.build().context("failed to set up the client of the OIDC issuer")?;
        Ok(Self { issuer: issuer.clone(), client, fresh, known: RwLock::default(), tried: Arc::default() })
    }

    /// Returns the key of that id; without one the only key there is.
    pub(super) async fn find(self: &Arc<Self>, kid: Option<&str>) -> Result<Option<Jwk>, ApiError> {
        let known = self.known();
        if let Some(key) = known.pick(kid).filter(|_| known.is_younger_than(self.fresh)) {
            return Ok(Some(key.clone()));
        }
        // One request reads the keys. Those whose key is known do not wait for it: an issuer that hangs locks
        // nobody out. The others get what it has read.
        let tried = if known.pick(kid).is_some() && known.is_younger_than(USABLE) {
            Arc::clone(&self.tried).try_lock_owned().ok()
        } else {
            Some(Arc::clone(&self.tried).lock_owned().await)
        };
        if let Some(tried) = tried.filter(|it| it.is_none_or(|it| it.elapsed() > PAUSE.min(self.fresh))) {
            // A task of its own, which does not end with a client that goes away.
            let refresh = tokio::spawn(Arc::clone(self).refresh(tried).in_current_span());
            refresh.await.map_err(|error| {
                ApiError::new(Code::Internal, "the OIDC issuer's keys could not be read").caused_by(error)
            })?;
        }
        let known = self.known();
        if !known.is_younger_than(USABLE) {
            let detail = "the OIDC issuer's keys cannot be read; try again";
            return Err(ApiError::new(Code::IssuerUnavailable, detail));
        }
        Ok(known.pick(kid).cloned())
    }

    fn known(&self) -> Known {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn refresh(self: Arc<Self>, mut tried: OwnedMutexGuard<Option<Instant>>) {
        let read = tokio::time::timeout(FETCH, self.read()).await;
        match read.context("the issuer did not answer in time").flatten() {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), "keys of the OIDC issuer read");
                let known = Known { keys: keys.into(), read: Some(Instant::now()) };
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
            }
            Err(error) => tracing::warn!(error = format!("{error:#}"), "failed to read the keys of the OIDC issuer"),
        }
        *tried = Some(Instant::now());
    }

    async fn read(&self) -> anyhow::Result<Vec<Jwk>> {
        let base = self.issuer.as_str().trim_end_matches('/');
        let discovery: Discovery = self.fetch(&format!("{base}/.well-known/openid-configuration")).await?;
        ensure!(
            discovery.issuer.trim_end_matches('/') == base,
            "the discovery document is of {:?}, not of {base:?}",
            discovery.issuer
        );
        check_url(&discovery.jwks_uri.parse()?).context("jwks_uri")?;
        let published: Published = self.fetch(&discovery.jwks_uri).await?;
        // Keys of kinds that are not known are no concern of ours.
        Ok(published.keys.into_iter().filter_map(|it| serde_json::from_value(it).ok()).collect())
    }

    async fn fetch<T: DeserializeOwned>(&self, url: &str) -> anyhow::Result<T> {
        let response = self.client.get(url).send().await?.error_for_status()?;
        let mut chunks = response.bytes_stream();
        let mut body = Vec::new();
        while let Some(chunk) = chunks.next().await {
            body.extend_from_slice(&chunk?);
            ensure!(body.len() <= MAX_BYTES, "{url} has more than {MAX_BYTES} bytes");
        }
        serde_json::from_slice(&body).with_context(|| format!("{url} cannot be understood"))
    }
}

/// Keys that come over a wire that others can write to are anybody's.
fn check_url(url: &Url) -> anyhow::Result<()> {
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    ensure!(url.scheme() == "https" || url.scheme() == "http" && is_loopback, "{url} is no https URL");
    Ok(())
}
