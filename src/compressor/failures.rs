//! The first failures of a shard, for people who watch: the report has all of them in the end.

use super::Worker;
use crate::api::status::Failure;
use crate::manifest::outcome::RowOutcome;
use crate::manifest::report::MAX_STATUS_FAILURES;
use crate::records::RecordError;

/// The first failures of a shard, as they come.
#[derive(Debug, Default)]
pub(super) struct FirstFailures {
    listed: Vec<Failure>,
    /// Of these, those that are recorded.
    recorded: usize,
}

impl FirstFailures {
    /// Takes a row in.
    pub(super) fn add(&mut self, row: &RowOutcome) {
        let left = MAX_STATUS_FAILURES - self.listed.len();
        self.listed.extend(row.failures().take(left));
    }

    /// Records them, where there are new ones.
    pub(super) async fn record(&mut self, worker: &Worker, shard: u32) -> Result<(), RecordError> {
        if self.recorded < self.listed.len() {
            worker.records.note_failures(&worker.input.uid, shard, &self.listed).await?;
            self.recorded = self.listed.len();
        }
        Ok(())
    }
}
