//! Condition types and reasons of an `ImageBatch`, and the one way to set a condition.
//!
//! Readers find the batch's state in the reason of `Succeeded`; `Finished` becomes True last and on
//! every outcome, so that `kubectl wait --for=condition=Finished` never hangs and never comes early.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Whether the source can be worked on.
pub const ACCEPTED: &str = "Accepted";
/// Unknown while the batch runs; True when every image succeeded.
pub const SUCCEEDED: &str = "Succeeded";
/// Whether `output.csv` and `failed.csv` can be downloaded.
pub const REPORT_READY: &str = "ReportReady";
/// True when nothing of the batch changes any more.
pub const FINISHED: &str = "Finished";

/// Whether the batch's webhook was told of the end; absent where it has none. It may change after
/// `Finished`: attempts go on for days, and what becomes of them never changes the batch's outcome.
pub const WEBHOOK_DELIVERED: &str = "WebhookDelivered";

/// Reasons, one word for one cause.
pub mod reason {
    /// The batch is seen but no pod has run yet.
    pub const PENDING: &str = "Pending";
    /// The source is read, validated and split into shards.
    pub const INGESTING: &str = "Ingesting";
    /// Images are fetched, compressed and stored.
    pub const RUNNING: &str = "Running";
    /// The report is written.
    pub const REPORTING: &str = "Reporting";
    /// Every image has a stored result.
    pub const COMPLETED: &str = "Completed";
    /// The batch ran to its end and some images have no result.
    pub const IMAGES_FAILED: &str = "ImagesFailed";
    /// The source has rows that cannot be worked on.
    pub const INVALID_SOURCE: &str = "InvalidSource";
    /// The ConfigMap or its key, or the batch that is to be retried, does not exist (yet).
    pub const SOURCE_NOT_FOUND: &str = "SourceNotFound";
    /// The batch that is to be retried has not ended yet.
    pub const SOURCE_NOT_FINISHED: &str = "SourceNotFinished";
    /// The batch that is to be retried has no images without a result.
    pub const NOTHING_TO_RETRY: &str = "NothingToRetry";
    /// The installation does not work in this namespace.
    pub const NAMESPACE_NOT_ENABLED: &str = "NamespaceNotEnabled";
    /// The source is valid.
    pub const SOURCE_VALID: &str = "SourceValid";
    /// The ingest pods failed too often; the cause is in their logs.
    pub const INGEST_FAILED: &str = "IngestFailed";
    /// The report pods failed too often; the cause is in their logs.
    pub const REPORT_FAILED: &str = "ReportFailed";
    /// `activeDeadlineSeconds` was reached.
    pub const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
    /// The ImageBatch was deleted before its end.
    pub const DELETED: &str = "Deleted";
    /// The report is written.
    pub const REPORT_WRITTEN: &str = "ReportWritten";
    /// There is no report, since the source was never accepted.
    pub const NO_REPORT: &str = "NoReport";
    /// The batch has a webhook and there is no usable secret to sign its events.
    pub const WEBHOOK_SECRET_NOT_FOUND: &str = "WebhookSecretNotFound";
    /// The webhook is called at the end, or again.
    pub const WEBHOOK_PENDING: &str = "WebhookPending";
    /// The webhook took the event.
    pub const WEBHOOK_DELIVERED: &str = "WebhookDelivered";
    /// All attempts to call the webhook failed.
    pub const WEBHOOK_FAILED: &str = "WebhookFailed";
    /// The ImageBatch cannot be read by this version of the controller; only an Event says it.
    pub const UNREADABLE: &str = "Unreadable";
    /// The webhook answered 410: it is gone for good.
    pub const WEBHOOK_GONE: &str = "WebhookGone";
}

/// What a condition shall say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// One of this module's types.
    pub type_: &'static str,
    /// True, False, or `None` for Unknown.
    pub status: Option<bool>,
    /// One of [`reason`]'s words.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
}

/// Sets a condition; `lastTransitionTime` moves only when the status changes.
pub fn set_condition(conditions: &mut Vec<Condition>, statement: Statement, generation: Option<i64>, now: &Time) {
    let status = match statement.status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let before = conditions.iter().position(|it| it.type_ == statement.type_);
    let last_transition_time = before
        .map(|index| &conditions[index])
        .filter(|it| it.status == status)
        .map_or_else(|| now.clone(), |it| it.last_transition_time.clone());
    let condition = Condition {
        type_: statement.type_.to_owned(),
        status: status.to_owned(),
        reason: statement.reason.to_owned(),
        message: statement.message,
        observed_generation: generation,
        last_transition_time,
    };
    match before {
        Some(index) => conditions[index] = condition,
        None => conditions.push(condition),
    }
}
