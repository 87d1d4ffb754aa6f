//! Limits of time, rate, bytes and redirects, each met by a host that would go on for ever.

use std::time::Duration;

use imagebatch::egress::FetchError;
use imagebatch::egress::connector::Dial;

use crate::net::{NameServer, PUBLIC, addresses, args, client, no_tls, word};
use crate::origin::{Answer, Origin, head, ok};

/// Longer than every limit of the tests, and shorter than a test may hang.
const SOON: Duration = Duration::from_secs(20);

/// The limit that a test is about; the others stay as installed.
const FIRST_BYTE: &str = "--fetch-first-byte-timeout-seconds=1";
const WHOLE: &str = "--fetch-timeout-seconds=2";
const WINDOW: &str = "--fetch-min-rate-seconds=1";

async fn fails(answer: impl Fn() -> Answer + Send + Sync + 'static, given: &[&str]) -> FetchError {
    let origin = Origin::start(move |_, _| answer()).await;
    let (egress, _) = client(origin.address, given).await;
    let fetched = tokio::time::timeout(SOON, egress.fetch("http://public.test/x.jpg")).await;
    fetched.expect("a limit ends it").0.expect_err("it cannot succeed")
}

fn ok_head() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\n\r\n".to_vec()
}

#[tokio::test]
async fn a_host_that_stalls_before_the_first_byte() {
    let error = fails(|| Answer::Stall(Vec::new()), &[FIRST_BYTE]).await;
    assert_eq!(error.to_string(), "no answer within 1s");
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_host_that_drips_its_head() {
    let drip = || Answer::Forever(b"HTTP/1.1 200 OK\r\nX: ".to_vec(), b"y".to_vec(), Duration::from_millis(20));
    assert_eq!(fails(drip, &[FIRST_BYTE]).await.to_string(), "no answer within 1s");
}

#[tokio::test]
async fn a_host_that_drips_its_body() {
    let drip = || Answer::Forever(ok_head(), b"y".to_vec(), Duration::from_millis(20));
    let error = fails(drip, &[WINDOW]).await;
    assert_eq!(error.to_string(), "the body comes slower than 1024 bytes a second");
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_host_that_stalls_within_its_body() {
    let error = fails(|| Answer::Stall([ok_head(), b"image".to_vec()].concat()), &[WINDOW]).await;
    assert_eq!(word(&error), "TooSlow", "{error}");
}

#[tokio::test]
async fn a_host_that_is_fast_enough_and_never_ends() {
    let drip = || Answer::Forever(ok_head(), vec![0; 1_000], Duration::from_millis(20));
    let error = fails(drip, &[WHOLE, WINDOW]).await;
    assert_eq!(error.to_string(), "no complete body within 2s");
}

#[tokio::test]
async fn a_rate_of_zero_is_any_rate() {
    let drip = || Answer::Forever(ok_head(), b"y".to_vec(), Duration::from_millis(20));
    let error = fails(drip, &[WHOLE, WINDOW, "--fetch-min-bytes-per-second=0"]).await;
    assert_eq!(error.to_string(), "no complete body within 2s");
}

#[tokio::test]
async fn a_body_without_end() {
    let flood = || Answer::Forever(ok_head(), vec![0; 65_536], Duration::ZERO);
    assert_eq!(fails(flood, &[]).await.to_string(), "the file is larger than the limit of 1000000 bytes");
}

#[tokio::test]
async fn redirects_without_end() {
    let origin = Origin::start(|_, before| Answer::Bytes(head(&format!("302 Found\r\nLocation: /{before}")))).await;
    let (egress, _) = client(origin.address, &[]).await;
    let error = egress.fetch("http://public.test/x.jpg").await.0.expect_err("it never ends");
    assert_eq!(error.to_string(), "redirect refused: more than 5 redirects");
    assert_eq!(origin.requests().len(), 6);
    assert_eq!(origin.connections(), 1, "one connection serves them all");
}

#[tokio::test]
async fn redirects_share_the_time_of_one_try() {
    let slow = |_: &str, _| Answer::Later(Duration::from_millis(700), head("302 Found\r\nLocation: /on"));
    let origin = Origin::start(slow).await;
    let (egress, _) = client(origin.address, &[WHOLE]).await;
    let error = egress.fetch("http://public.test/x.jpg").await.0.expect_err("it takes too long");
    assert_eq!(error.to_string(), "no complete answer within 2s");
}

#[tokio::test]
async fn as_many_redirects_as_are_allowed() {
    let origin = Origin::start(|_, before| match before {
        0..5 => Answer::Bytes(head("307 Temporary Redirect\r\nLocation: ../on/x.jpg?a=b")),
        _ => Answer::Bytes(ok(b"image")),
    })
    .await;
    let (egress, _) = client(origin.address, &[]).await;
    assert_eq!(egress.fetch("http://public.test/a/x.jpg").await.0.expect("an image"), "image");
    assert!(origin.requests()[5].starts_with("GET /on/x.jpg?a=b "));
}

#[tokio::test]
async fn a_location_without_end() {
    let long = || Answer::Bytes(head(&format!("302 Found\r\nLocation: /{}", "x".repeat(10_000))));
    assert_eq!(word(&fails(long, &[]).await), "RedirectRefused");
}

/// Sockets that never connect.
#[derive(Debug)]
struct Nowhere;
impl Dial for Nowhere {
    fn dial(
        &self,
        _: std::net::SocketAddr,
    ) -> futures::future::BoxFuture<'static, std::io::Result<tokio::net::TcpStream>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_host_that_does_not_connect() {
    let name_server = NameServer::start(&[("public.test", addresses(&[PUBLIC]))]).await;
    let network = imagebatch::egress::Network {
        resolver: name_server.resolver(""),
        dial: std::sync::Arc::new(Nowhere),
        tls: no_tls(),
    };
    let egress = imagebatch::egress::Egress::with_network(&args(&["--fetch-connect-timeout-seconds=1"]), network);
    let error = egress.fetch("http://public.test/x.jpg").await.0.expect_err("it never connects");
    assert_eq!(error.to_string(), "no connection within 1s");
}
