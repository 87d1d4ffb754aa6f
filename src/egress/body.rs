//! A body as it arrives, within bounds: bytes after decompression, time, and rate.

use std::time::Duration;

use async_stream::try_stream;
use bytes::Bytes;
use futures::Stream;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::Instant;
use tower_http::decompression::DecompressionBody;

use super::error::{FetchError, of_body};
use super::turns::Turn;

/// Least bytes over a window of time.
#[derive(Debug, Clone, Copy)]
pub(super) struct MinRate {
    pub(super) bytes_per_second: u64,
    pub(super) window: Duration,
}

impl MinRate {
    fn bytes(self) -> u64 {
        self.bytes_per_second.saturating_mul(self.window.as_millis() as u64) / 1_000
    }
}

/// Bounds of a body.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimits {
    pub(super) max_bytes: u64,
    /// What is left of the fetch's time, and all of it for the message.
    pub(super) left: Duration,
    pub(super) whole: Duration,
    pub(super) min_rate: MinRate,
}

/// Returns the body's chunks. The turn ends with them: as long as a body comes, its request is open.
///
/// Time is what the host takes: a reader that is slow itself, such as storage that is away for a
/// minute, does not make the host look slow.
pub(super) fn read(
    mut body: DecompressionBody<Incoming>,
    limits: BodyLimits,
    turn: Turn,
) -> impl Stream<Item = Result<Bytes, FetchError>> + Send + 'static {
    try_stream! {
        let _turn = turn;
        let BodyLimits { max_bytes, mut left, whole, min_rate } = limits;
        let mut bytes = 0;
        let (mut window, mut window_bytes) = (Duration::ZERO, 0);
        loop {
            let start = Instant::now();
            let patience = left.min(min_rate.window.saturating_sub(window));
            let frame = tokio::time::timeout(patience, body.frame()).await;
            let waited = start.elapsed();
            left = left.saturating_sub(waited);
            window += waited;
            let chunk = match frame {
                Ok(None) => break,
                Ok(Some(Err(error))) => Err(of_body(&*error))?,
                // Trailers are of no interest.
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
                Err(_) => Bytes::new(),
            };
            bytes += chunk.len() as u64;
            window_bytes += chunk.len() as u64;
            if bytes > max_bytes {
                Err(FetchError::TooLarge(max_bytes))?;
            }
            if left.is_zero() {
                Err(FetchError::Timeout { what: "complete body", limit: whole })?;
            }
            if window >= min_rate.window {
                if window_bytes < min_rate.bytes() {
                    Err(FetchError::TooSlow(min_rate.bytes_per_second))?;
                }
                (window, window_bytes) = (Duration::ZERO, 0);
            }
            if !chunk.is_empty() {
                yield chunk;
            }
        }
    }
}
