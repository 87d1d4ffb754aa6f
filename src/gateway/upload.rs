//! Body -> object storage and validator at once; memory does not grow with the body.
//!
//! The object appears only when the whole CSV arrived and is valid. Until then there are only parts
//! of an upload, which are aborted on every other end.

use std::io::Read;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::{Buf, Bytes};
use futures::StreamExt;
use object_store::buffered::BufWriter;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::body::{CsvStream, drain};
use super::error::{ApiError, Code, chain};
use crate::api::source::Upload;
use crate::failpoint;
use crate::manifest::source::{ReadSourceError, Rules, Summary, read_csv};
use crate::metrics::gateway::GatewayMetrics;
use crate::storage::Storage;

/// Chunks of the body that may wait for the validator.
const CHUNKS_WAITING: usize = 4;
/// How long to try to abort an upload.
const ABORT: Duration = Duration::from_secs(30);
/// How long an answer waits for an upload to be deleted.
const FIRST_DELETE: Duration = Duration::from_secs(5);
/// Tries after that, over at least five minutes.
const DELETES: usize = 8;

/// Stores a CSV under a key if it can be accepted. On an error nothing is stored.
pub(crate) async fn store(
    storage: &Storage,
    metrics: &GatewayMetrics,
    key: &str,
    rules: Rules,
    mut body: CsvStream,
) -> Result<Validated, ApiError> {
    let mut writer = storage.writer(key, "text/csv");
    let validated = match receive(metrics, Some(&mut writer), rules, &mut body).await {
        Ok(validated) => validated,
        Err(error) => {
            abort(writer, key).await;
            drain(&mut body).await;
            return Err(error);
        }
    };
    if let Err(error) = failpoint::around("upload.put", writer.shutdown()).await {
        // The last request may have been carried out although its answer was lost.
        delete(storage, key).await;
        return Err(unavailable(error));
    }
    Ok(validated)
}

/// Validates a CSV and stores nothing.
pub(crate) async fn validate(
    metrics: &GatewayMetrics,
    rules: Rules,
    mut body: CsvStream,
) -> Result<Validated, ApiError> {
    let result = receive(metrics, None, rules, &mut body).await;
    if result.is_err() {
        drain(&mut body).await;
    }
    result
}

/// Deletes a stored upload that no batch will use; goes on in the background while storage is away.
pub(crate) async fn delete(storage: &Storage, key: &str) {
    match tokio::time::timeout(FIRST_DELETE, storage.delete(key)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => tracing::warn!(key, error = chain(&error), "failed to delete an upload, trying again"),
        Err(_) => tracing::warn!(key, "failed to delete an upload in time, trying again"),
    }
    let (storage, key) = (storage.clone(), key.to_owned());
    tokio::spawn(async move {
        let pauses = ExponentialBuilder::default().with_min_delay(FIRST_DELETE).with_max_times(DELETES);
        if let Err(error) = (|| storage.delete(&key)).retry(pauses).await {
            tracing::error!(key, error = chain(&error), "failed to delete an upload; it stays in the bucket");
        }
    });
}

async fn abort(mut writer: BufWriter, key: &str) {
    match tokio::time::timeout(ABORT, writer.abort()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(key, %error, "failed to abort an upload; the bucket keeps its parts"),
        Err(_) => tracing::warn!(key, "failed to abort an upload in time; the bucket may keep its parts"),
    }
}

/// What the validator found, and what it read.
pub(crate) struct Validated {
    pub(crate) summary: Summary,
    pub(crate) sha256: String,
}

impl Validated {
    /// Returns what the spec says of an upload under that key.
    pub(crate) fn upload(&self, key: String) -> Upload {
        let Summary { rows, images, .. } = self.summary;
        Upload { key, sha256: self.sha256.clone(), rows: rows as i64, images: images as i64 }
    }
}

/// Hands each chunk to the writer and to the validator, and returns what that found when it is good.
async fn receive(
    metrics: &GatewayMetrics,
    mut writer: Option<&mut BufWriter>,
    rules: Rules,
    body: &mut CsvStream,
) -> Result<Validated, ApiError> {
    let (chunks, waiting) = mpsc::channel(CHUNKS_WAITING);
    let validator = tokio::task::spawn_blocking(move || read_chunks(waiting, &rules));
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        metrics.upload_bytes.inc_by(chunk.len() as u64);
        if let Some(writer) = &mut writer {
            writer.write_all(&chunk).await.map_err(unavailable)?;
        }
        // A closed channel means that the validator needs no more: what it found refuses the CSV.
        if chunks.send(chunk).await.is_err() {
            break;
        }
    }
    drop(chunks);
    let validated = validator.await.map_err(internal)?.map_err(internal)?;
    for (code, count) in &validated.summary.problems.counts {
        metrics.upload_problems.get_or_create(&[("code", code.to_string())]).inc_by(*count);
    }
    if validated.summary.is_accepted() {
        return Ok(validated);
    }
    let Summary { problems, warnings, rows, .. } = validated.summary;
    let total = problems.total();
    let first = problems.listed.first().map(ToString::to_string).unwrap_or_default();
    let detail = match total {
        1 => first,
        _ => format!("{total} problems were found; the first is: {first}"),
    };
    Err(ApiError::new(Code::InvalidSource, detail)
        .with("errors", &problems.listed)
        .with("errorCount", total)
        .with("counts", &problems.counts)
        .with("warnings", &warnings.listed)
        .with("warningCounts", &warnings.counts)
        .with("rows", rows))
}

fn read_chunks(waiting: mpsc::Receiver<Bytes>, rules: &Rules) -> Result<Validated, ReadSourceError> {
    let mut hash = Sha256::new();
    let source = Chunks { waiting, current: Bytes::new(), hash: &mut hash };
    let summary = read_csv(source, rules, |_| Ok(()))?;
    Ok(Validated { summary, sha256: hex::encode(hash.finalize()) })
}

/// Reads chunks from the channel on a blocking thread, and hashes them.
struct Chunks<'a> {
    waiting: mpsc::Receiver<Bytes>,
    current: Bytes,
    hash: &'a mut Sha256,
}

impl Read for Chunks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.current.is_empty() {
            let Some(chunk) = self.waiting.blocking_recv() else { return Ok(0) };
            self.hash.update(&chunk);
            self.current = chunk;
        }
        let length = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

fn unavailable(error: std::io::Error) -> ApiError {
    ApiError::new(Code::StorageUnavailable, "the upload could not be stored; nothing of it is kept").caused_by(error)
}

fn internal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ApiError {
    ApiError::new(Code::Internal, "the upload could not be validated; nothing of it is kept").caused_by(error)
}
