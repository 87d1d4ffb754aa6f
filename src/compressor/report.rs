//! Parts and records -> `output.csv`, `failed.csv` and the batch's totals, in constant memory.
//!
//! It first settles: a row without an outcome gets `NotProcessed`, so that every accepted image has
//! exactly one outcome however the batch ended. It runs once no pod of the batch compresses any more.

use std::collections::HashMap;

use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio_util::io::SyncIoBridge;

use super::compress::read_shard;
use super::{StageError, Worker};
use crate::api::stage::UnprocessedCause;
use crate::failpoint;
use crate::manifest::outcome::{FailureReason, ImageOutcome, RowOutcome};
use crate::manifest::report::{ReportWriter, Totals};
use crate::manifest::row::Row;
use crate::manifest::shard::{read_lines, write_lines};
use crate::records::Inserted;
use crate::records::ledger::OutcomeRecord;
use crate::records::result::{ReportResult, Unprocessed};

/// Runs the stage. Running it again writes the same files.
pub(crate) async fn report(worker: &Worker) -> Result<(), StageError> {
    let keys = worker.keys();
    let manifest = worker.manifest().await?;
    let (shards, mut waiting) = mpsc::channel::<Vec<(Row, RowOutcome)>>(1);
    let output = SyncIoBridge::new(worker.storage.writer(&keys.output_csv(), "text/csv; charset=utf-8"));
    let failed = SyncIoBridge::new(worker.storage.writer(&keys.failed_csv(), "text/csv; charset=utf-8"));
    let (columns, options) = (manifest.columns.clone(), worker.input.report);
    let write = tokio::task::spawn_blocking(move || {
        let mut report = ReportWriter::new(columns, options, output, failed)?;
        while let Some(rows) = waiting.blocking_recv() {
            for (row, outcome) in &rows {
                report.write(row, outcome)?;
            }
        }
        report.finish().map_err(csv::Error::from)
    });
    let read = async {
        // Asked once: to ask for the outcomes of each shard of a large batch costs a database more than all
        // the rest.
        let started = worker.records.started_shards(&worker.input.uid).await?;
        for index in 0..manifest.shards {
            // A closed channel means that the writer failed: its error is the one to report.
            if shards.send(settled(worker, index, started.contains(&index)).await?).await.is_err() {
                break;
            }
        }
        drop(shards);
        Ok::<(), StageError>(())
    };
    let (written, read) = tokio::join!(write, read);
    let (output, failed, totals) = written.map_err(StageError::Panicked)?.map_err(|error| stream(error.into()))?;
    read?;
    // The objects appear here; before, a reader of the batch finds none.
    failpoint::around("output.put", output.into_inner().shutdown()).await.map_err(stream)?;
    failpoint::around("failed.put", failed.into_inner().shutdown()).await.map_err(stream)?;

    let Totals { rows, counts, failures, unprocessed } = totals;
    tracing::info!(counts.succeeded, counts.failed, unprocessed, "reported");
    let unprocessed = Unprocessed { images: unprocessed, cause: worker.input.unprocessed_because };
    let result = ReportResult { rows, counts, failures, unprocessed: Some(unprocessed) };
    Ok(failpoint::around("report.insert", worker.records.insert_report(&worker.input.uid, &result)).await?)
}

/// Returns a shard's rows with their outcomes. Records those that were missing and writes the part that then
/// was missing too, so that a retry of the batch finds all of them.
async fn settled(worker: &Worker, index: u32, was_started: bool) -> Result<Vec<(Row, RowOutcome)>, StageError> {
    let rows = read_shard(worker, &worker.keys(), index).await?;
    let key = worker.keys().part(index);
    let part = worker.storage.read(&key).await?;
    let outcomes: Vec<RowOutcome> = match &part {
        Some(lines) => read_lines(lines).map_err(|source| StageError::ParseObject { key: key.clone(), source })?,
        None if was_started => worker.records.outcomes(&worker.input.uid, index).await?,
        None => Vec::new(),
    };
    let mut outcomes: HashMap<u64, RowOutcome> = outcomes.into_iter().map(|it| (it.row, it)).collect();
    let mut missing = Vec::new();
    let mut settled: Vec<(Row, RowOutcome)> = rows
        .into_iter()
        .map(|row| {
            if !row.skipped.is_empty() {
                let outcome = RowOutcome { row: row.row, images: Vec::new() };
                return (row, outcome);
            }
            let outcome = outcomes.remove(&row.row).unwrap_or_else(|| {
                let outcome = not_processed(&row, worker.input.unprocessed_because);
                missing.push(OutcomeRecord::new(&worker.input.uid, index, &outcome));
                outcome
            });
            (row, outcome)
        })
        .collect();
    let insert = worker.records.insert_outcomes(&missing);
    if failpoint::around("settled.insert", insert).await? == Inserted::SomeExisted {
        // A pod that was given up has recorded something after all, and the first record holds.
        let recorded = worker.records.outcomes(&worker.input.uid, index).await?;
        let mut recorded: HashMap<u64, RowOutcome> = recorded.into_iter().map(|it| (it.row, it)).collect();
        for (row, outcome) in &mut settled {
            if let Some(recorded) = recorded.remove(&row.row) {
                *outcome = recorded;
            }
        }
    }
    if part.is_none() {
        let outcomes = settled.iter().filter(|(row, _)| row.skipped.is_empty()).map(|(_, outcome)| outcome);
        let lines = write_lines(outcomes).map_err(|source| StageError::ParseObject { key: key.clone(), source })?;
        worker.storage.put_new(&key, lines.into()).await?;
    }
    Ok(settled)
}

fn not_processed(row: &Row, cause: UnprocessedCause) -> RowOutcome {
    let message = match cause {
        UnprocessedCause::ShardFailed => "ShardFailed: the pods of this part of the batch failed too often",
        UnprocessedCause::DeadlineExceeded => "DeadlineExceeded: the batch was stopped at activeDeadlineSeconds",
        UnprocessedCause::Cancelled => "Cancelled: the batch was cancelled",
        UnprocessedCause::TooManyFailures => {
            "TooManyFailures: the batch was stopped as more images had failed than maxFailedPercent allows"
        }
    };
    let failed = |url: &String| ImageOutcome::failed(url, FailureReason::NotProcessed, message.to_owned());
    let kept = |slot: usize| row.kept.get(slot).cloned().flatten();
    let images = row.urls.iter().enumerate().map(|(slot, url)| kept(slot).unwrap_or_else(|| failed(url)));
    RowOutcome { row: row.row, images: images.collect() }
}

fn stream(source: std::io::Error) -> StageError {
    StageError::Stream { action: "write the report", source }
}
