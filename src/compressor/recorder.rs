//! Records outcomes beside the work: in bulk as they come, first the records, then the counts.

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::failures::FirstFailures;
use super::{StageError, Worker};
use crate::api::progress::Counts;
use crate::failpoint;
use crate::manifest::outcome::RowOutcome;
use crate::records::RecordError;
use crate::records::ledger::OutcomeRecord;

/// Rows that may wait for the database before the work waits too.
const WAITING: usize = 512;

/// A task that writes records; ends when it is finished or its channel is dropped.
#[derive(Debug)]
pub(crate) struct Recorder {
    rows: mpsc::Sender<RowOutcome>,
    task: JoinHandle<Result<(), RecordError>>,
}

impl Recorder {
    /// Starts the task for a shard; `recorded` are the rows that have a record already.
    pub(crate) fn start<'a>(worker: &Worker, shard: u32, recorded: impl Iterator<Item = &'a RowOutcome>) -> Self {
        let (mut counts, mut failures) = (Counts::default(), FirstFailures::default());
        recorded.for_each(|row| {
            counts += row.counts();
            failures.add(row);
        });
        let (rows, waiting) = mpsc::channel(WAITING);
        Self { rows, task: tokio::spawn(record(worker.clone(), shard, counts, failures, waiting)) }
    }

    /// Hands on a complete row; waits while the database is behind.
    pub(crate) async fn record(&self, row: RowOutcome) -> Result<(), StageError> {
        // The task ends early only by an error, which `finish` returns.
        self.rows.send(row).await.map_err(|_| StageError::Interrupted)
    }

    /// Writes what waits and ends the task.
    pub(crate) async fn finish(self) -> Result<(), StageError> {
        drop(self.rows);
        Ok(self.task.await.map_err(StageError::Panicked)??)
    }
}

async fn record(
    worker: Worker,
    shard: u32,
    mut counts: Counts,
    mut failures: FirstFailures,
    mut waiting: mpsc::Receiver<RowOutcome>,
) -> Result<(), RecordError> {
    let uid = &worker.input.uid;
    let mut rows = Vec::with_capacity(WAITING);
    while waiting.recv_many(&mut rows, WAITING).await > 0 {
        let records: Vec<OutcomeRecord> = rows.iter().map(|row| OutcomeRecord::new(uid, shard, row)).collect();
        failpoint::around("outcomes.insert", worker.records.insert_outcomes(&records)).await?;
        for row in &rows {
            failures.add(row);
        }
        failures.record(&worker, shard).await?;
        rows.drain(..).for_each(|row| counts += row.counts());
        failpoint::around("counts.raise", worker.records.raise_shard(uid, shard, &counts)).await?;
    }
    Ok(())
}
