//! Accepts connections and ends them in order: clients that dawdle with their handshake or their headers are cut
//! off, there are never more than can be served, and requests in flight at the end are finished.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::{Layer, ServiceExt};

use super::error::chain;
use super::tls::Tls;

/// Longest time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Longest time for a request's headers, and for a connection without a request.
const HEADERS: Duration = Duration::from_secs(30);
/// Most bytes of a request's line and headers, and of what HTTP/1 reads at once.
const MAX_HEADERS: usize = 64 * 1024;
/// Most requests of one HTTP/2 connection at the same time.
const MAX_STREAMS: u32 = 128;
/// Most connections; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 16_384;
/// Pause after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Http = auto::Builder<TokioExecutor>;

/// Serves until `stop` is cancelled, then finishes the requests in flight for at most `grace`. Without `tls` in
/// plain HTTP.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    stop: CancellationToken,
    grace: Duration,
) {
    let http = Arc::new(http(HEADERS));
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = async {
            // Never closed.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (http, tls, router, watcher) = (Arc::clone(&http), tls.clone(), router.clone(), connections.watcher());
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = connect(stream, peer, &http, tls, router, watcher).await {
                tracing::debug!(error = chain(&*error), "connection ended");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(grace, connections.shutdown()).await.is_err() {
        tracing::warn!("requests were still in flight at the end");
    }
}

/// Returns what speaks HTTP, with its bounds.
fn http(headers: Duration) -> Http {
    let mut http = Http::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(headers).max_buf_size(MAX_HEADERS);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(headers)
        .max_header_list_size(MAX_HEADERS as u32)
        .max_concurrent_streams(MAX_STREAMS);
    http
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn connect(
    stream: TcpStream,
    peer: SocketAddr,
    http: &Http,
    tls: Option<Tls>,
    router: Router,
    watcher: Watcher,
) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return talk(stream, peer, http, router, watcher, HEADERS).await };
    let stream = tokio::time::timeout(HANDSHAKE, tls.acceptor().accept(stream)).await??;
    talk(stream, peer, http, router, watcher, HEADERS).await
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    http: &Http,
    router: Router,
    watcher: Watcher,
    headers: Duration,
) -> Result<(), Failure> {
    let begun = CancellationToken::new();
    let begins = begun.clone();
    let service = axum::Extension(ConnectInfo(peer)).layer(router).map_request(move |request: Request<Incoming>| {
        begins.cancel();
        request
    });
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).into_owned();
    let connection = watcher.watch(connection);
    tokio::pin!(connection);
    // hyper's own time begins once it knows the version of HTTP, for which it waits without end.
    tokio::select! {
        result = &mut connection => return result,
        () = begun.cancelled() => {}
        () = tokio::time::sleep(headers) => return Err("no request came in time".into()),
    }
    connection.await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// No wait of a test is longer.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Returns what a client gets that sends these, until its connection ends.
    async fn answer(headers: Duration, sent: &[u8]) -> String {
        let (mut client, server) = tokio::io::duplex(4 * MAX_HEADERS);
        let router = Router::new().fallback(async || "answered");
        let connections = GracefulShutdown::new();
        let (http, watcher) = (http(headers), connections.watcher());
        let serve =
            async { talk(server, SocketAddr::from(([127, 0, 0, 1], 1)), &http, router, watcher, headers).await };
        let ask = async {
            client.write_all(sent).await.expect("the server is there");
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.expect("the connection ends");
            String::from_utf8(answer).expect("text")
        };
        // How it ends is the client's to see.
        let (_, answer) = tokio::time::timeout(PATIENCE, async { tokio::join!(serve, ask) }).await.expect("it ends");
        answer
    }

    #[tokio::test]
    async fn who_dawdles_with_headers_is_cut_off() {
        let short = Duration::from_millis(50);
        for sent in ["", "PRI * HTTP/2", "GET / HTTP/1.1\r\nhost: any\r\nx-slow: "] {
            assert_eq!(answer(short, sent.as_bytes()).await, "", "{sent:?}");
        }
        // After an answer the time begins anew.
        let answer = answer(short, b"GET / HTTP/1.1\r\nhost: any\r\n\r\nGET /").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("answered"), "{answer:?}");
    }

    #[tokio::test]
    async fn headers_that_are_too_large_are_refused() {
        for (size, status) in [(MAX_HEADERS / 2, "200"), (2 * MAX_HEADERS, "431")] {
            let value = "x".repeat(size);
            let sent = format!("GET / HTTP/1.1\r\nhost: any\r\nconnection: close\r\nx-large: {value}\r\n\r\n");
            let answer = answer(PATIENCE, sent.as_bytes()).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{size}: {answer:?}");
        }
    }
}
