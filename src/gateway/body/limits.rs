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
    bounded_within(IDLE, body, max_bytes, ending)
}

fn bounded_within(
    idle: Duration,
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
                next = tokio::time::timeout(idle, chunks.next()) => next.map_err(|_| BodyError::TooSlow),
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
            if waited > idle + Duration::from_secs(bytes / MIN_BYTES_PER_SECOND) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{TryStreamExt, stream};

    const IDLE: Duration = Duration::from_millis(100);

    async fn read(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Result<Vec<Bytes>, BodyError> {
        let body = Body::from_stream(chunks.map(Ok::<_, std::io::Error>));
        let bounded = bounded_within(IDLE, body, 1 << 20, CancellationToken::new());
        tokio::time::timeout(Duration::from_secs(60), bounded.boxed().try_collect()).await.expect("it ends")
    }

    #[tokio::test]
    async fn a_body_that_stops_is_given_up() {
        let stops = stream::iter([Bytes::from("S. No.")]).chain(stream::pending());
        assert!(matches!(read(stops).await, Err(BodyError::TooSlow)));
    }

    #[tokio::test]
    async fn a_body_that_trickles_is_given_up() {
        let trickles = stream::repeat(Bytes::from("x")).then(async |it| {
            tokio::time::sleep(IDLE / 10).await;
            it
        });
        assert!(matches!(read(trickles).await, Err(BodyError::TooSlow)));
    }

    #[tokio::test]
    async fn a_body_in_time_is_read_to_its_end() {
        let chunks = read(stream::iter(["S. No.", ",Product Name"].map(Bytes::from))).await.expect("a body");
        assert_eq!(chunks.concat(), b"S. No.,Product Name");
    }
}
