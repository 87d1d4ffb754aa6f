//! Source -> manifest shards and product records (the CSV worker).
//!
//! Two passes over the source: the first validates and counts, so that nothing is written for a bad
//! source and shards have the right size; the second writes. The manifest is written last: where it
//! exists, ingest is done.

use std::io::Read;

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::retry::take_over;
use super::source::{Opened, open};
use super::{StageError, Worker};
use crate::failpoint;
use crate::manifest::problem::{Code, Problem};
use crate::manifest::row::{Columns, Row, RowView};
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
    let manifest = match &worker.input.retry {
        Some(retry) => take_over(worker, retry).await?,
        None => match split(worker).await? {
            Some(manifest) => manifest,
            None => return Ok(None),
        },
    };
    let bytes = serde_json::to_vec(&manifest).map_err(|source| StageError::ParseObject { key: key.clone(), source })?;
    failpoint::around("manifest.put", worker.storage.put_new(&key, bytes.into())).await?;
    accept(worker, &manifest).await?;
    let Manifest { rows, skipped, images, shards, reused, .. } = manifest;
    tracing::info!(rows, images, shards, skipped, reused, "ingested");
    Ok(Some(manifest))
}

/// Validates the source and writes its shards; returns `None` when it is refused.
async fn split(worker: &Worker) -> Result<Option<Manifest>, StageError> {
    let Pass { mut summary, sha256, .. } = read_source(worker, None).await?;
    if let Some(upload) = &worker.input.source.upload
        && summary.is_accepted()
        && sha256 != upload.sha256
    {
        let message = "the stored CSV is not the one that was uploaded";
        summary.refuse(Problem::of_source(Code::SourceChanged, message, "upload the CSV again"));
    }
    store_problems(worker, &summary).await?;
    if !summary.is_accepted() {
        refuse(worker, &summary).await?;
        return Ok(None);
    }
    let shards = write_shards(worker, &summary).await?;
    let Summary { columns, rows, skipped, images, .. } = summary;
    Ok(Some(Manifest { columns, rows, skipped, images, shards, reused: None, starts: Vec::new() }))
}

async fn accept(worker: &Worker, manifest: &Manifest) -> Result<(), StageError> {
    let result = IngestResult {
        accepted: true,
        rows: manifest.rows as i64,
        skipped: manifest.skipped as i64,
        images: manifest.images as i64,
        shards: manifest.indexes() as i32,
        reused: manifest.reused.map(|it| it as i64),
        ..IngestResult::default()
    };
    Ok(failpoint::around("ingest.insert", worker.records.insert_ingest(&worker.input.uid, &result)).await?)
}

async fn refuse(worker: &Worker, summary: &Summary) -> Result<(), StageError> {
    let problems = &summary.problems;
    let result = IngestResult {
        accepted: false,
        rows: summary.rows as i64,
        skipped: 0,
        images: summary.images as i64,
        shards: 0,
        reused: None,
        problems: problems.listed.iter().take(RECORDED_PROBLEMS).cloned().collect(),
        problem_count: problems.total() as i64,
    };
    tracing::info!(problems = problems.total(), "source refused");
    Ok(worker.records.insert_ingest(&worker.input.uid, &result).await?)
}

/// Stores the problems of a source that is refused, or of its rows that are skipped.
async fn store_problems(worker: &Worker, summary: &Summary) -> Result<(), StageError> {
    if summary.problems.is_empty() {
        return Ok(());
    }
    let key = worker.keys().problems();
    let bytes =
        serde_json::to_vec(&summary.problems).map_err(|source| StageError::ParseObject { key: key.clone(), source })?;
    worker.storage.put_new(&key, bytes.into()).await?;
    Ok(())
}

/// Reads the source again and writes a shard and its product records whenever one is full.
async fn write_shards(worker: &Worker, summary: &Summary) -> Result<u32, StageError> {
    let (full, mut shards) = mpsc::channel::<Vec<u8>>(1);
    let sink = ShardSink { sharder: Sharder::new(summary.images), full };
    let read = async {
        if let Some(mut sink) = read_source(worker, Some(sink)).await?.sink
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
            failpoint::around("shard.put", worker.storage.put_new(&key, shard.into())).await?;
            record_products(worker, index, &summary.columns, rows).await?;
            index += 1;
        }
        Ok::<u32, StageError>(index)
    };
    Ok(tokio::try_join!(write, read)?.0)
}

/// Records the products of a shard; skipped rows are none.
pub(super) async fn record_products(
    worker: &Worker,
    shard: u32,
    columns: &Columns,
    rows: Vec<Row>,
) -> Result<(), StageError> {
    let accepted = rows.into_iter().filter(|row| row.skipped.is_empty());
    let products: Vec<ProductRecord> =
        accepted.map(|row| ProductRecord::new(&worker.input.uid, shard, columns, row)).collect();
    Ok(failpoint::around("products.insert", worker.records.insert_products(&products)).await?)
}

/// Takes the rows of the second pass and hands full shards to the writer, which bounds the memory.
struct ShardSink {
    sharder: Sharder,
    full: mpsc::Sender<Vec<u8>>,
}

impl ShardSink {
    fn push(&mut self, row: RowView<'_>) -> std::io::Result<()> {
        let Some(shard) = self.sharder.push(row)? else { return Ok(()) };
        self.full.blocking_send(shard).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
}

/// What one pass over the source found, and the sink that it filled.
struct Pass {
    summary: Summary,
    sha256: String,
    sink: Option<ShardSink>,
}

/// Reads the source once on a blocking thread.
async fn read_source(worker: &Worker, mut sink: Option<ShardSink>) -> Result<Pass, StageError> {
    let opened = match open(worker).await? {
        Ok(opened) => opened,
        Err(problem) => {
            let mut summary = Summary::empty();
            summary.refuse(*problem);
            return Ok(Pass { summary, sha256: String::new(), sink });
        }
    };
    let rules = worker.rules;
    tokio::task::spawn_blocking(move || {
        let mut hash = Sha256::new();
        let accept = |row: RowView<'_>| sink.as_mut().map_or(Ok(()), |sink| sink.push(row));
        let summary = match opened {
            Opened::Products(products) => read_products(&products, &rules, accept),
            Opened::Csv(inner) => read_csv(Hashed { inner, hash: &mut hash }, &rules, accept),
        };
        summary
            .map(|summary| Pass { summary, sha256: hex::encode(hash.finalize()), sink })
            .map_err(|source| StageError::Stream { action: "read the source", source: std::io::Error::other(source) })
    })
    .await
    .map_err(StageError::Panicked)?
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
