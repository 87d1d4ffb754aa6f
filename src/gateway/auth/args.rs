//! How callers are told apart, as it is asked for at the start.

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use url::Url;

use super::seal::Seal;

/// One way to tell callers apart.
#[derive(ValueEnum, Serialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Kubernetes' bearer tokens, by TokenReview.
    Kubernetes,
    /// JWTs of an OpenID Connect issuer.
    Oidc,
    /// Keys of this installation.
    ApiKey,
    /// Not at all: whoever reaches the address may do everything.
    None,
}

/// How callers are told apart, and what they see.
#[derive(Args, Debug, Clone)]
pub struct AuthArgs {
    /// How callers are authenticated: one or more of kubernetes, oidc and api-key; or none alone, with which
    /// whoever reaches the address can upload and read, so it must be asked for.
    #[arg(long, env = "IMAGEBATCH_AUTHENTICATION", value_delimiter = ',', required = true)]
    pub authentication: Vec<Mode>,
    /// Audience that Kubernetes' tokens must be made for.
    #[arg(long, env = "IMAGEBATCH_TOKEN_AUDIENCE", default_value = "imagebatch")]
    pub token_audience: String,
    /// Whose JWTs are accepted.
    #[command(flatten)]
    pub oidc: OidcArgs,
    /// Secret with the API keys, one an entry, and their pepper.
    #[arg(long, env = "IMAGEBATCH_API_KEYS_SECRET")]
    pub api_keys_secret: Option<String>,
    /// Namespace of that Secret; by default that of --namespace.
    #[arg(long, env = "IMAGEBATCH_API_KEYS_NAMESPACE")]
    pub api_keys_namespace: Option<String>,
    /// Images only for those who may get the batches of their namespace; else whoever knows a key may.
    #[arg(long, env = "IMAGEBATCH_PRIVATE_IMAGES")]
    pub private_images: bool,
    /// Key that the web page's cookies are sealed with, at least 32 characters and the same in all replicas; by
    /// default one of this process.
    #[arg(long, env = "IMAGEBATCH_SESSION_KEY", hide_env_values = true)]
    pub session_key: Option<SecretString>,
    /// Let the web page's cookie go over plain HTTP, for a gateway on the loopback.
    #[arg(long, env = "IMAGEBATCH_INSECURE_SESSION_COOKIE")]
    pub insecure_session_cookie: bool,
}

/// Whose JWTs are accepted, and who they are of.
#[derive(Args, Debug, Clone)]
pub struct OidcArgs {
    /// URL of the OpenID Connect issuer, as its tokens name it.
    #[arg(long, env = "IMAGEBATCH_OIDC_ISSUER")]
    pub oidc_issuer: Option<Url>,
    /// Audience that its tokens must be made for, mostly the client's id.
    #[arg(long, env = "IMAGEBATCH_OIDC_AUDIENCE")]
    pub oidc_audience: Option<String>,
    /// Claim that is the user's name.
    #[arg(long, env = "IMAGEBATCH_OIDC_USERNAME_CLAIM", default_value = "sub")]
    pub oidc_username_claim: String,
    /// What stands before the user's name, so that it is nobody else's.
    #[arg(long, env = "IMAGEBATCH_OIDC_USERNAME_PREFIX", default_value = "oidc:")]
    pub oidc_username_prefix: String,
    /// Claim that lists the user's groups.
    #[arg(long, env = "IMAGEBATCH_OIDC_GROUPS_CLAIM", default_value = "groups")]
    pub oidc_groups_claim: String,
    /// What stands before each group's name.
    #[arg(long, env = "IMAGEBATCH_OIDC_GROUPS_PREFIX", default_value = "oidc:")]
    pub oidc_groups_prefix: String,
    /// PEM file of the certificate authorities that the issuer's certificate may be of, besides the system's.
    #[arg(long, env = "IMAGEBATCH_OIDC_CA_FILE")]
    pub oidc_ca_file: Option<PathBuf>,
    /// Seconds after which the issuer's keys are read again: a key that the issuer took back works no longer.
    #[arg(long, env = "IMAGEBATCH_OIDC_KEYS_SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub oidc_keys_seconds: u16,
}

/// Shortest key of sessions.
const MIN_SESSION_KEY: usize = 32;

impl AuthArgs {
    /// Checks what depends on one another.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let has = |mode| self.authentication.contains(&mode);
        if has(Mode::None) {
            ensure!(self.authentication.len() == 1, "--authentication: none goes with nothing else");
            ensure!(!self.private_images, "--private-images needs an --authentication other than none");
        }
        ensure!(
            !has(Mode::Oidc) || self.oidc.oidc_issuer.is_some() && self.oidc.oidc_audience.is_some(),
            "--authentication=oidc needs --oidc-issuer and --oidc-audience"
        );
        ensure!(
            has(Mode::ApiKey) == self.api_keys_secret.is_some(),
            "--authentication=api-key and --api-keys-secret go together"
        );
        Ok(())
    }

    /// Returns what seals sessions.
    pub(super) fn seal(&self) -> anyhow::Result<Seal> {
        let Some(key) = &self.session_key else { return Ok(Seal::of_this_process(self.insecure_session_cookie)) };
        let key = key.expose_secret();
        if key.len() < MIN_SESSION_KEY {
            bail!("it has {} characters and needs {MIN_SESSION_KEY}; make one by: openssl rand -hex 32", key.len());
        }
        Seal::new(key.as_bytes(), self.insecure_session_cookie).context("it cannot be used")
    }
}
