//! Condition types and reasons of an `ImageBatch`, and the one way to set a condition.
//!
//! Readers find the batch's state in the reason of `Succeeded`; `Finished` becomes True last and on
//! every outcome, so that `kubectl wait --for=condition=Finished` never hangs and never comes early.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Whether the source can be worked on.
pub const ACCEPTED: &str = "Accepted";
/// Whether the batch is held by `spec.suspend`.
pub const SUSPENDED: &str = "Suspended";
/// Unknown while the batch runs; True when every image succeeded.
pub const SUCCEEDED: &str = "Succeeded";
/// Whether `output.csv` and `failed.csv` can be downloaded.
pub const REPORT_READY: &str = "ReportReady";
/// True when nothing of the batch changes any more.
pub const FINISHED: &str = "Finished";

/// Whether the batch's webhook was told of the end; absent where it has none. It may change after
/// `Finished`: attempts go on for days, and what becomes of them never changes the batch's outcome.
pub const WEBHOOK_DELIVERED: &str = "WebhookDelivered";

/// Whether the controller gets on with the batch; absent until it did not.
pub const RECONCILED: &str = "Reconciled";
/// Whether the batch's pods start as they should; absent until they did not.
pub const WORKERS_READY: &str = "WorkersReady";
/// True while a pod should have ended and has not; absent until there was one.
pub const WORKER_STUCK: &str = "WorkerStuck";
/// False while the ImageBatch is being deleted and what it stored cannot be removed.
pub const CLEANED_UP: &str = "CleanedUp";

/// Reasons, one word for one cause.
pub mod reason {
    /// The batch is seen but no pod has run yet.
    pub const PENDING: &str = "Pending";
    /// The batch waits for its turn, in the installation's queue or in Kueue's.
    pub const QUEUED: &str = "Queued";
    /// The batch has a `queueName`, and there is no Kueue that would start its Jobs.
    pub const QUEUE_NOT_AVAILABLE: &str = "QueueNotAvailable";
    /// The source is read, validated and split into shards.
    pub const INGESTING: &str = "Ingesting";
    /// Images are fetched, compressed and stored.
    pub const RUNNING: &str = "Running";
    /// The report is written.
    pub const REPORTING: &str = "Reporting";
    /// `spec.suspend` holds the batch: nothing of it runs or starts.
    pub const SUSPENDED: &str = "Suspended";
    /// The batch was held and goes on.
    pub const RESUMED: &str = "Resumed";
    /// The batch was never held.
    pub const NOT_SUSPENDED: &str = "NotSuspended";
    /// The batch is stopped before its end: its pods are being ended.
    pub const STOPPING: &str = "Stopping";
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
    /// `spec.cancel` was set.
    pub const CANCELLED: &str = "Cancelled";
    /// More images failed than `spec.maxFailedPercent` allows.
    pub const TOO_MANY_FAILURES: &str = "TooManyFailures";
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
    /// The controller gets on with the batch again.
    pub const RECONCILED: &str = "Reconciled";
    /// MongoDB cannot be reached, or refuses.
    pub const RECORDS_UNAVAILABLE: &str = "RecordsUnavailable";
    /// Object storage cannot be reached, or refuses.
    pub const STORAGE_UNAVAILABLE: &str = "StorageUnavailable";
    /// The API server cannot be reached, or is overloaded.
    pub const API_SERVER_UNAVAILABLE: &str = "ApiServerUnavailable";
    /// The API server refuses a request for another reason than those below.
    pub const REQUEST_REFUSED: &str = "RequestRefused";
    /// The controller lacks a right.
    pub const FORBIDDEN: &str = "Forbidden";
    /// A quota of the namespace is used up.
    pub const QUOTA_EXCEEDED: &str = "QuotaExceeded";
    /// Admission control, or validation, refuses the batch's Job.
    pub const JOB_REJECTED: &str = "JobRejected";
    /// A Job that is not the batch's has the name that the batch's Job needs.
    pub const JOB_NAME_TAKEN: &str = "JobNameTaken";
    /// The namespace is being deleted: nothing can be created in it.
    pub const NAMESPACE_TERMINATING: &str = "NamespaceTerminating";
    /// The batch that is to be retried changes all the time.
    pub const RETRIED_CHANGED: &str = "RetriedChanged";
    /// A step took too long.
    pub const TIMEOUT: &str = "Timeout";
    /// The pods that were waited for have started.
    pub const WORKERS_STARTED: &str = "WorkersStarted";
    /// No node has room for a pod, or none fits.
    pub const UNSCHEDULABLE: &str = "Unschedulable";
    /// A pod's image cannot be pulled.
    pub const IMAGE_PULL_FAILED: &str = "ImagePullFailed";
    /// A pod's container cannot be made; above all, the Secret `imagebatch-worker` is missing.
    pub const CONTAINER_NOT_CREATED: &str = "ContainerNotCreated";
    /// A pod does not start for another reason, such as a ConfigMap that vanished.
    pub const POD_NOT_STARTED: &str = "PodNotStarted";
    /// A Job's pods cannot be created.
    pub const PODS_NOT_CREATED: &str = "PodsNotCreated";
    /// The node of a pod is not heard of.
    pub const NODE_NOT_READY: &str = "NodeNotReady";
    /// A pod should have ended, and its node does not say that it has.
    pub const POD_TERMINATING: &str = "PodTerminating";
    /// A pod that did not end was deleted by force.
    pub const POD_DELETED: &str = "PodDeleted";
    /// The pods have ended by themselves after all.
    pub const PODS_ENDED: &str = "PodsEnded";
    /// The clean-up of a deleted ImageBatch was given up; only an Event says it.
    pub const CLEANUP_ABANDONED: &str = "CleanupAbandoned";
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

/// Returns whether a condition with this status says that something is wrong.
#[must_use]
pub fn is_problem(type_: &str, status: &str) -> bool {
    status == if type_ == WORKER_STUCK { "True" } else { "False" }
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
