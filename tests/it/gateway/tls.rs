//! HTTPS, as the gateway's executable serves it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use reqwest::StatusCode;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::surroundings::until;
use crate::harness::Harness;
use crate::harness::process::Gateway;

/// An authority, and the files of what it signed.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    fn new(harness: &Harness) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-tls", harness.namespace));
        std::fs::create_dir_all(&folder).expect("it can be made");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
        let authority = Self { issuer, folder };
        std::fs::write(authority.path("ca.crt"), authority.issuer.pem()).expect("it can be written");
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Signs a certificate for loopback and writes it with its key.
    fn sign(&self, name: &str) -> CertificateDer<'static> {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).expect("it can be written");
        std::fs::write(self.path(&format!("{name}.crt")), certificate.pem()).expect("it can be written");
        certificate.der().clone()
    }

    async fn gateway(&self, harness: &Harness, variables: &[(&str, &Path)]) -> Gateway {
        let (certificate, key) = (self.path("server.crt"), self.path("server.key"));
        let mut all = vec![
            ("IMAGEBATCH_TLS_CERTIFICATE", certificate.as_path()),
            ("IMAGEBATCH_TLS_KEY", key.as_path()),
            ("IMAGEBATCH_TLS_RELOAD_SECONDS", Path::new("1")),
        ];
        all.extend(variables);
        let all: Vec<_> = all.into_iter().map(|(name, path)| (name, path.to_str().expect("text"))).collect();
        Gateway::start_https(harness, &all, Stdio::inherit()).await
    }

    /// Opens a connection; returns it with the certificate that it was shown.
    async fn connect(&self, gateway: &Gateway) -> (TlsStream<TcpStream>, CertificateDer<'static>) {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
        let stream = TcpStream::connect(gateway.address()).await.expect("it listens");
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        let stream = stream.expect("the certificate is good");
        let shown = stream.get_ref().1.peer_certificates().expect("a certificate")[0].clone().into_owned();
        (stream, shown)
    }

    fn client(&self) -> reqwest::ClientBuilder {
        let authority = reqwest::Certificate::from_pem(self.issuer.pem().as_bytes()).expect("a certificate");
        reqwest::Client::builder().no_proxy().tls_certs_only([authority])
    }
}

/// Asks over a connection that stays open.
async fn ask(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(b"GET /v1/batches/none HTTP/1.1\r\nhost: any\r\n\r\n").await.expect("it is open");
    let mut answer = vec![0; 4_096];
    let length = stream.read(&mut answer).await.expect("it answers");
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test]
async fn a_renewed_certificate_is_served_and_no_connection_is_dropped() {
    let harness = Harness::start().await;
    let authority = Authority::new(&harness);
    let first = authority.sign("server");
    let gateway = authority.gateway(&harness, &[]).await;
    let (mut stream, shown) = authority.connect(&gateway).await;
    assert_eq!(shown, first);
    let answer = ask(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(answer.to_lowercase().contains("strict-transport-security: max-age=31536000"), "{answer}");

    // A certificate without its key is of no use, and the old one stays.
    std::fs::write(authority.path("server.key"), KeyPair::generate().expect("a key").serialize_pem()).expect("written");
    let second = authority.sign("server");
    until("the new certificate is served", async || authority.connect(&gateway).await.1 == second).await;
    let answer = ask(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

#[tokio::test]
async fn clients_need_a_certificate_where_an_authority_of_theirs_is_named() {
    let harness = Harness::start().await;
    let authority = Authority::new(&harness);
    authority.sign("server");
    authority.sign("client");
    let ca = authority.path("ca.crt");
    let gateway = authority.gateway(&harness, &[("IMAGEBATCH_TLS_CLIENT_CA", &ca)]).await;
    let url = format!("{}/v1/batches/none", gateway.url);
    let nobody = authority.client().build().expect("a client");
    nobody.get(&url).send().await.expect_err("a certificate is missing");
    let read = |name: &str| std::fs::read(authority.path(name)).expect("it was written");
    let identity = [read("client.crt"), read("client.key")].concat();
    let identity = reqwest::Identity::from_pem(&identity).expect("a certificate and its key");
    let known = authority.client().identity(identity).build().expect("a client");
    assert_eq!(known.get(&url).send().await.expect("it answers").status(), StatusCode::NOT_FOUND);
}

/// The first bytes of a client that knows at most TLS 1.1 (RFC 4346, 7.4.1.2).
fn hello_of_tls_1_1() -> Vec<u8> {
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    // No session; one suite (TLS_RSA_WITH_AES_128_CBC_SHA); no compression.
    hello.extend([0, 0, 2, 0, 0x2f, 1, 0]);
    let length = hello.len() as u8;
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    record
}

#[tokio::test]
async fn old_versions_of_tls_and_plain_http_are_refused() {
    let harness = Harness::start().await;
    let authority = Authority::new(&harness);
    authority.sign("server");
    let gateway = authority.gateway(&harness, &[]).await;
    // An alert (21) that ends the connection (2): the version is not served (70), or no suite in common (40).
    for (sent, alerts) in [(hello_of_tls_1_1(), [70, 40]), (b"GET / HTTP/1.1\r\nhost: any\r\n\r\n".to_vec(), [50, 10])]
    {
        let mut stream = TcpStream::connect(gateway.address()).await.expect("it listens");
        stream.write_all(&sent).await.expect("it takes it");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        let is_alert = answer.len() == 7 && answer[0] == 21 && answer[5] == 2 && alerts.contains(&answer[6]);
        assert!(is_alert || answer.is_empty(), "{answer:?}");
    }
}
