//! The load: HTTP/1.1 connections by hyper, each of which asks again as soon as it is answered. hyper speaks the
//! protocol properly, is at hand wherever this builds, and leaves each latency to be kept as it was.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Barrier;

/// What is asked for, with which key.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    pub(crate) key: String,
}

impl Target {
    fn request(&self) -> Result<Request<Empty<Bytes>>> {
        let request = Request::get(&self.path).header(HOST, self.address.to_string());
        Ok(request.header(AUTHORIZATION, format!("Bearer {}", self.key)).body(Empty::new())?)
    }

    /// Asks over a new connection; returns it with the answer's head.
    pub(crate) async fn open(&self) -> Result<(SendRequest<Empty<Bytes>>, Response<Incoming>)> {
        let mut sender = self.connect().await?;
        let response = sender.send_request(self.request()?).await?;
        Ok((sender, response))
    }

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// What came of a load.
pub(crate) struct Load {
    pub(crate) requests: usize,
    pub(crate) seconds: f64,
    /// Seconds of each request, in order.
    latencies: Vec<f64>,
}

impl Load {
    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// Returns what so many per cent of the requests did not exceed.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        percentile(&self.latencies, percent)
    }
}

/// Asks over so many connections for a while. Every answer must be 200 and of that length.
pub(crate) async fn run(target: &Target, connections: usize, length: Duration, bytes: usize) -> Result<Load> {
    let barrier = Arc::new(Barrier::new(connections + 1));
    let mut running = Vec::with_capacity(connections);
    for _ in 0..connections {
        let (target, barrier) = (target.clone(), Arc::clone(&barrier));
        let mut sender = target.connect().await?;
        running.push(tokio::spawn(async move {
            let request = target.request()?;
            let mut latencies = Vec::new();
            barrier.wait().await;
            let end = Instant::now() + length;
            loop {
                let start = Instant::now();
                if start >= end {
                    return Ok(latencies);
                }
                sender.ready().await?;
                let response = sender.send_request(request.clone()).await?;
                let status = response.status();
                let body = response.into_body().collect().await?.to_bytes();
                ensure!(status == 200 && body.len() == bytes, "{status}: {}", String::from_utf8_lossy(&body));
                latencies.push(start.elapsed().as_secs_f64());
            }
        }));
    }
    barrier.wait().await;
    let start = Instant::now();
    let mut latencies = Vec::new();
    for connection in running {
        latencies.extend(connection.await.context("a connection panicked")??);
    }
    let seconds = start.elapsed().as_secs_f64();
    latencies.sort_by(f64::total_cmp);
    Ok(Load { requests: latencies.len(), seconds, latencies })
}

/// Returns what so many per cent of sorted values do not exceed.
pub(crate) fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let place = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Returns the middle one of some values.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    percentile(&values, 50.0)
}
