//! One shard: rows -> images -> outcomes -> part.
//!
//! ```text
//! shard's rows -> unique URLs -> queue -> [fetch -> codec -> store] x images in flight -> rows complete
//!                                                                                    |
//!                             part (create-only, last) <- recorder: record, then count
//! ```
//!
//! Two pods may work on one shard: one of them on a node that is not heard of, whose pod was replaced. The first
//! record of a row holds, and whoever finds another's takes it over before it writes the part.

use std::collections::HashMap;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::queue::Queue;
use super::recorder::Recorder;
use super::{StageError, Worker, image};
use crate::failpoint;
use crate::manifest::outcome::{ImageOutcome, RowOutcome};
use crate::manifest::row::Row;
use crate::manifest::shard::{read_lines, write_lines};
use crate::records::Inserted;
use crate::storage::key::BatchKeys;

/// Runs the stage for one shard; does nothing when its part exists.
pub(crate) async fn compress_shard(worker: &Worker, index: u32) -> Result<(), StageError> {
    let part = worker.keys().part(index);
    if worker.storage.read(&part).await?.is_some() {
        return Ok(());
    }
    let mut rows = read_shard(worker, &worker.keys(), index).await?;
    rows.retain(|row| row.skipped.is_empty());
    let start = worker.records.start_shard(&worker.input.uid, index);
    let restarted = failpoint::around("shard.start", start).await?;
    let known = if restarted { worker.records.outcomes(&worker.input.uid, index).await? } else { Vec::new() };
    tracing::info!(
        batch.name = worker.input.name,
        shard = index,
        rows = rows.len(),
        recorded = known.len(),
        "compressing"
    );

    let mut assembly = Assembly::new(rows, known);
    let recorder = Recorder::start(worker, index, assembly.complete());
    let kept = assembly.fill_kept();
    let result = tokio::select! {
        result = process(worker, &mut assembly, kept, &recorder) => result,
        () = worker.stop.cancelled() => Err(StageError::Interrupted),
    };
    let inserted = recorder.finish().await?;
    result?;
    if inserted == Inserted::SomeExisted {
        assembly.adopt(worker.records.outcomes(&worker.input.uid, index).await?);
    }

    let outcomes = assembly.complete();
    let lines = write_lines(outcomes).map_err(|source| StageError::ParseObject { key: part.clone(), source })?;
    failpoint::around("part.put", worker.storage.put_new(&part, lines.into())).await?;
    Ok(())
}

/// Reads the rows of a batch's shard.
pub(crate) async fn read_shard(worker: &Worker, keys: &BatchKeys, index: u32) -> Result<Vec<Row>, StageError> {
    let key = keys.shard(index);
    let lines = worker.storage.read(&key).await?.ok_or_else(|| StageError::MissingObject(key.clone()))?;
    read_lines(&lines).map_err(|source| StageError::ParseObject { key, source })
}

async fn process(
    worker: &Worker,
    assembly: &mut Assembly,
    kept: Vec<RowOutcome>,
    recorder: &Recorder,
) -> Result<(), StageError> {
    for row in kept {
        recorder.record(row).await?;
    }
    let mut queue = Queue::new(assembly.waiting_urls(), worker.egress.per_host());
    let mut in_flight = FuturesUnordered::new();
    loop {
        while in_flight.len() < worker.images_in_flight
            && let Some((url, fetch)) = queue.next()
        {
            in_flight.push(image::process(worker, url, fetch));
        }
        let outcome = tokio::select! {
            outcome = in_flight.next() => outcome,
            () = queue.fetched() => continue,
        };
        let Some(outcome) = outcome else { return Ok(()) };
        for row in assembly.fill(&outcome?) {
            recorder.record(row).await?;
        }
    }
}

/// Puts images' outcomes into the slots of their rows; identical URLs are processed once.
struct Assembly {
    rows: Vec<Row>,
    slots: Vec<Vec<Option<ImageOutcome>>>,
    outcomes: Vec<Option<RowOutcome>>,
    places: HashMap<String, Vec<(usize, usize)>>,
}

impl Assembly {
    fn new(mut rows: Vec<Row>, recorded: Vec<RowOutcome>) -> Self {
        let mut recorded: HashMap<u64, RowOutcome> = recorded.into_iter().map(|it| (it.row, it)).collect();
        let outcomes: Vec<Option<RowOutcome>> = rows.iter().map(|row| recorded.remove(&row.row)).collect();
        let mut places: HashMap<String, Vec<(usize, usize)>> = HashMap::new();
        let slots: Vec<Vec<Option<ImageOutcome>>> = rows
            .iter_mut()
            .map(|row| if row.kept.is_empty() { vec![None; row.urls.len()] } else { std::mem::take(&mut row.kept) })
            .collect();
        for (index, row) in rows.iter().enumerate().filter(|(index, _)| outcomes[*index].is_none()) {
            for (slot, url) in row.urls.iter().enumerate().filter(|(slot, _)| slots[index][*slot].is_none()) {
                places.entry(url.clone()).or_default().push((index, slot));
            }
        }
        Self { rows, slots, outcomes, places }
    }

    /// Fills in and returns the rows of a retry that an earlier batch has all results of.
    fn fill_kept(&mut self) -> Vec<RowOutcome> {
        let waiting = (0..self.rows.len()).filter(|&index| self.outcomes[index].is_none()).collect::<Vec<_>>();
        waiting.into_iter().filter_map(|index| self.complete_row(index)).collect()
    }

    /// Returns the URLs without an outcome, in the order of their rows.
    fn waiting_urls(&self) -> Vec<String> {
        let mut urls: Vec<(&(usize, usize), &String)> =
            self.places.iter().map(|(url, places)| (&places[0], url)).collect();
        urls.sort_unstable();
        urls.into_iter().map(|(_, url)| url.clone()).collect()
    }

    /// Fills in an outcome and returns the rows that it completes.
    fn fill(&mut self, outcome: &ImageOutcome) -> Vec<RowOutcome> {
        let mut complete = Vec::new();
        for (index, slot) in self.places.remove(&outcome.url).unwrap_or_default() {
            self.slots[index][slot] = Some(outcome.clone());
            complete.extend(self.complete_row(index));
        }
        complete
    }

    /// Sets and returns a row's outcome once each of its images has one.
    fn complete_row(&mut self, index: usize) -> Option<RowOutcome> {
        let images = self.slots[index].iter().cloned().collect::<Option<Vec<_>>>()?;
        let row = RowOutcome { row: self.rows[index].row, images };
        self.outcomes[index] = Some(row.clone());
        Some(row)
    }

    /// Puts recorded outcomes in the place of those that were found here.
    fn adopt(&mut self, recorded: Vec<RowOutcome>) {
        let mut recorded: HashMap<u64, RowOutcome> = recorded.into_iter().map(|it| (it.row, it)).collect();
        for (row, outcome) in self.rows.iter().zip(&mut self.outcomes) {
            if let Some(recorded) = recorded.remove(&row.row) {
                *outcome = Some(recorded);
            }
        }
    }

    /// Returns the outcomes of complete rows in the rows' order.
    fn complete(&self) -> impl Iterator<Item = &RowOutcome> {
        self.outcomes.iter().flatten()
    }
}
