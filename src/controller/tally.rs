//! Counts what changes from one status of a batch to the next, for the metrics: each image once.
//!
//! A status is written from what the watch has shown last, and that may be older than what was written
//! before. So what is counted of a batch is remembered until the watch shows its end. A controller that
//! starts takes what the statuses say as counted: by the one before it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::census::age;
use super::error::ReconcileError;
use super::plan::Step;
use crate::api::condition::{SUCCEEDED, reason};
use crate::api::image_batch::ImageBatch;
use crate::api::progress::Counts;
use crate::api::stage::Stage;
use crate::api::status::ImageBatchStatus;
use crate::metrics::InFlight;
use crate::metrics::controller::ControllerMetrics;

/// A reconcile that is under way, for the metrics; one that is never ended was stopped with the controller.
pub(super) struct Reconcile {
    metrics: Arc<ControllerMetrics>,
    start: Instant,
    _in_flight: InFlight,
}

impl Reconcile {
    pub(super) fn start(metrics: &Arc<ControllerMetrics>) -> Self {
        let in_flight = InFlight::new(&metrics.reconciles_in_flight);
        Self { metrics: Arc::clone(metrics), start: Instant::now(), _in_flight: in_flight }
    }

    /// Counts it.
    pub(super) fn end(self, error: Option<&ReconcileError>) {
        self.metrics.reconciles.inc();
        self.metrics.reconcile_duration.observe(self.start.elapsed().as_secs_f64());
        if let Some(kind) = error.and_then(ReconcileError::kind) {
            self.metrics.reconcile_errors.get_or_create(&[("kind", kind)]).inc();
        }
    }
}

/// What is counted already of the batches that have not ended.
#[derive(Debug)]
pub(crate) struct Tally {
    metrics: Arc<ControllerMetrics>,
    counted: Mutex<HashMap<String, Counted>>,
}

#[derive(Debug, Default)]
struct Counted {
    counts: Counts,
    started: bool,
    finished: bool,
}

impl Counted {
    fn of(status: Option<&ImageBatchStatus>) -> Self {
        let Some(status) = status else { return Self::default() };
        let state = status.condition(SUCCEEDED).map_or(reason::PENDING, |it| it.reason.as_str());
        Self {
            counts: counts_of(status),
            started: [reason::INGESTING, reason::RUNNING, reason::REPORTING].contains(&state),
            finished: status.is_finished(),
        }
    }
}

impl Tally {
    pub(super) fn new(metrics: Arc<ControllerMetrics>) -> Self {
        Self { metrics, counted: Mutex::default() }
    }

    /// Counts the Job that a step has created, where it is the batch's first.
    pub(super) fn note_step(&self, batch: &ImageBatch, step: &Step) {
        let Step::Start { stage: Stage::Run | Stage::Ingest, .. } = step else { return };
        self.with(batch, |counted| {
            if !std::mem::replace(&mut counted.started, true) {
                self.metrics.job_creation.observe(age(batch, Timestamp::now()).as_secs_f64());
            }
        });
    }

    /// Counts what a status that was written says beyond what is counted.
    pub(super) fn note_status(&self, batch: &ImageBatch, status: &ImageBatchStatus) {
        let metrics = &self.metrics;
        self.with(batch, |counted| {
            let (before, after) = (counted.counts, counts_of(status));
            let added = |before: i64, after: i64| u64::try_from(after - before).unwrap_or_default();
            let compressed = |counts: Counts| counts.succeeded - counts.kept_original;
            for (outcome, added) in [
                ("Compressed", added(compressed(before), compressed(after))),
                ("KeptOriginal", added(before.kept_original, after.kept_original)),
                ("Failed", added(before.failed, after.failed)),
            ] {
                metrics.images.get_or_create(&[("outcome", outcome)]).inc_by(added);
            }
            metrics.input_bytes.inc_by(added(before.bytes_in, after.bytes_in));
            metrics.output_bytes.inc_by(added(before.bytes_out, after.bytes_out));
            counted.counts = highest(before, after);
            if status.is_finished() && !std::mem::replace(&mut counted.finished, true) {
                let reason = status.condition(SUCCEEDED).map(|it| it.reason.clone()).unwrap_or_default();
                metrics.finished_batches.get_or_create(&[("reason", reason)]).inc();
                metrics.batch_duration.observe(age(batch, Timestamp::now()).as_secs_f64());
            }
        });
    }

    /// Forgets a batch that the watch shows as ended, or that goes.
    pub(super) fn forget(&self, uid: &str) {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    fn with(&self, batch: &ImageBatch, note: impl FnOnce(&mut Counted)) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        note(counted.entry(batch.uid().unwrap_or_default()).or_insert_with(|| Counted::of(batch.status.as_ref())));
    }
}

/// What was counted once stays counted, also where a status was made from an older one.
fn highest(one: Counts, other: Counts) -> Counts {
    Counts {
        succeeded: one.succeeded.max(other.succeeded),
        failed: one.failed.max(other.failed),
        kept_original: one.kept_original.max(other.kept_original),
        bytes_in: one.bytes_in.max(other.bytes_in),
        bytes_out: one.bytes_out.max(other.bytes_out),
    }
}

fn counts_of(status: &ImageBatchStatus) -> Counts {
    let &ImageBatchStatus { succeeded, failed, kept_original, bytes_in, bytes_out, .. } = status;
    Counts { succeeded, failed, kept_original, bytes_in, bytes_out }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::image_batch::ImageBatchSpec;

    fn status(succeeded: i64, failed: i64) -> ImageBatchStatus {
        let bytes_in = 100 * succeeded;
        ImageBatchStatus { succeeded, failed, bytes_in, bytes_out: bytes_in / 2, ..ImageBatchStatus::default() }
    }

    fn batch(status: Option<ImageBatchStatus>) -> ImageBatch {
        let spec: ImageBatchSpec = serde_json::from_value(serde_json::json!({ "source": {} })).expect("a spec");
        let mut batch = ImageBatch::new("any", spec);
        batch.metadata.uid = Some("uid".to_owned());
        batch.status = status;
        batch
    }

    #[test]
    fn an_image_is_counted_once_whatever_the_watch_has_shown() {
        let counted = |metrics: &ControllerMetrics| {
            let images = |outcome| metrics.images.get_or_create(&[("outcome", outcome)]).get();
            (images("Compressed"), images("Failed"), metrics.input_bytes.get(), metrics.output_bytes.get())
        };
        let metrics = Arc::new(ControllerMetrics::default());
        let tally = Tally::new(Arc::clone(&metrics));
        // The watch has not shown any of the statuses yet.
        for status in [status(10, 2), status(12, 2), status(11, 2), status(12, 3)] {
            tally.note_status(&batch(None), &status);
        }
        assert_eq!(counted(&metrics), (12, 3, 1_200, 600));

        let metrics = Arc::new(ControllerMetrics::default());
        let next = Tally::new(Arc::clone(&metrics));
        next.note_status(&batch(Some(status(12, 3))), &status(15, 3));
        assert_eq!(counted(&metrics), (3, 0, 300, 150), "what the last controller wrote is counted by it");
    }
}
