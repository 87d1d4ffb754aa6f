//! The public keys of an OpenID Connect issuer: found by its discovery document, kept, and read again when they
//! are old or a token names one that is not among them, at a bounded rate.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::StreamExt;
use jsonwebtoken::jwk::Jwk;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;
use url::{Host, Url};

use crate::gateway::error::{ApiError, Code};

/// Longest time for one of the two documents.
const FETCH: Duration = Duration::from_secs(5);
/// Largest document.
const MAX_BYTES: usize = 1024 * 1024;
/// How old keys may be before they are read again.
const FRESH: Duration = Duration::from_secs(10 * 60);
/// How old they may be while the issuer cannot be reached.
const USABLE: Duration = Duration::from_secs(60 * 60);
/// Shortest pause between two tries, whatever tokens name.
const PAUSE: Duration = Duration::from_secs(10);

/// The keys of one issuer.
pub(super) struct Jwks {
    issuer: Url,
    client: Client,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: Vec<Jwk>,
    read: Option<Instant>,
    tried: Option<Instant>,
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
    pub(super) fn new(issuer: &Url, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        check_url(issuer).context("--oidc-issuer")?;
        let mut client = Client::builder().timeout(FETCH).redirect(Policy::none());
        if let Some(path) = ca_file {
            let read = || anyhow::Ok(Certificate::from_pem_bundle(&std::fs::read(path)?)?);
            let certificates = read().with_context(|| format!("--oidc-ca-file {}", path.display()))?;
            client = client.tls_certs_merge(certificates);
        }
        let client = client.build().context("failed to set up the client of the OIDC issuer")?;
        Ok(Self { issuer: issuer.clone(), client, state: Mutex::default() })
    }

    /// Returns the key of that id; without one the only key there is.
    pub(super) async fn find(&self, kid: Option<&str>) -> Result<Option<Jwk>, ApiError> {
        // Those who wait here get what the first of them has read.
        let mut state = self.state.lock().await;
        let is_old = state.read.is_none_or(|it| it.elapsed() > FRESH);
        let may_try = state.tried.is_none_or(|it| it.elapsed() > PAUSE);
        if (is_old || pick(&state.keys, kid).is_none()) && may_try {
            state.tried = Some(Instant::now());
            match self.read().await {
                Ok(keys) => {
                    tracing::info!(keys = keys.len(), "keys of the OIDC issuer read");
                    *state = State { keys, read: Some(Instant::now()), ..*state };
                }
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "failed to read the keys of the OIDC issuer");
                }
            }
        }
        if state.read.is_none_or(|it| it.elapsed() > USABLE) {
            let detail = "the OIDC issuer's keys cannot be read; try again";
            return Err(ApiError::new(Code::IssuerUnavailable, detail));
        }
        Ok(pick(&state.keys, kid).cloned())
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

fn pick<'k>(keys: &'k [Jwk], kid: Option<&str>) -> Option<&'k Jwk> {
    match (kid, keys) {
        (Some(kid), keys) => keys.iter().find(|it| it.common.key_id.as_deref() == Some(kid)),
        (None, [key]) => Some(key),
        (None, _) => None,
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
