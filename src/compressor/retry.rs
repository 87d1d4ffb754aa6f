//! The rows of a retry: those of the earlier batch, each with the results that it has already.
//!
//! Shard by shard, so memory is bounded by one. What the earlier batch stored does not change any more, so
//! the stage may run again. Results are handed on in the shards: whatever ends the retry, its parts and
//! reports are complete.

use std::collections::HashMap;

use super::compress::read_shard;
use super::ingest::record_products;
use super::{StageError, Worker};
use crate::api::status::Retry;
use crate::manifest::outcome::{Outcome, RowOutcome};
use crate::manifest::row::Row;
use crate::manifest::shard::{Manifest, group_shards, read_lines};
use crate::storage::key::BatchKeys;

/// Writes the retry's shards and product records and returns its manifest.
pub(super) async fn take_over(worker: &Worker, retry: &Retry) -> Result<Manifest, StageError> {
    let earlier = worker.storage.keys().retried(&worker.input.namespace, retry);
    let manifest = worker.read_manifest(earlier.manifest()).await?;
    let mut to_do = Vec::with_capacity(manifest.shards as usize);
    for index in 0..manifest.shards {
        let rows = merge(
            read_shard(worker, &earlier, index).await?,
            read_outcomes(worker, &earlier, &retry.uid, index).await?,
        );
        to_do.push(rows.iter().map(|row| row.kept.iter().filter(|it| it.is_none()).count() as u64).sum());
        let key = worker.keys().shard(index);
        let mut lines = Vec::new();
        for row in &rows {
            row.write_json(&mut lines).map_err(|source| StageError::ParseObject { key: key.clone(), source })?;
            lines.push(b'\n');
        }
        worker.storage.put_new(&key, lines.into()).await?;
        record_products(worker, index, &manifest.columns, rows).await?;
    }
    let reused = manifest.images - to_do.iter().sum::<u64>();
    Ok(Manifest { reused: Some(reused), starts: group_shards(&to_do), ..manifest })
}

/// Returns what the earlier batch recorded of a shard. Its report has left a part of each; a batch whose
/// report could not be written has parts of the shards that were done, and records of what was done of others.
async fn read_outcomes(
    worker: &Worker,
    earlier: &BatchKeys,
    uid: &str,
    index: u32,
) -> Result<Vec<RowOutcome>, StageError> {
    let key = earlier.part(index);
    match worker.storage.read(&key).await? {
        Some(lines) => read_lines(&lines).map_err(|source| StageError::ParseObject { key, source }),
        None => Ok(worker.records.outcomes(uid, index).await?),
    }
}

/// Puts the images' results into their rows.
fn merge(mut rows: Vec<Row>, outcomes: Vec<RowOutcome>) -> Vec<Row> {
    let mut outcomes: HashMap<u64, RowOutcome> = outcomes.into_iter().map(|it| (it.row, it)).collect();
    for row in rows.iter_mut().filter(|row| row.skipped.is_empty()) {
        row.kept = match outcomes.remove(&row.row) {
            Some(outcome) => {
                outcome.images.into_iter().map(|it| (it.outcome != Outcome::Failed).then_some(it)).collect()
            }
            // What the earlier batch took over itself counts although it never came to the row.
            None if row.kept.is_empty() => vec![None; row.urls.len()],
            None => std::mem::take(&mut row.kept),
        };
    }
    rows
}
