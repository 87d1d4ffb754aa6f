//! One image: fetch -> codec -> store. Its failure is its outcome; only storage that stays away
//! ends the shard.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::{StageError, Worker};
use crate::api::image_batch::Compression;
use crate::egress::FetchError;
use crate::manifest::outcome::{FailureReason, ImageOutcome, Outcome};

/// Tries of one image while its host fails in a way that may pass.
const MAX_ATTEMPTS: usize = 4;
/// What a host's `Retry-After` can ask for at most; longer than that the image fails.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(15);

/// Processes one image to its outcome.
pub(crate) async fn process(worker: &Worker, codec: Arc<Semaphore>, url: String) -> Result<ImageOutcome, StageError> {
    let start = Instant::now();
    let (fetched, attempts) = fetch(worker, &url).await;
    let mut outcome = match fetched {
        Err(error) => failed_fetch(&url, &error),
        Ok(source) => compress_and_store(worker, codec, &url, source).await?,
    };
    outcome.attempts = attempts;
    outcome.duration_ms = start.elapsed().as_millis() as i64;
    tracing::debug!(url, outcome = ?outcome.outcome, reason = ?outcome.reason, duration_ms = outcome.duration_ms, "image done");
    Ok(outcome)
}

async fn fetch(worker: &Worker, url: &str) -> (Result<Bytes, FetchError>, i32) {
    let backoff = ExponentialBuilder::default().with_jitter().with_min_delay(Duration::from_millis(250));
    let mut delays = backoff.with_max_times(MAX_ATTEMPTS - 1).build();
    let mut attempts = 1;
    loop {
        let result = worker.egress.fetch(url).await;
        let Err(error) = &result else { return (result, attempts) };
        let Some(delay) = delays.next().filter(|_| error.is_transient()) else { return (result, attempts) };
        let asked = match error {
            FetchError::Status { retry_after, .. } => *retry_after,
            _ => None,
        };
        if asked.is_some_and(|asked| asked > MAX_RETRY_AFTER) {
            return (result, attempts);
        }
        tokio::time::sleep(delay.max(asked.unwrap_or_default())).await;
        attempts += 1;
    }
}

async fn compress_and_store(
    worker: &Worker,
    codec: Arc<Semaphore>,
    url: &str,
    source: Bytes,
) -> Result<ImageOutcome, StageError> {
    let options = codec_options(&worker.input.compression);
    let compressed = {
        // Never closed, so an error cannot happen; without a permit the image would just run at once.
        let _permit = codec.acquire().await.ok();
        let source = source.clone();
        tokio::task::spawn_blocking(move || codec::compress(&source, &options, &codec::Limits::default())).await
    };
    let compressed = match compressed {
        Ok(Ok(compressed)) => compressed,
        Ok(Err(error)) => return Ok(ImageOutcome::failed(url, codec_reason(&error), error.to_string())),
        Err(panic) => return Ok(ImageOutcome::failed(url, FailureReason::CodecCrashed, panic.to_string())),
    };
    let bytes_in = source.len() as i64;
    let (outcome, bytes) = match compressed.bytes {
        Some(bytes) => (Outcome::Compressed, Bytes::from(bytes)),
        None => (Outcome::KeptOriginal, source),
    };
    let sha256 = hex::encode(Sha256::digest(&bytes));
    let key = worker.keys().image(&sha256, url, compressed.format.extension());
    let bytes_out = bytes.len() as i64;
    worker.storage.put_image(&key, compressed.format.content_type(), bytes).await?;
    Ok(ImageOutcome {
        outcome,
        url: url.to_owned(),
        output_url: Some(worker.storage.public_url(&key)),
        reason: None,
        message: None,
        http_status: None,
        attempts: 0,
        bytes_in,
        bytes_out,
        format: Some(compressed.format.to_string()),
        width: Some(compressed.width.into()),
        height: Some(compressed.height.into()),
        source_quality: Some(compressed.source_quality.into()),
        quality: Some(compressed.quality.into()),
        duration_ms: 0,
    })
}

/// Returns the codec's options for `spec.compression`, which the API server has validated.
pub(crate) fn codec_options(compression: &Compression) -> codec::Options {
    let quality = match &compression.quality {
        IntOrString::Int(quality) => codec::Quality::Absolute((*quality).clamp(1, 100) as u8),
        IntOrString::String(quality) => {
            codec::Quality::Relative(quality.trim_end_matches('%').parse().unwrap_or(50).clamp(1, 100))
        }
    };
    codec::Options { quality, min_quality: compression.min_quality.clamp(1, 100) as u8, ..codec::Options::default() }
}

fn failed_fetch(url: &str, error: &FetchError) -> ImageOutcome {
    let mut outcome = ImageOutcome::failed(url, fetch_reason(error), error.to_string());
    if let FetchError::Status { status, .. } = error {
        outcome.http_status = Some(status.as_u16().into());
    }
    outcome
}

fn fetch_reason(error: &FetchError) -> FailureReason {
    match error {
        FetchError::AddressForbidden(_) => FailureReason::AddressForbidden,
        FetchError::RedirectRefused(_) => FailureReason::RedirectRefused,
        FetchError::HostNotFound(_) => FailureReason::HostNotFound,
        FetchError::Connect(_) => FailureReason::ConnectFailed,
        FetchError::Timeout(_) => FailureReason::FetchTimeout,
        FetchError::BodyIncomplete(_) => FailureReason::BodyIncomplete,
        FetchError::TooLarge(_) => FailureReason::FileTooLarge,
        FetchError::Status { status, .. } => match status.as_u16() {
            404 | 410 => FailureReason::ImageNotFound,
            401 | 403 => FailureReason::AccessDenied,
            429 | 503 => FailureReason::HostOverloaded,
            500..=599 => FailureReason::HostFailed,
            _ => FailureReason::RequestRefused,
        },
    }
}

fn codec_reason(error: &codec::Error) -> FailureReason {
    match error {
        codec::Error::NotAnImage { .. } => FailureReason::NotAnImage,
        codec::Error::UnsupportedFormat { .. } => FailureReason::UnsupportedFormat,
        codec::Error::ImageTruncated { .. } => FailureReason::ImageTruncated,
        codec::Error::ImageCorrupt { .. } => FailureReason::ImageCorrupt,
        codec::Error::ImageTooLarge { .. } => FailureReason::ImageTooLarge,
        codec::Error::EncodeFailed { .. } => FailureReason::EncodeFailed,
    }
}
