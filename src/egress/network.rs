//! The ways to the outside: name servers, sockets, certificate authorities, and the HTTP client on them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls_platform_verifier::BuilderVerifierExt;
use tower_http::decompression::Decompression;

use super::args::EgressArgs;
use super::connector::{Connector, Dial, SystemDial, Timed};
use super::resolver::Resolver;
use super::target::Rules;

/// Asks for one URL at a time: keeps connections, speaks HTTP/2 where the host does, follows nothing.
pub(super) type HttpClient = Decompression<Client<Timed<HttpsConnector<Connector>>, Full<Bytes>>>;

/// How long a connection without a request is kept.
const IDLE: Duration = Duration::from_secs(30);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The system's name servers or hosts cannot be read.
    #[error("failed to set up name resolution")]
    Resolver(#[from] hickory_resolver::net::NetError),
    /// The system's certificate authorities cannot be read.
    #[error("failed to set up TLS")]
    Tls(#[from] rustls::Error),
}

/// What the client reaches the outside by; tests put their own in place.
#[derive(Debug)]
pub struct Network {
    /// Finds a name's addresses.
    pub resolver: Resolver,
    /// Opens connections.
    pub dial: Arc<dyn Dial>,
    /// Whom to believe in TLS.
    pub tls: rustls::ClientConfig,
}

impl Network {
    /// Returns the system's name servers, sockets and certificate authorities.
    pub fn system() -> Result<Self, SetupError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_platform_verifier()?
            .with_no_client_auth();
        Ok(Self { resolver: Resolver::system()?, dial: Arc::new(SystemDial), tls })
    }

    /// Returns an HTTP client whose connections all pass the guard.
    pub(super) fn client(self, rules: Arc<Rules>, args: &EgressArgs) -> HttpClient {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(self.tls)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(Connector { rules, resolver: self.resolver, dial: self.dial });
        let limit = Duration::from_secs(args.fetch_connect_timeout_seconds);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(args.fetch_per_host.into())
            .build(Timed { connector, limit });
        Decompression::new(client)
    }
}
