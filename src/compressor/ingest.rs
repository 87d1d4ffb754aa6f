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
use crate::manifest::source::{ReadSourceError, Summary, read_csv, read_products};
use crate::records::ledger::ProductRecord;
use crate::records::request::IngestResult;

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
    let (summary, sha256) = read_source(worker, |_| Ok(())).await?;
    let mut problems = summary.problems.clone();
    if let Some(upload) = &worker.input.source.upload
        && sha256 != upload.sha256
    {
        problems = foreign(Code::SourceChanged, "the stored CSV is not the one that was uploaded");
    }
    if !problems.is_empty() {
        refuse(worker, &summary, &problems).await?;
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
    Ok(worker.records.set_ingest(&worker.input.uid, &result).await?)
}

async fn refuse(worker: &Worker, summary: &Summary, problems: &Problems) -> Result<(), StageError> {
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
    Ok(worker.records.set_ingest(&worker.input.uid, &result).await?)
}

/// Reads the source again and writes a shard and its product records whenever one is full.
async fn write_shards(worker: &Worker, summary: &Summary) -> Result<u32, StageError> {
    let (full, mut shards) = mpsc::channel::<Vec<u8>>(2);
    let mut sharder = Sharder::new(summary.images);
    let send = move |shard: Option<Vec<u8>>| match shard {
        Some(shard) => full.blocking_send(shard).map_err(|_| std::io::Error::from(std::io::ErrorKind::BrokenPipe)),
        None => Ok(()),
    };
    let read = read_source_with(worker, move |pass| {
        let summary = pass(&mut |row: Row| send(sharder.push(&row)?))?;
        send(sharder.finish()).map_err(ReadSourceError::Read)?;
        Ok(summary)
    });
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
    let (written, _) = tokio::try_join!(write, read)?;
    Ok(written)
}

type Accept<'a> = &'a mut dyn FnMut(Row) -> std::io::Result<()>;
type Pass<'a> = &'a mut dyn FnMut(Accept<'_>) -> Result<Summary, ReadSourceError>;

async fn read_source(
    worker: &Worker,
    mut accept: impl FnMut(Row) -> std::io::Result<()> + Send + 'static,
) -> Result<(Summary, String), StageError> {
    read_source_with(worker, move |pass| pass(&mut accept)).await
}

/// Opens the source and runs one blocking pass over it. Returns what was found and the SHA-256.
async fn read_source_with(
    worker: &Worker,
    run: impl FnOnce(Pass<'_>) -> Result<Summary, ReadSourceError> + Send + 'static,
) -> Result<(Summary, String), StageError> {
    let opened = match open(worker).await? {
        Ok(opened) => opened,
        Err(problems) => return Ok((Summary { problems, ..Summary::empty() }, String::new())),
    };
    let limits = worker.limits;
    tokio::task::spawn_blocking(move || {
        let mut hash = Sha256::new();
        let summary = match opened {
            Opened::Products(products) => run(&mut |accept| read_products(&products, &limits, accept))?,
            Opened::Csv(bytes) => {
                let mut bytes = Some(bytes);
                run(&mut |accept| {
                    let Some(inner) = bytes.take() else { return Ok(Summary::empty()) };
                    read_csv(Hashed { inner, hash: &mut hash }, &limits, accept)
                })?
            }
        };
        Ok((summary, hex::encode(hash.finalize())))
    })
    .await
    .map_err(StageError::Panicked)?
    .map_err(|error: ReadSourceError| StageError::Stream {
        action: "read the source",
        source: std::io::Error::other(error),
    })
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
