//! The bytes as they come over the wire, bounded in number and time.

use std::time::{Duration, Instant};

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;

use super::{BodyError, DRAIN};

/// Longest time between two chunks.
pub(super) const IDLE: Duration = Duration::from_secs(30);
/// Slowest client that is waited for, on the average of the whole body.
pub(super) const MIN_BYTES_PER_SECOND: u64 = 1024;

/// Returns the body's chunks; ends with an error at the first limit that is passed.
pub(super) fn bounded(
    body: Body,
    max_bytes: u64,
    ending: CancellationToken,
) -> impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static {
    async_stream::try_stream! {
        let mut chunks = body.into_data_stream();
        let mut bytes = 0;
        // Only the client's time counts: while storage is slow, nobody asks for the next chunk.
        let mut waited = Duration::ZERO;
        loop {
            let start = Instant::now();
            let next = tokio::select! {
                next = tokio::time::timeout(IDLE, chunks.next()) => next.map_err(|_| BodyError::TooSlow),
                () = ending.cancelled() => Err(BodyError::Ending),
            }?;
            let Some(chunk) = next else { break };
            let chunk = chunk.map_err(BodyError::Incomplete)?;
            waited += start.elapsed();
            bytes += chunk.len() as u64;
            if bytes > max_bytes {
                drain(&mut chunks).await;
                Err(BodyError::TooLarge(max_bytes))?;
            }
            if waited > IDLE + Duration::from_secs(bytes / MIN_BYTES_PER_SECOND) {
                Err(BodyError::TooSlow)?;
            }
            yield chunk;
            // The form's parser takes whatever is ready at once; a pause keeps that to one chunk.
            tokio::task::yield_now().await;
        }
    }
}

/// Reads what is left of a refused body, for a while.
pub(super) async fn drain(chunks: &mut BodyDataStream) {
    let rest = async { while let Some(Ok(_)) = chunks.next().await {} };
    let _ = tokio::time::timeout(DRAIN, rest).await;
}
