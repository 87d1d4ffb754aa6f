//! One image: fetch -> codec, in the sandbox -> store. Its failure is its outcome; only storage that stays away
//! ends the shard.

use std::time::Instant;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tracing::field::Empty;
use tracing::{Instrument, Span, debug_span};

use super::queue::Fetch;
use super::{StageError, Worker};
use crate::egress::FetchError;
use crate::failpoint;
use crate::manifest::outcome::{FailureReason, ImageOutcome, Outcome};

/// Processes one image to its outcome.
pub(crate) async fn process(worker: &Worker, url: String, fetch: Fetch) -> Result<ImageOutcome, StageError> {
    // Below the level of a log that is not asked for details: without traces it is nothing.
    let span = debug_span!(
        "image",
        url = without_query(&url),
        outcome = Empty,
        reason = Empty,
        bytes_in = Empty,
        bytes_out = Empty,
        otel.status_code = Empty,
    );
    let outcome = fetch_and_compress(worker, url, fetch).instrument(span.clone()).await?;
    if !span.is_disabled() {
        note(&span, &outcome);
    }
    Ok(outcome)
}

async fn fetch_and_compress(worker: &Worker, url: String, fetch: Fetch) -> Result<ImageOutcome, StageError> {
    let start = Instant::now();
    let (fetched, attempts) = worker.egress.fetch(&url).instrument(debug_span!("fetch")).await;
    drop(fetch);
    let mut outcome = match fetched {
        Err(error) => failed_fetch(&url, &error),
        Ok(source) => compress_and_store(worker, &url, source).await?,
    };
    outcome.attempts = attempts.into();
    outcome.duration_ms = start.elapsed().as_millis() as i64;
    tracing::debug!(outcome = ?outcome.outcome, reason = ?outcome.reason, duration_ms = outcome.duration_ms, "image done");
    Ok(outcome)
}

async fn compress_and_store(worker: &Worker, url: &str, source: Bytes) -> Result<ImageOutcome, StageError> {
    let transform = worker.sandbox.compress(&source, &worker.input.compression);
    let compressed = match transform.instrument(debug_span!("transform")).await? {
        Ok(compressed) => compressed,
        Err(failure) => return Ok(ImageOutcome::failed(url, failure.reason, failure.message)),
    };
    let bytes_in = source.len() as i64;
    let (outcome, bytes) = match compressed.bytes {
        Some(bytes) => {
            drop(source);
            (Outcome::Compressed, Bytes::from(bytes))
        }
        None => (Outcome::KeptOriginal, source),
    };
    let sha256 = hex::encode(Sha256::digest(&bytes));
    let key = worker.keys().image(&sha256, url, compressed.format.extension());
    let bytes_out = bytes.len() as i64;
    let put = worker.storage.put_image(&key, compressed.format.content_type(), bytes);
    failpoint::around("image.put", put).instrument(debug_span!("store")).await?;
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

/// Returns a URL without what may be a secret: signatures stand in the query.
fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

/// Says in an image's span what became of it.
fn note(span: &Span, outcome: &ImageOutcome) {
    span.record("outcome", tracing::field::debug(outcome.outcome));
    span.record("bytes_in", outcome.bytes_in);
    span.record("bytes_out", outcome.bytes_out);
    if let Some(reason) = outcome.reason {
        span.record("reason", reason.as_str());
        span.record("otel.status_code", "ERROR");
    }
}

fn failed_fetch(url: &str, error: &FetchError) -> ImageOutcome {
    let mut outcome = ImageOutcome::failed(url, fetch_reason(error), error.to_string());
    outcome.http_status = error.status().map(|status| status.as_u16().into());
    outcome
}

fn fetch_reason(error: &FetchError) -> FailureReason {
    match error {
        FetchError::InvalidUrl(_) => FailureReason::InvalidUrl,
        FetchError::UrlTooLong { .. } => FailureReason::UrlTooLong,
        FetchError::PortForbidden(_) => FailureReason::PortForbidden,
        FetchError::AddressForbidden(_) => FailureReason::AddressForbidden,
        FetchError::RedirectRefused(_) => FailureReason::RedirectRefused,
        FetchError::HostNotFound(_) => FailureReason::HostNotFound,
        FetchError::LookUp(_) => FailureReason::LookUpFailed,
        FetchError::Connect(_) => FailureReason::ConnectFailed,
        FetchError::CertificateInvalid(_) => FailureReason::CertificateInvalid,
        FetchError::Timeout { .. } | FetchError::TooSlow(_) => FailureReason::FetchTimeout,
        FetchError::HostPaused => FailureReason::HostOverloaded,
        FetchError::InvalidResponse(_) => FailureReason::InvalidResponse,
        FetchError::BodyIncomplete(_) => FailureReason::BodyIncomplete,
        FetchError::TooLarge(_) => FailureReason::FileTooLarge,
        FetchError::Status { status, .. } => match status.as_u16() {
            404 | 410 => FailureReason::ImageNotFound,
            401 | 403 => FailureReason::AccessDenied,
            429 | 503 => FailureReason::HostOverloaded,
            400..=499 => FailureReason::RequestRefused,
            500..=599 => FailureReason::HostFailed,
            _ => FailureReason::InvalidResponse,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use http::StatusCode;

    use super::*;

    /// Returns the last column of the failures in `docs/error-codes.md` by code.
    fn documented() -> HashMap<String, String> {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/error-codes.md"));
        let page = page.expect("the page");
        let section = page.split("\n## Failures of an image").nth(1).expect("the section");
        let rows = section.lines().take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with("| `"));
        rows.map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            (cells[0].trim_matches('`').to_owned(), cells[2].to_owned())
        })
        .collect()
    }

    #[test]
    fn what_is_tried_again_is_what_the_page_says() {
        let text = String::new;
        let mut errors = vec![
            FetchError::InvalidUrl(text()),
            FetchError::UrlTooLong { length: 3, limit: 2 },
            FetchError::PortForbidden(22),
            FetchError::AddressForbidden(text()),
            FetchError::RedirectRefused(text()),
            FetchError::HostNotFound(text()),
            FetchError::LookUp(text()),
            FetchError::Connect(text()),
            FetchError::CertificateInvalid(text()),
            FetchError::Timeout { what: "answer", limit: Duration::from_secs(1) },
            FetchError::TooSlow(1),
            FetchError::InvalidResponse(text()),
            FetchError::BodyIncomplete(text()),
            FetchError::TooLarge(1),
        ];
        let statuses = (100..600).filter_map(|code| StatusCode::from_u16(code).ok()).filter(|it| *it != StatusCode::OK);
        errors.extend(statuses.map(|status| FetchError::Status { status, retry_after: None }));
        let documented = documented();
        for error in errors {
            let again = documented[fetch_reason(&error).as_str()].as_str();
            let expected = match error.status() {
                Some(status) if again == "408, 425" => matches!(status.as_u16(), 408 | 425),
                _ => again == "yes",
            };
            assert_eq!(error.is_transient(), expected, "{error}");
        }
    }
}
