//! Tells people by Events what becomes of their batches.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Resource, ResourceExt};

use crate::api::condition::{
    ACCEPTED, RECONCILED, SUCCEEDED, SUSPENDED, WORKER_STUCK, WORKERS_READY, is_problem, reason,
};
use crate::api::image_batch::ImageBatch;
use crate::api::stage::Stage;
use crate::api::status::ImageBatchStatus;
use crate::manifest::problem::shorten;

/// Bytes of an Event's note: the API server takes less than 1 kB.
const MAX_NOTE: usize = 1_000;

/// Publishes what changed between two statuses.
pub(super) async fn publish_changes(recorder: &Recorder, batch: &ImageBatch, status: &ImageBatchStatus) {
    let before = batch.status.clone().unwrap_or_default();
    for type_ in [ACCEPTED, SUCCEEDED, RECONCILED, WORKERS_READY, WORKER_STUCK] {
        let Some(now) = status.condition(type_) else { continue };
        let changed = before.condition(type_).is_none_or(|it| it.status != now.status || it.reason != now.reason);
        // What is still Unknown is worth an Event only where it says what the batch waits for, and that it waits
        // for a pod is said by its Job's.
        if !changed || (type_ == ACCEPTED && now.status == "Unknown") || now.reason == reason::PENDING {
            continue;
        }
        publish_condition(recorder, batch, now, "Reconcile").await;
    }
    // That a batch is held is told by what it says of its success.
    if let Some(now) = status.condition(SUSPENDED).filter(|it| it.reason == reason::RESUMED)
        && before.condition(SUSPENDED).is_some_and(|it| it.status == "True")
    {
        publish(recorder, batch, EventType::Normal, &now.reason, "Reconcile", now.message.clone()).await;
    }
}

/// Tells of a Job that was created.
pub(super) async fn publish_job(recorder: &Recorder, batch: &ImageBatch, stage: Stage) {
    let note = format!("created Job {}", stage.job_name(&batch.name_any()));
    publish(recorder, batch, EventType::Normal, "JobCreated", "CreateJob", note).await;
}

/// Publishes that a batch was deleted at its time.
pub(super) async fn publish_expiry(recorder: &Recorder, batch: &ImageBatch) {
    let note = "ttlSecondsAfterFinished has passed: the ImageBatch goes; images, reports and records stay";
    publish(recorder, batch, EventType::Normal, "Expired", "Delete", note.to_owned()).await;
}

/// Publishes that an ImageBatch cannot be read.
pub(super) async fn publish_unreadable(recorder: &Recorder, invalid: &InvalidObject) {
    let InvalidObject { error, metadata } = invalid;
    let note = format!(
        "this version of the controller cannot read the ImageBatch, and nothing is done for it; correct it, or \
         upgrade the controller: {error}"
    );
    let reference = ObjectReference {
        api_version: Some(ImageBatch::api_version(&()).into_owned()),
        kind: Some(ImageBatch::kind(&()).into_owned()),
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        uid: metadata.uid.clone(),
        ..ObjectReference::default()
    };
    publish_for(recorder, &reference, EventType::Warning, reason::UNREADABLE, "Read", &note).await;
}

/// Publishes what a condition says.
pub(super) async fn publish_condition(recorder: &Recorder, batch: &ImageBatch, condition: &Condition, action: &str) {
    let is_bad = is_problem(&condition.type_, &condition.status) || condition.reason == reason::POD_DELETED;
    let severity = if is_bad { EventType::Warning } else { EventType::Normal };
    publish(recorder, batch, severity, &condition.reason, action, condition.message.clone()).await;
}

/// Publishes an Event about a batch.
pub(super) async fn publish(
    recorder: &Recorder,
    batch: &ImageBatch,
    type_: EventType,
    reason: &str,
    action: &str,
    note: String,
) {
    publish_for(recorder, &batch.object_ref(&()), type_, reason, action, &note).await;
}

async fn publish_for(
    recorder: &Recorder,
    reference: &ObjectReference,
    type_: EventType,
    reason: &str,
    action: &str,
    note: &str,
) {
    // Events are gone after an hour, and only who reads the cluster sees them.
    match type_ {
        EventType::Normal => tracing::info!(reason, note, "event"),
        EventType::Warning => tracing::warn!(reason, note, "event"),
    }
    let note = Some(shorten(note, MAX_NOTE));
    let event = Event { type_, reason: reason.to_owned(), note, action: action.to_owned(), secondary: None };
    // An Event is a courtesy; the batch goes on without it.
    if let Err(error) = recorder.publish(&event, reference).await {
        tracing::warn!(reason, %error, "failed to publish an Event");
    }
}
