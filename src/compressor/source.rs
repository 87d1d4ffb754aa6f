//! Where the rows come from: inline products, an upload in storage, or a mounted ConfigMap or a URL, whose
//! content is stored first, so that every pass and every restart reads the same bytes.

use std::io::Read;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use tokio::io::AsyncWriteExt;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::{StageError, Worker};
use crate::api::source::{ConfigMapKey, Product, Upload};
use crate::egress::{FetchError, FetchLimits};
use crate::failpoint;
use crate::manifest::problem::{Code, Problem};

/// A source that can be read.
pub(super) enum Opened {
    Products(Vec<Product>),
    Csv(Box<dyn Read + Send>),
}

/// Longest time for the download of a CSV.
const DOWNLOAD: Duration = Duration::from_secs(1_800);

/// Opens the source; the inner error is the user's: a source that is not there or not theirs.
pub(super) async fn open(worker: &Worker) -> Result<Result<Opened, Box<Problem>>, StageError> {
    let source = &worker.input.source;
    if let Some(products) = &source.products {
        return Ok(Ok(Opened::Products(products.clone())));
    }
    if let Some(reference) = &source.config_map_key_ref {
        return open_config_map(worker, reference).await;
    }
    if let Some(upload) = &source.upload {
        return open_upload(worker, upload).await;
    }
    if let Some(url) = &source.url {
        return open_url(worker, url).await;
    }
    Ok(Err(missing("the ImageBatch names no source")))
}

/// The mounted file follows the ConfigMap, which may be changed between two passes.
async fn open_config_map(
    worker: &Worker,
    reference: &ConfigMapKey,
) -> Result<Result<Opened, Box<Problem>>, StageError> {
    let key = worker.keys().source();
    if let Some(csv) = open_object(worker, &key).await? {
        return Ok(Ok(csv));
    }
    let bytes = match tokio::fs::read(worker.source_dir.join(&reference.key)).await {
        Ok(bytes) => bytes,
        Err(error) => return Ok(Err(missing(&format!("the ConfigMap's key cannot be read: {error}")))),
    };
    worker.storage.put_new(&key, bytes.into()).await?;
    let csv = open_object(worker, &key).await?.ok_or(StageError::MissingObject(key))?;
    Ok(Ok(csv))
}

async fn open_upload(worker: &Worker, upload: &Upload) -> Result<Result<Opened, Box<Problem>>, StageError> {
    if !worker.storage.keys().is_upload_of(&worker.input.namespace, &upload.key) {
        return Ok(Err(missing("spec.source.upload.key is not an upload of this namespace")));
    }
    match open_object(worker, &upload.key).await? {
        Some(csv) => Ok(Ok(csv)),
        None => Ok(Err(missing("the uploaded CSV does not exist in object storage any more"))),
    }
}

async fn open_url(worker: &Worker, url: &str) -> Result<Result<Opened, Box<Problem>>, StageError> {
    let key = worker.keys().source();
    if let Some(csv) = open_object(worker, &key).await? {
        return Ok(Ok(csv));
    }
    if let Err(problem) = download(worker, url, &key).await? {
        return Ok(Err(problem));
    }
    let csv = open_object(worker, &key).await?.ok_or(StageError::MissingObject(key))?;
    Ok(Ok(csv))
}

/// Stores what the URL holds.
async fn download(worker: &Worker, url: &str, key: &str) -> Result<Result<(), Box<Problem>>, StageError> {
    let limits = FetchLimits { max_bytes: worker.rules.limits.max_bytes, timeout: DOWNLOAD };
    let (stored, _) = worker
        .egress
        .retry(
            || store(worker, url, key, limits),
            |error| match error {
                DownloadError::Fetch(error) => Some(error),
                DownloadError::Store(_) => None,
            },
        )
        .await;
    match stored {
        Ok(()) => Ok(Ok(())),
        Err(DownloadError::Store(source)) => Err(StageError::Stream { action: "store the source", source }),
        Err(DownloadError::Fetch(FetchError::TooLarge(limit))) => {
            let message = format!("the source is larger than the limit of {limit} bytes");
            Ok(Err(Box::new(Problem::of_source(Code::SourceTooLarge, &message, "split the file"))))
        }
        Err(DownloadError::Fetch(error)) => {
            let message = format!("the source's URL cannot be fetched: {error}");
            let hint = "check that the URL is public";
            Ok(Err(Box::new(Problem::of_source(Code::SourceUnavailable, &message, hint))))
        }
    }
}

enum DownloadError {
    Fetch(FetchError),
    Store(std::io::Error),
}

async fn store(worker: &Worker, url: &str, key: &str, limits: FetchLimits) -> Result<(), DownloadError> {
    let mut body = Box::pin(worker.egress.open(url, limits).await.map_err(DownloadError::Fetch)?);
    let mut writer = worker.storage.writer(key, "text/csv");
    while let Some(chunk) = body.next().await {
        let result = match chunk {
            Ok(chunk) => writer.write_all(&chunk).await.map_err(DownloadError::Store),
            Err(error) => Err(DownloadError::Fetch(error)),
        };
        if let Err(error) = result {
            if let Err(error) = writer.abort().await {
                tracing::warn!(key, %error, "failed to abort a download; the bucket keeps its parts");
            }
            return Err(error);
        }
    }
    failpoint::around("source.put", writer.shutdown()).await.map_err(DownloadError::Store)
}

async fn open_object(worker: &Worker, key: &str) -> Result<Option<Opened>, StageError> {
    match worker.storage.open(key, object_store::GetOptions::default()).await {
        Ok(object) => {
            let chunks = object.into_stream().map_err(std::io::Error::from);
            Ok(Some(Opened::Csv(Box::new(SyncIoBridge::new(StreamReader::new(chunks))))))
        }
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn missing(message: &str) -> Box<Problem> {
    Box::new(Problem::of_source(Code::SourceMissing, message, "check spec.source, or upload the CSV again"))
}
