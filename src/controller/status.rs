//! The status of an ImageBatch from what was observed and planned. Pure; counts never go back.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::observe::{Observed, Retried};
use super::plan::{End, Phase, Plan};
use super::stop;
use super::throughput::set_throughput;
use crate::api::condition::{
    ACCEPTED, FINISHED, REPORT_READY, SUCCEEDED, SUSPENDED, Statement, WEBHOOK_DELIVERED, reason, set_condition,
};
use crate::api::image_batch::ImageBatch;
use crate::api::labels;
use crate::api::status::{Failure, ImageBatchStatus, ReportLocation};
use crate::manifest::outcome::MAX_DETAIL;
use crate::manifest::problem::shorten;
use crate::manifest::report::MAX_STATUS_FAILURES;
use crate::storage::key::BatchKeys;

/// What is said of a suspended batch.
const HELD: &str = "spec.suspend is true: nothing of the batch runs or starts";

/// Returns the status that the batch shall have now.
#[must_use]
pub fn compute_status(
    batch: &ImageBatch,
    keys: &BatchKeys,
    observed: &Observed,
    plan: &Plan,
    now: &Time,
) -> ImageBatchStatus {
    let before = batch.status.clone().unwrap_or_default();
    let mut status = before.clone();
    let uid = batch.metadata.uid.as_deref().unwrap_or_default();
    status.observed_generation = batch.metadata.generation;
    status.queue_position = if let Phase::Queued { position, .. } = plan.phase { position } else { None };
    // Time in a queue is no time of work. What a retry builds on is decided before it may wait in one.
    if !matches!(plan.phase, Phase::Queued { .. }) && !matches!(observed.retried, Some(Retried::Ready(_))) {
        status.start_time.get_or_insert_with(|| now.clone());
    }
    status.selector = Some(format!("{}={uid}", labels::BATCH_UID));
    status.active = observed.jobs.values().map(|job| job.active).sum();
    if let Some(Retried::Ready(retry)) = &observed.retried {
        status.retry = Some(retry.clone());
    }
    if plan.phase != Phase::Suspended {
        let lasted = stop::suspended_for(&status, now.0);
        status.suspended_seconds =
            Some(status.suspended_seconds.unwrap_or_default() + lasted).filter(|seconds| *seconds > 0);
    }
    set_size(&mut status, batch, keys, observed, plan);
    set_counts(&mut status, observed, plan);
    set_failures(&mut status, observed, plan);
    if let Phase::Ended(end) = &plan.phase {
        status.active = 0;
        status.completion_time.get_or_insert_with(|| now.clone());
        if matches!(end, End::Reported { .. }) {
            status.report =
                Some(ReportLocation { output_csv_key: keys.output_csv(), failed_csv_key: keys.failed_csv() });
        }
    }
    set_throughput(&mut status, &before, &plan.phase, now);
    status.duration = duration(&status);
    let webhook = batch.spec.webhook.as_ref().map(|_| webhook(&plan.phase));
    let suspended = suspended(batch, &status, &plan.phase);
    for statement in [suspended].into_iter().chain(statements(&status, observed, plan)).chain(webhook) {
        set_condition(&mut status.conditions, statement, batch.metadata.generation, now);
    }
    status
}

fn set_size(status: &mut ImageBatchStatus, batch: &ImageBatch, keys: &BatchKeys, observed: &Observed, plan: &Plan) {
    if let Some(ingest) = &observed.ingest {
        status.rows = Some(ingest.rows);
        status.images = ingest.accepted.then_some(ingest.images);
        status.reused = ingest.reused;
        status.skipped_rows = (ingest.accepted && ingest.skipped > 0).then_some(ingest.skipped);
        status.manifest = ingest.accepted.then(|| keys.manifest());
    } else if let Some(upload) = &batch.spec.source.upload
        && !matches!(plan.phase, Phase::Ended(_))
    {
        // The gateway has counted already; ingest confirms it.
        status.rows = Some(upload.rows);
        status.images = Some(upload.images);
    } else {
        status.images = None;
    }
}

fn set_counts(status: &mut ImageBatchStatus, observed: &Observed, plan: &Plan) {
    let counts = if let Phase::Ended(End::Reported { result, .. }) = &plan.phase {
        result.counts
    } else {
        observed.progress.max(status.counts())
    };
    status.succeeded = counts.succeeded;
    status.failed = counts.failed;
    status.kept_original = counts.kept_original;
    status.bytes_in = counts.bytes_in;
    status.bytes_out = counts.bytes_out;
    status.bytes_saved = counts.bytes_in - counts.bytes_out;
    let share = |part: i64, whole: i64| (whole > 0).then(|| format!("{}%", part * 100 / whole));
    status.percent = share(counts.done(), status.images.unwrap_or_default());
    status.saved = share(status.bytes_saved, counts.bytes_in);
}

fn set_failures(status: &mut ImageBatchStatus, observed: &Observed, plan: &Plan) {
    if let Phase::Ended(End::Reported { result, .. }) = &plan.phase {
        status.failures.clone_from(&result.failures);
    } else if let Some(ingest) = &observed.ingest {
        let problems = ingest.problems.iter().map(|problem| Failure {
            row: problem.row.unwrap_or_default() as i64,
            image: None,
            reason: problem.code.to_string(),
            detail: shorten(&problem.message, MAX_DETAIL),
        });
        // Those of images come with the counts; without new ones they stay.
        let known = if observed.failures.is_empty() { &status.failures } else { &observed.failures };
        let of_images = known.iter().filter(|it| it.image.is_some()).cloned();
        let mut failures: Vec<Failure> = problems.chain(of_images).collect();
        failures.sort_by_key(|it| (it.row, it.image));
        failures.truncate(MAX_STATUS_FAILURES);
        status.failures = failures;
    }
}

fn statements(status: &ImageBatchStatus, observed: &Observed, plan: &Plan) -> Vec<Statement> {
    let end = match &plan.phase {
        Phase::Ended(end) => Some(end),
        _ => None,
    };
    let (state, word, message) = succeeded(status, &plan.phase);
    let report_ready = match end {
        None => (None, word, "the report is written at the end".to_owned()),
        Some(End::Reported { .. }) => {
            (Some(true), reason::REPORT_WRITTEN, "output.csv and failed.csv are stored".to_owned())
        }
        Some(End::ReportFailed) => (Some(false), reason::REPORT_FAILED, message.clone()),
        Some(_) => (Some(false), reason::NO_REPORT, "the source was not accepted".to_owned()),
    };
    let (accepted, accepted_word, accepted_message) = accepted(observed, plan, word, &message);
    let finished = (Some(end.is_some()), word, message.clone());
    [
        (ACCEPTED, accepted, accepted_word, accepted_message),
        (SUCCEEDED, state, word, message),
        (REPORT_READY, report_ready.0, report_ready.1, report_ready.2),
        (FINISHED, finished.0, finished.1, finished.2),
    ]
    .map(|(type_, status, reason, message)| Statement { type_, status, reason, message })
    .into()
}

/// Whether the batch is held, and why it is not: never was, goes on, or was cancelled while it was.
fn suspended(batch: &ImageBatch, status: &ImageBatchStatus, phase: &Phase) -> Statement {
    let before = status.condition(SUSPENDED).map(|it| (it.status.as_str(), it.reason.as_str()));
    let (value, reason, message) = match before {
        _ if *phase == Phase::Suspended => (true, reason::SUSPENDED, HELD),
        Some(("True", _)) if batch.spec.cancel.is_none() => (false, reason::RESUMED, "the batch was resumed"),
        Some((_, reason::RESUMED)) => (false, reason::RESUMED, "the batch was resumed"),
        Some(("True", _) | (_, reason::CANCELLED)) => (false, reason::CANCELLED, "a cancelled batch is not held"),
        _ => (false, reason::NOT_SUSPENDED, "spec.suspend is not set"),
    };
    Statement { type_: SUSPENDED, status: Some(value), reason, message: message.to_owned() }
}

/// What is said of the webhook until the event is on its way.
fn webhook(phase: &Phase) -> Statement {
    let (status, reason, message) = match phase {
        Phase::Ended(End::WebhookRefused(message)) => (Some(false), reason::WEBHOOK_SECRET_NOT_FOUND, message.clone()),
        Phase::Ended(_) => (None, reason::WEBHOOK_PENDING, "the webhook is about to be called".to_owned()),
        _ => (None, reason::WEBHOOK_PENDING, "the webhook is called at the end".to_owned()),
    };
    Statement { type_: WEBHOOK_DELIVERED, status, reason, message }
}

fn accepted(
    observed: &Observed,
    plan: &Plan,
    word: &'static str,
    message: &str,
) -> (Option<bool>, &'static str, String) {
    match (&observed.ingest, &plan.phase) {
        (Some(ingest), _) if ingest.accepted => (
            Some(true),
            reason::SOURCE_VALID,
            format!("{} rows with {} images in {} shards", ingest.rows, ingest.images, ingest.shards),
        ),
        (_, Phase::Ended(_) | Phase::WaitingForSource { .. }) => (Some(false), word, message.to_owned()),
        _ => (None, reason::PENDING, "the source is not validated yet".to_owned()),
    }
}

/// The batch's state in one word and one sentence.
fn succeeded(status: &ImageBatchStatus, phase: &Phase) -> (Option<bool>, &'static str, String) {
    let images = status.images.unwrap_or_default();
    let end = match phase {
        Phase::WaitingForSource { reason, message } | Phase::Queued { reason, message, .. } => {
            return (None, reason, message.clone());
        }
        Phase::Suspended => return (None, reason::SUSPENDED, HELD.to_owned()),
        Phase::Stopping(stop) => return (None, reason::STOPPING, format!("ending the batch's pods; {stop}")),
        Phase::Pending => return (None, reason::PENDING, "waiting for a pod".to_owned()),
        Phase::Ingesting => return (None, reason::INGESTING, "reading the source".to_owned()),
        Phase::Running => return (None, reason::RUNNING, "compressing images".to_owned()),
        Phase::Reporting => return (None, reason::REPORTING, "writing the report".to_owned()),
        Phase::Ended(end) => end,
    };
    let (word, message) = match end {
        End::NamespaceNotEnabled => (
            reason::NAMESPACE_NOT_ENABLED,
            "ImageBatch is not enabled in this namespace; the chart's value \"namespaces\" lists those that are"
                .to_owned(),
        ),
        End::Refused(Some(message)) => (reason::INVALID_SOURCE, message.clone()),
        End::Refused(None) => (reason::INVALID_SOURCE, refusal(status)),
        End::WebhookRefused(message) => {
            (reason::WEBHOOK_SECRET_NOT_FOUND, format!("the webhook's events cannot be signed: {message}"))
        }
        End::NothingToRetry(message) => (reason::NOTHING_TO_RETRY, message.clone()),
        End::IngestFailed => {
            (reason::INGEST_FAILED, "the pods that read the source failed too often; their logs say why".to_owned())
        }
        End::StoppedBeforeIngest(stop) => (stop.reason(), format!("{stop}; the source was not read")),
        End::ReportFailed => {
            (reason::REPORT_FAILED, "the pods that write the report failed too often; their logs say why".to_owned())
        }
        End::Reported { stop: Some(stop), .. } => {
            (stop.reason(), format!("{stop}; {} of {images} images have no result", status.failed))
        }
        End::Reported { .. } if status.failed > 0 => {
            (reason::IMAGES_FAILED, format!("{} of {images} images failed; failed.csv names them", status.failed))
        }
        End::Reported { .. } => {
            let skipped = status.skipped_rows.map(|rows| format!("; {rows} rows were skipped, failed.csv names them"));
            let message = format!("all {images} images have a result{}", skipped.unwrap_or_default());
            return (Some(true), reason::COMPLETED, message);
        }
    };
    (Some(false), word, message)
}

fn refusal(status: &ImageBatchStatus) -> String {
    match status.failures.first() {
        Some(first) if first.row > 0 => {
            format!("the source has problems; the first is in row {}: {}", first.row, first.detail)
        }
        Some(first) => format!("the source cannot be used: {}", first.detail),
        None => "the source has problems".to_owned(),
    }
}

/// Returns the time from start to completion as Kubernetes prints ages, such as `45s` or `3m5s`.
fn duration(status: &ImageBatchStatus) -> Option<String> {
    let (start, end) = (status.start_time.as_ref()?, status.completion_time.as_ref()?);
    let seconds = (end.0.as_second() - start.0.as_second()).max(0);
    Some(match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, _) => format!("{hours}h{minutes}m"),
    })
}
