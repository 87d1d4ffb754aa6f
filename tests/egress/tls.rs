//! TLS: HTTP/2 where the host speaks it, certificates that are not valid, and no way back to http.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::future::join_all;
use http::{Request, Response, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use imagebatch::egress::{Egress, Network};
use rustls::pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::net::{NameServer, PUBLIC, RecordingDial, addresses, args, trusting, word};

/// A host with TLS that serves every path but `/down`, which leads to http.
struct SecureOrigin {
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    connections: Arc<AtomicUsize>,
    versions: Arc<Mutex<Vec<Version>>>,
}

impl SecureOrigin {
    async fn start(name: &str, protocols: &[&str]) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        let certificate = made.cert.der().clone();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.into())
            .expect("the key belongs to the certificate");
        config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let versions = Arc::new(Mutex::new(Vec::new()));
        let (counted, noted) = (Arc::clone(&connections), Arc::clone(&versions));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, counted, noted) = (acceptor.clone(), Arc::clone(&counted), Arc::clone(&noted));
                tokio::spawn(async move {
                    // A client that does not like the certificate hangs up.
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    counted.fetch_add(1, Ordering::SeqCst);
                    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                        noted.lock().expect("not poisoned").push(request.version());
                        let response = match request.uri().path() {
                            "/down" => Response::builder().status(301).header("location", "http://secure.test/x.jpg"),
                            _ => Response::builder(),
                        };
                        std::future::ready(response.body(Full::new(Bytes::from_static(b"image"))))
                    });
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    // Its end is the client's doing.
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, certificate, connections, versions }
    }

    async fn client(&self, trusted: bool) -> (Egress, Arc<RecordingDial>) {
        let name_server = NameServer::start(&[("secure.test", addresses(&[PUBLIC]))]).await;
        let dial = RecordingDial::to(self.address);
        let authorities: &[CertificateDer<'static>] =
            if trusted { std::slice::from_ref(&self.certificate) } else { &[] };
        let network = Network { resolver: name_server.resolver(""), dial: dial.clone(), tls: trusting(authorities) };
        (
            Egress::with_network(
                &args(&["--fetch-attempts=3", "--fetch-per-host=20", "--fetch-connect-timeout-seconds=30"]),
                network,
            ),
            dial,
        )
    }
}

#[tokio::test]
async fn http2_is_spoken_where_the_host_speaks_it() {
    for (protocols, version) in [(["h2", "http/1.1"].as_slice(), Version::HTTP_2), (&["http/1.1"], Version::HTTP_11)] {
        let origin = SecureOrigin::start("secure.test", protocols).await;
        let (egress, dial) = origin.client(true).await;
        assert_eq!(egress.fetch("https://secure.test/x.jpg").await.0.expect("an image"), "image");
        let urls: Vec<String> = (0..20).map(|index| format!("https://secure.test/{index}.jpg")).collect();
        for (result, _) in join_all(urls.iter().map(|url| egress.fetch(url))).await {
            result.expect("an image");
        }
        let versions = origin.versions.lock().expect("not poisoned").clone();
        assert_eq!(versions, vec![version; 21]);
        if version == Version::HTTP_2 {
            assert_eq!(origin.connections.load(Ordering::SeqCst), 1, "one connection carries all requests");
        }
        assert!(dial.dialled().iter().all(|it| it.port() == 443));
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_is_final() {
    let origin = SecureOrigin::start("secure.test", &["h2"]).await;
    let other = SecureOrigin::start("other.test", &["h2"]).await;
    for (origin, trusted) in [(&origin, false), (&other, true)] {
        let (egress, _) = origin.client(trusted).await;
        let (result, attempts) = egress.fetch("https://secure.test/x.jpg").await;
        let error = result.expect_err("nobody vouches for it");
        assert_eq!((word(&error).as_str(), attempts), ("CertificateInvalid", 1), "{error}");
        assert_eq!(origin.versions.lock().expect("not poisoned").len(), 0, "no request was sent");
    }
}

#[tokio::test]
async fn no_redirect_leads_from_https_to_http() {
    let origin = SecureOrigin::start("secure.test", &["h2"]).await;
    let (egress, dial) = origin.client(true).await;
    let error = egress.fetch("https://secure.test/down").await.0.expect_err("it would go on in the clear");
    assert_eq!(error.to_string(), "redirect refused: from https to http");
    assert_eq!(dial.dialled().len(), 1);
}
