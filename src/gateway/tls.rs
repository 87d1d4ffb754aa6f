//! HTTPS: certificate and key from files, which are read again when they are renewed.
//!
//! cert-manager and Kubernetes replace a Secret's files under a running pod. Connections that are open go on with
//! the certificate they began with; new ones get the new. What cannot be used, such as a certificate whose key has
//! not arrived yet, is told in the log, and the old one stays.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// How the API is encrypted.
#[derive(Args, Debug, Clone, Default)]
pub struct TlsArgs {
    /// File of the certificate and of those above it, as PEM; read again when it changes. Needs --tls-key.
    #[arg(long, env = "IMAGEBATCH_TLS_CERTIFICATE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// File of the certificate's private key, as PEM.
    #[arg(long, env = "IMAGEBATCH_TLS_KEY", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// File of the authorities, as PEM, by one of which clients' certificates must be signed. Without it clients
    /// need none.
    #[arg(long, env = "IMAGEBATCH_TLS_CLIENT_CA", requires = "tls_certificate")]
    pub tls_client_ca: Option<PathBuf>,
    /// Serve without encryption: behind a proxy that encrypts, or for a try. It must be asked for.
    #[arg(long, env = "IMAGEBATCH_PLAIN_HTTP", action = clap::ArgAction::Set, default_value_t = false, num_args = 0..=1, default_missing_value = "true", conflicts_with = "tls_certificate")]
    pub plain_http: bool,
    /// Seconds between two looks at the files.
    #[arg(long, env = "IMAGEBATCH_TLS_RELOAD_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=3_600))]
    pub tls_reload_seconds: u16,
}

impl TlsArgs {
    /// Reads the files; `None` is plain HTTP.
    pub(crate) fn load(&self) -> anyhow::Result<Option<Tls>> {
        let (Some(certificate), Some(key)) = (&self.tls_certificate, &self.tls_key) else {
            ensure!(
                self.plain_http,
                "give --tls-certificate and --tls-key, or ask for --plain-http where something in front encrypts"
            );
            return Ok(None);
        };
        let files = Files { certificate: certificate.clone(), key: key.clone(), client_ca: self.tls_client_ca.clone() };
        let pem = files.read()?;
        let current = watch::Sender::new(Arc::new(pem.config()?));
        let interval = Duration::from_secs(self.tls_reload_seconds.into());
        Ok(Some(Tls(Arc::new(Inner { files, current, interval, last: pem }))))
    }
}

/// The certificate that is served now.
#[derive(Clone)]
pub(crate) struct Tls(Arc<Inner>);

struct Inner {
    files: Files,
    current: watch::Sender<Arc<ServerConfig>>,
    interval: Duration,
    /// What the files held at the start.
    last: Pem,
}

impl Tls {
    /// Returns what a new connection is encrypted with.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.current.borrow()))
    }

    /// Reads the files again and again, for ever.
    pub(crate) async fn renew(&self) {
        let Inner { files, current, interval, last } = &*self.0;
        let mut last = last.clone();
        loop {
            tokio::time::sleep(*interval).await;
            let files = files.clone();
            let Ok(read) = tokio::task::spawn_blocking(move || files.read()).await else { continue };
            match read {
                Ok(pem) if pem == last => {}
                Ok(pem) => {
                    match pem.config() {
                        Ok(config) => {
                            current.send_replace(Arc::new(config));
                            tracing::info!("the TLS certificate was renewed");
                        }
                        Err(error) => {
                            tracing::error!(error = format!("{error:#}"), "a new TLS certificate is of no use");
                        }
                    }
                    last = pem;
                }
                Err(error) => tracing::error!(error = format!("{error:#}"), "the TLS files cannot be read"),
            }
        }
    }
}

#[derive(Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

impl Files {
    fn read(&self) -> anyhow::Result<Pem> {
        let read = |path: &Path| std::fs::read(path).with_context(|| format!("failed to read {}", path.display()));
        Ok(Pem {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
            client_ca: self.client_ca.as_deref().map(read).transpose()?,
        })
    }
}

/// What the files hold.
#[derive(Clone, PartialEq)]
struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Pem {
    /// TLS 1.2 and 1.3: rustls knows no others.
    fn config(&self) -> anyhow::Result<ServerConfig> {
        let chain = certificates(&self.certificate).context("--tls-certificate")?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).context("--tls-key is no private key in PEM")?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let config = match &self.client_ca {
            None => config.with_no_client_auth(),
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(pem).context("--tls-client-ca")? {
                    roots.add(authority).context("--tls-client-ca")?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                config.with_client_cert_verifier(verifier.context("--tls-client-ca")?)
            }
        };
        let config = config.with_single_cert(chain, key);
        let mut config = config.context("--tls-certificate and --tls-key do not go together")?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn certificates(pem: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().context("it is no PEM")?;
    if found.is_empty() {
        bail!("it holds no certificate");
    }
    Ok(found)
}
