//! Source -> manifest shards and product records (the CSV worker).
//!
//! Two passes over the source: the first validates and counts, so that nothing is written for a bad
//! source and shards have the right size; the second writes. The manifest is written last: where it
//! exists, ingest is done.

use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::{StageError, Worker};
use crate::api::image_batch::{Product, Upload};
use crate::manifest::problem::{Code, Problem, Problems};
use crate::manifest::row::Row;
use crate::manifest::shard::{Manifest, Sharder, read_lines};
use crate::manifest::source::{Summary, read_csv, read_products};
use crate::records::ledger::ProductRecord;
use crate::records::result::IngestResult;

/// Problems that go into the record and the status; all of them are in the stored report.
const RECORDED_PROBLEMS: usize = 20;

/// Runs the stage. Returns the manifest, or `None` when the source is refused.
pub(crate) async fn ingest(worker: &Worker) -> Result<Option<Manifest>, StageError> {
    let key = worker.keys().manifest();
    if let Some(bytes) = worker.storage.read(&key).await? {
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|source| StageError::ParseObject { key, source })?;
        accept(worker, &manifest).await?;
        return Ok(Some(manifest));
    }
    let (mut summary, sha256, _) = read_source(worker, None).await?;
    if let Some(upload) = &worker.input.source.upload
        && summary.problems.is_empty()
        && sha256 != upload.sha256
    {
        summary.problems = foreign(Code::SourceChanged, "the stored CSV is not the one that was uploaded");
    }
    if !summary.problems.is_empty() {
        refuse(worker, &summary).await?;
        return Ok(None);
    }
    let shards = write_shards(worker, &summary).await?;
    let manifest = Manifest { columns: summary.columns, rows: summary.rows, images: summary.images, shards };
    let bytes = serde_json::to_vec(&manifest).map_err(|source| StageError::ParseObject { key: key.clone(), source })?;
    worker.storage.put_new(&key, bytes.into()).await?;
    accept(worker, &manifest).await?;
    tracing::info!(batch.name = worker.input.name, manifest.rows, manifest.images, manifest.shards, "ingested");
    Ok(Some(manifest))
}

async fn accept(worker: &Worker, manifest: &Manifest) -> Result<(), StageError> {
    let result = IngestResult {
        accepted: true,
        rows: manifest.rows as i64,
        images: manifest.images as i64,
        shards: manifest.shards as i32,
        ..IngestResult::default()
    };
    Ok(worker.records.insert_ingest(&worker.input.uid, &result).await?)
}

async fn refuse(worker: &Worker, summary: &Summary) -> Result<(), StageError> {
    let problems = &summary.problems;
    let key = worker.keys().problems();
    let bytes = serde_json::to_vec(problems).map_err(|source| StageError::ParseObject { key: key.clone(), source })?;
    worker.storage.put_new(&key, bytes.into()).await?;
    let result = IngestResult {
        accepted: false,
        rows: summary.rows as i64,
        images: summary.images as i64,
        shards: 0,
        problems: problems.listed.iter().take(RECORDED_PROBLEMS).cloned().collect(),
        problem_count: problems.total() as i64,
    };
    tracing::info!(batch.name = worker.input.name, problems = problems.total(), "source refused");
    Ok(worker.records.insert_ingest(&worker.input.uid, &result).await?)
}

/// Reads the source again and writes a shard and its product records whenever one is full.
async fn write_shards(worker: &Worker, summary: &Summary) -> Result<u32, StageError> {
    let (full, mut shards) = mpsc::channel::<Vec<u8>>(2);
    let sink = ShardSink { sharder: Sharder::new(summary.images), full };
    let read = async {
        if let (_, _, Some(mut sink)) = read_source(worker, Some(sink)).await?
            && let Some(last) = sink.sharder.finish()
        {
            // A closed channel means that the writer failed: its error is the one to report.
            let _ = sink.full.send(last).await;
        }
        Ok::<(), StageError>(())
    };
    let write = async {
        let mut index = 0;
        while let Some(shard) = shards.recv().await {
            let key = worker.keys().shard(index);
            let rows: Vec<Row> =
                read_lines(&shard).map_err(|source| StageError::ParseObject { key: key.clone(), source })?;
            let products: Vec<ProductRecord> =
                rows.iter().map(|row| ProductRecord::new(&worker.input.uid, index, &summary.columns, row)).collect();
            worker.storage.put_new(&key, shard.into()).await?;
            worker.records.insert_products(&products).await?;
            index += 1;
        }
        Ok::<u32, StageError>(index)
    };
    Ok(tokio::try_join!(write, read)?.0)
}

/// Takes the rows of the second pass and hands full shards to the writer, which bounds the memory.
struct ShardSink {
    sharder: Sharder,
    full: mpsc::Sender<Vec<u8>>,
}

impl ShardSink {
    fn push(&mut self, row: &Row) -> std::io::Result<()> {
        let Some(shard) = self.sharder.push(row)? else { return Ok(()) };
        self.full.blocking_send(shard).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
}

/// Reads the source once on a blocking thread. Returns what was found, its SHA-256, and the sink.
async fn read_source(
    worker: &Worker,
    mut sink: Option<ShardSink>,
) -> Result<(Summary, String, Option<ShardSink>), StageError> {
    let opened = match open(worker).await? {
        Ok(opened) => opened,
        Err(problems) => return Ok((Summary { problems, ..Summary::empty() }, String::new(), sink)),
    };
    let limits = worker.limits;
    tokio::task::spawn_blocking(move || {
        let mut hash = Sha256::new();
        let accept = |row: Row| sink.as_mut().map_or(Ok(()), |sink| sink.push(&row));
        let summary = match opened {
            Opened::Products(products) => read_products(&products, &limits, accept),
            Opened::Csv(inner) => read_csv(Hashed { inner, hash: &mut hash }, &limits, accept),
        };
        summary
            .map(|summary| (summary, hex::encode(hash.finalize()), sink))
            .map_err(|source| StageError::Stream { action: "read the source", source: std::io::Error::other(source) })
    })
    .await
    .map_err(StageError::Panicked)?
}

enum Opened {
    Products(Vec<Product>),
    Csv(Box<dyn Read + Send>),
}

/// Opens the source; the inner error is the user's: a source that is not there or not theirs.
async fn open(worker: &Worker) -> Result<Result<Opened, Problems>, StageError> {
    let source = &worker.input.source;
    if let Some(products) = &source.products {
        return Ok(Ok(Opened::Products(products.clone())));
    }
    if let Some(reference) = &source.config_map_key_ref {
        return Ok(open_file(&worker.source_dir.join(&reference.key)));
    }
    if let Some(upload) = &source.upload {
        return open_upload(worker, upload).await;
    }
    Ok(Err(foreign(Code::SourceMissing, "the ImageBatch names no source")))
}

fn open_file(path: &Path) -> Result<Opened, Problems> {
    match std::fs::File::open(path) {
        Ok(file) => Ok(Opened::Csv(Box::new(file))),
        Err(error) => Err(foreign(Code::SourceMissing, &format!("the ConfigMap's key cannot be read: {error}"))),
    }
}

async fn open_upload(worker: &Worker, upload: &Upload) -> Result<Result<Opened, Problems>, StageError> {
    if !worker.storage.keys().is_upload_of(&worker.input.namespace, &upload.key) {
        return Ok(Err(foreign(Code::SourceMissing, "spec.source.upload.key is not an upload of this namespace")));
    }
    match worker.storage.open(&upload.key, object_store::GetOptions::default()).await {
        Ok(object) => Ok(Ok(Opened::Csv(Box::new(SyncIoBridge::new(StreamReader::new(object.into_stream())))))),
        Err(error) if error.is_not_found() => {
            Ok(Err(foreign(Code::SourceMissing, "the uploaded CSV does not exist in object storage any more")))
        }
        Err(error) => Err(error.into()),
    }
}

fn foreign(code: Code, message: &str) -> Problems {
    let mut problems = Problems::default();
    problems.push(Problem {
        line: None,
        row: None,
        column: None,
        code,
        value: None,
        message: message.to_owned(),
        hint: "upload the CSV again".to_owned(),
    });
    problems
}

/// A reader that hashes what it hands on.
struct Hashed<'a> {
    inner: Box<dyn Read + Send>,
    hash: &'a mut Sha256,
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}
