//! Why a batch is stopped before its end, and until when it may run. Pure.
//!
//! A stop never loses what is done: first the Jobs that work are ended with their pods, then the report
//! settles the images that were not reached, with the stop as their cause.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::observe::Observed;
use crate::api::condition::{SUSPENDED, reason};
use crate::api::image_batch::{ImageBatch, ImageBatchSpec};
use crate::api::stage::{Stage, UnprocessedCause};
use crate::api::status::ImageBatchStatus;
use crate::records::result::{ReportResult, Unprocessed};

/// Why a batch is stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// `spec.cancel` was set; holds its reason.
    Cancelled(String),
    /// More images failed than `spec.maxFailedPercent`, which this holds, allows.
    TooManyFailures(i32),
    /// `spec.activeDeadlineSeconds` was reached.
    DeadlineExceeded,
}

impl Stop {
    /// Returns the cause that the images have which were not reached.
    #[must_use]
    pub fn cause(&self) -> UnprocessedCause {
        match self {
            Self::Cancelled(_) => UnprocessedCause::Cancelled,
            Self::TooManyFailures(_) => UnprocessedCause::TooManyFailures,
            Self::DeadlineExceeded => UnprocessedCause::DeadlineExceeded,
        }
    }

    /// Returns the reason that the batch's conditions have in the end.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Cancelled(_) => reason::CANCELLED,
            Self::TooManyFailures(_) => reason::TOO_MANY_FAILURES,
            Self::DeadlineExceeded => reason::DEADLINE_EXCEEDED,
        }
    }
}

impl std::fmt::Display for Stop {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cancelled(reason) => write!(formatter, "cancelled: {reason}"),
            Self::TooManyFailures(percent) => {
                write!(formatter, "more images failed than maxFailedPercent allows ({percent} %)")
            }
            Self::DeadlineExceeded => formatter.write_str("activeDeadlineSeconds was reached"),
        }
    }
}

/// Returns whether nothing of a batch may run; a cancelled batch runs to its end.
#[must_use]
pub fn is_held(spec: &ImageBatchSpec) -> bool {
    spec.suspend && spec.cancel.is_none()
}

/// Returns why a batch is to be stopped now. A processing Job that ended by itself is past stopping: what it
/// left undone has its own cause.
#[must_use]
pub fn stop(spec: &ImageBatchSpec, observed: &Observed) -> Option<Stop> {
    let ended = |stage| observed.jobs.get(&stage).is_some_and(|job| job.ended.is_some());
    if ended(Stage::Run) || ended(Stage::Compress) {
        return None;
    }
    if let Some(cancel) = &spec.cancel {
        return Some(Stop::Cancelled(cancel.reason.clone()));
    }
    let images = observed.ingest.as_ref()?.images;
    too_many_failures(spec, observed.progress.failed, images).filter(|_| !spec.suspend)
}

/// Returns why a batch did not reach its end, as its report has it: a stop that came when everything was done
/// already changed nothing.
#[must_use]
pub fn stopped(spec: &ImageBatchSpec, result: &ReportResult, deadline: bool) -> Option<Stop> {
    let cause = match result.unprocessed {
        Some(Unprocessed { images: 0, .. }) => None,
        Some(Unprocessed { cause, .. }) => Some(cause),
        // An older release's report, which did not count them.
        None => (deadline && result.counts.failed > 0).then_some(UnprocessedCause::DeadlineExceeded),
    };
    match cause {
        Some(UnprocessedCause::Cancelled) => {
            Some(Stop::Cancelled(spec.cancel.as_ref().map(|it| it.reason.clone()).unwrap_or_default()))
        }
        Some(UnprocessedCause::DeadlineExceeded) => Some(Stop::DeadlineExceeded),
        // However fast it was: the same batch ends in the same way.
        Some(UnprocessedCause::TooManyFailures | UnprocessedCause::ShardFailed) | None => {
            too_many_failures(spec, result.counts.failed, result.counts.done())
        }
    }
}

/// The share is that of all images of the batch, so that bad luck at the start stops no batch that could
/// still stay below it.
fn too_many_failures(spec: &ImageBatchSpec, failed: i64, images: i64) -> Option<Stop> {
    let percent = spec.max_failed_percent?;
    (failed * 100 > i64::from(percent) * images).then_some(Stop::TooManyFailures(percent))
}

/// Returns when a batch reaches `activeDeadlineSeconds`. Time that it was suspended does not count.
#[must_use]
pub fn deadline(batch: &ImageBatch, now: Timestamp) -> Timestamp {
    let status = batch.status.as_ref();
    let start = status.and_then(|it| it.start_time.as_ref()).map_or(now, |it| it.0);
    let suspended = status.map_or(0, |it| it.suspended_seconds.unwrap_or_default() + suspended_for(it, now));
    let seconds = batch.spec.active_deadline_seconds + suspended;
    start.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(start)
}

/// Returns the seconds of a suspension that lasts.
#[must_use]
pub fn suspended_for(status: &ImageBatchStatus, now: Timestamp) -> i64 {
    let condition = status.condition(SUSPENDED).filter(|it| it.status == "True");
    condition.map_or(0, |it| (now.as_second() - it.last_transition_time.0.as_second()).max(0))
}
