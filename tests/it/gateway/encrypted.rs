//! Stores that serve TLS by an authority of their own: with it clients work, with another they say why not.

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use imagebatch::records::{Patience, Records, RecordsArgs};
use imagebatch::storage::{Storage, StorageError};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::harness::{Harness, PATIENCE, Running};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate"))
    }

    fn write(&self, harness: &Harness, name: &str) -> PathBuf {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}.crt", harness.namespace));
        std::fs::write(&path, self.0.pem()).expect("it can be written");
        path
    }

    /// Puts TLS before a server, with a certificate for loopback.
    async fn encrypt(&self, upstream: String) -> (SocketAddr, Running) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![certificate.der().clone()], key).expect("a certificate");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let serving = async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, upstream) = (acceptor.clone(), upstream.clone());
                tokio::spawn(async move {
                    // A client that does not trust the certificate goes away here.
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let mut server = TcpStream::connect(upstream).await.expect("it listens");
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        };
        (address, Running(tokio::spawn(serving)))
    }
}

/// Returns host and port of one of the harness' servers.
fn authority_of(url: &str) -> String {
    let (_, rest) = url.split_once("://").expect("a URL");
    rest.split('/').next().expect("a host").to_owned()
}

/// Returns what an error says with its causes, as logs have it.
fn chain(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}

fn storage(harness: &Harness, address: SocketAddr, authority: Option<&Path>) -> Result<Storage, StorageError> {
    let mut args = harness.storage_args();
    args.s3.endpoint = Some(format!("https://{address}").parse().expect("a URL"));
    args.s3.ca_file = authority.map(Path::to_owned);
    // As the workers have it; nobody waits that long for what cannot become right.
    Storage::with_retries(&args, PATIENCE * 2)
}

async fn records(address: SocketAddr, authority: Option<&Path>) -> Records {
    let file = authority.map_or_else(String::new, |it| format!("&tlsCAFile={}", it.display()));
    let mongodb_uri = format!("mongodb://{address}/?tls=true&serverSelectionTimeoutMS=2000{file}").into();
    let args = RecordsArgs { mongodb_uri, mongodb_database: "none".to_owned() };
    Records::new(&args, Patience::Short).await.expect("a connection string")
}

#[tokio::test]
async fn stores_are_reached_by_their_own_authority_and_by_no_other() {
    let harness = Harness::start().await;
    let (own, other) = (Authority::new(), Authority::new());
    let server = |name: &str| authority_of(&harness.environment()[name]);
    let (s3, _s3) = own.encrypt(server("IMAGEBATCH_S3_ENDPOINT")).await;
    let (mongodb, _mongodb) = own.encrypt(server("IMAGEBATCH_MONGODB_URI")).await;
    let (own, other) = (own.write(&harness, "own"), other.write(&harness, "other"));

    storage(&harness, s3, Some(&own)).expect("arguments").check().await.expect("the certificate is good");
    records(mongodb, Some(&own)).await.check().await.expect("the certificate is good");

    // The public authorities do not know it either.
    for authority in [Some(other.as_path()), None] {
        let storage = storage(&harness, s3, authority).expect("arguments");
        let answer = tokio::time::timeout(PATIENCE, storage.check()).await.expect("it is not tried again");
        let error = answer.expect_err("not its authority");
        let said = chain(&error);
        assert!(said.contains("failed to read object") && said.contains("certificate"), "{said}");
        let error = records(mongodb, authority).await.check().await.expect_err("not its authority");
        let said = chain(&error);
        assert!(said.contains("failed to ping MongoDB") && said.contains("certificate"), "{said}");
    }

    // Without TLS nobody is talked to.
    let mut args = harness.storage_args();
    args.s3.endpoint = Some(format!("http://{s3}").parse().expect("a URL"));
    Storage::with_retries(&args, Duration::ZERO).expect("arguments").check().await.expect_err("it wants TLS");
}

#[tokio::test]
async fn a_file_without_authorities_is_named() {
    let harness = Harness::start().await;
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let absent = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("absent.crt");
    let error = storage(&harness, nowhere, Some(&absent)).expect_err("there is no such file");
    assert!(chain(&error).contains("absent.crt") && chain(&error).contains("--s3-ca-file"), "{}", chain(&error));
    let empty = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-empty.crt", harness.namespace));
    std::fs::write(&empty, "no certificate\n").expect("it can be written");
    let error = storage(&harness, nowhere, Some(&empty)).expect_err("there is no certificate in it");
    assert!(chain(&error).contains("empty.crt"), "{}", chain(&error));
}
