//! A host on loopback that answers with the bytes a test decides, right or wrong, and keeps count.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// What a request is answered with.
pub(crate) enum Answer {
    /// These bytes, then the next request.
    Bytes(Vec<u8>),
    /// These bytes after a wait, then the next request.
    Later(Duration, Vec<u8>),
    /// The first bytes, the second after a wait, then the next request.
    Halves(Vec<u8>, Duration, Vec<u8>),
    /// These bytes, then the end of the connection.
    Last(Vec<u8>),
    /// These bytes, then nothing more.
    Stall(Vec<u8>),
    /// The first bytes, then the second for ever, with a wait before each.
    Forever(Vec<u8>, Vec<u8>, Duration),
    /// A reset of the connection.
    Reset,
}

/// Returns a complete answer of 200.
pub(crate) fn ok(body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

/// Returns a complete answer without a body; `head` is status, reason and headers.
pub(crate) fn head(head: &str) -> Vec<u8> {
    format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<(Instant, String)>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

/// The host; ends with the test's runtime.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

impl Origin {
    /// Starts a host; `answer` is given the request's head and how many came before it.
    pub(crate) async fn start(answer: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen::default());
        let answer = Arc::new(answer);
        let noted = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                noted.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, Arc::clone(&answer), Arc::clone(&noted)));
            }
        });
        Self { address, seen }
    }

    /// Returns the heads of the requests.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().expect("not poisoned").iter().map(|(_, head)| head.clone()).collect()
    }

    /// Returns when the requests came.
    pub(crate) fn times(&self) -> Vec<Instant> {
        self.seen.requests.lock().expect("not poisoned").iter().map(|(time, _)| *time).collect()
    }

    /// Returns how many connections were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Returns how many requests were open at the same time at most.
    pub(crate) fn most_open(&self) -> usize {
        self.seen.most_open.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, answer: Arc<impl Fn(&str, usize) -> Answer>, seen: Arc<Seen>) {
    while let Some(head) = read_head(&mut stream).await {
        let before = {
            let mut requests = seen.requests.lock().expect("not poisoned");
            requests.push((Instant::now(), head.clone()));
            requests.len() - 1
        };
        let open = seen.open.fetch_add(1, Ordering::SeqCst) + 1;
        seen.most_open.fetch_max(open, Ordering::SeqCst);
        let goes_on = write(&mut stream, answer(&head, before), &seen.open).await;
        if !goes_on {
            return;
        }
    }
}

/// Writes an answer; a client that has hung up ends it. The request is closed before its last byte can
/// have arrived, so that the next one is never counted beside it.
async fn write(stream: &mut TcpStream, answer: Answer, open: &AtomicUsize) -> bool {
    let close = || open.fetch_sub(1, Ordering::SeqCst);
    match answer {
        Answer::Bytes(bytes) => {
            close();
            stream.write_all(&bytes).await.is_ok()
        }
        Answer::Later(wait, bytes) => {
            tokio::time::sleep(wait).await;
            close();
            stream.write_all(&bytes).await.is_ok()
        }
        Answer::Halves(first, wait, second) => {
            let written = stream.write_all(&first).await;
            tokio::time::sleep(wait).await;
            close();
            written.is_ok() && stream.write_all(&second).await.is_ok()
        }
        Answer::Last(bytes) => {
            close();
            // What fails to be written, the client does not want any more.
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            false
        }
        Answer::Stall(bytes) => {
            let _ = stream.write_all(&bytes).await;
            // Until the client hangs up.
            while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
            close();
            false
        }
        Answer::Forever(first, again, wait) => {
            let mut written = stream.write_all(&first).await;
            while written.is_ok() {
                tokio::time::sleep(wait).await;
                written = stream.write_all(&again).await;
            }
            close();
            false
        }
        Answer::Reset => {
            close();
            let _ = stream.set_zero_linger();
            false
        }
    }
}

async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}
