//! Carries out a plan's step, writes the status, and tells people by Events.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;

use super::context::Context;
use super::error::ReconcileError;
use super::job::job;
use super::plan::Step;
use crate::api::condition::{ACCEPTED, SUCCEEDED, SUSPENDED, Statement, reason, set_condition};
use crate::api::image_batch::ImageBatch;
use crate::api::labels;
use crate::api::status::ImageBatchStatus;
use crate::failpoint;
use crate::manifest::problem::shorten;

/// Field manager of what may change in a Job that exists.
const SCALER: &str = "imagebatch-controller-scale";
/// Field manager of the condition that says what became of the webhook.
const NOTIFIER: &str = "imagebatch-controller-webhook";
/// Bytes of an Event's note: the API server takes less than 1 kB.
const MAX_NOTE: usize = 1_000;

/// Carries out a step; may be repeated.
pub(crate) async fn apply_step(context: &Context, batch: &ImageBatch, step: &Step) -> Result<(), ReconcileError> {
    let jobs = Api::<Job>::namespaced(context.client.clone(), &batch.namespace().unwrap_or_default());
    match step {
        Step::Start { .. } => start_job(context, &jobs, batch, step).await,
        Step::End(stages) => {
            for stage in stages {
                delete_job(&jobs, &stage.job_name(&batch.name_any())).await?;
            }
            Ok(())
        }
        Step::Switch { workload, active } => {
            let namespace = batch.namespace().unwrap_or_default();
            let switch = context.workloads.set_active(&context.client, &namespace, workload, *active);
            switch.await.map_err(ReconcileError::PatchWorkload)
        }
        Step::Adjust { stage, suspend, parallelism, deadline_seconds } => {
            // Always all of them: what a field manager does not name any more is removed.
            let mut spec = json!({ "suspend": suspend, "parallelism": parallelism });
            if let Some(seconds) = deadline_seconds {
                spec["activeDeadlineSeconds"] = json!(seconds);
            }
            let patch = Patch::Apply(json!({ "apiVersion": "batch/v1", "kind": "Job", "spec": spec }));
            let params = PatchParams::apply(SCALER).force();
            let name = stage.job_name(&batch.name_any());
            jobs.patch(&name, &params, &patch).await.map(drop).map_err(ReconcileError::ApplyJob)
        }
    }
}

/// Deletes a Job; it is gone once its pods are.
pub(super) async fn delete_job(jobs: &Api<Job>, name: &str) -> Result<(), ReconcileError> {
    match jobs.delete(name, &DeleteParams::foreground()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(ReconcileError::DeleteJob(error)),
    }
}

async fn start_job(context: &Context, jobs: &Api<Job>, batch: &ImageBatch, step: &Step) -> Result<(), ReconcileError> {
    let Some(job) = job(batch, step, &context.worker).map_err(ReconcileError::BuildJob)? else { return Ok(()) };
    let name = job.name_any();
    // Not forced: a Job of that name that belongs to an earlier ImageBatch must go first.
    let params = PatchParams::apply(labels::CONTROLLER);
    let patch = Patch::Apply(&job);
    let apply = failpoint::around("job.apply", jobs.patch(&name, &params, &patch));
    apply.await.map_err(ReconcileError::ApplyJob)?;
    let note = format!("created Job {name}");
    publish(&context.recorder, batch, EventType::Normal, "JobCreated", "CreateJob", note).await;
    Ok(())
}

/// Writes the status.
pub(crate) async fn apply_status(
    client: &Client,
    batch: &ImageBatch,
    status: &ImageBatchStatus,
) -> Result<(), ReconcileError> {
    let api = Api::<ImageBatch>::namespaced(client.clone(), &batch.namespace().unwrap_or_default());
    let patch = json!({
        "apiVersion": ImageBatch::api_version(&()),
        "kind": ImageBatch::kind(&()),
        "status": status,
    });
    let params = PatchParams::apply(labels::CONTROLLER).force();
    let (name, patch) = (batch.name_any(), Patch::Apply(patch));
    let apply = failpoint::around("status.patch", api.patch_status(&name, &params, &patch));
    apply.await.map_err(ReconcileError::PatchStatus)?;
    Ok(())
}

/// Sets a condition of a batch that is finished, and publishes it where it decides something. Returns the
/// batch as it is now, or `None` when it is gone.
pub(crate) async fn apply_condition(
    context: &Context,
    batch: &ImageBatch,
    statement: Statement,
    now: &Time,
) -> Result<Option<ImageBatch>, ReconcileError> {
    let (type_, reason, message) = (statement.type_, statement.reason, statement.message.clone());
    let severity = statement.status.map(|is_good| if is_good { EventType::Normal } else { EventType::Warning });
    let mut status = batch.status.clone().unwrap_or_default();
    set_condition(&mut status.conditions, statement, batch.metadata.generation, now);
    status.conditions.retain(|condition| condition.type_ == type_);
    let patch = json!({
        "apiVersion": ImageBatch::api_version(&()),
        "kind": ImageBatch::kind(&()),
        "status": { "conditions": status.conditions },
    });
    // A field manager of its own: conditions are merged by their type.
    let params = PatchParams::apply(NOTIFIER).force();
    let api = Api::<ImageBatch>::namespaced(context.client.clone(), &batch.namespace().unwrap_or_default());
    let (name, patch) = (batch.name_any(), Patch::Apply(patch));
    let batch = match failpoint::around("condition.patch", api.patch_status(&name, &params, &patch)).await {
        Ok(batch) => batch,
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(None),
        Err(error) => return Err(ReconcileError::PatchStatus(error)),
    };
    if let Some(severity) = severity {
        publish(&context.recorder, &batch, severity, reason, "Notify", message).await;
    }
    Ok(Some(batch))
}

/// Publishes what changed between two statuses.
pub(crate) async fn publish_changes(recorder: &Recorder, batch: &ImageBatch, status: &ImageBatchStatus) {
    let before = batch.status.clone().unwrap_or_default();
    for type_ in [ACCEPTED, SUCCEEDED] {
        let Some(now) = status.condition(type_) else { continue };
        let changed = before.condition(type_).is_none_or(|it| it.status != now.status || it.reason != now.reason);
        // What is still Unknown is worth an Event only where it says what the batch waits for.
        if !changed || (type_ == ACCEPTED && now.status == "Unknown") {
            continue;
        }
        let severity = if now.status == "False" { EventType::Warning } else { EventType::Normal };
        publish(recorder, batch, severity, &now.reason, "Reconcile", now.message.clone()).await;
    }
    // That a batch is held is told by what it says of its success.
    if let Some(now) = status.condition(SUSPENDED).filter(|it| it.reason == reason::RESUMED)
        && before.condition(SUSPENDED).is_some_and(|it| it.status == "True")
    {
        publish(recorder, batch, EventType::Normal, &now.reason, "Reconcile", now.message.clone()).await;
    }
}

/// Publishes that a batch was deleted at its time.
pub(super) async fn publish_expiry(recorder: &Recorder, batch: &ImageBatch) {
    let note = "ttlSecondsAfterFinished has passed: the ImageBatch goes; images, reports and records stay";
    publish(recorder, batch, EventType::Normal, "Expired", "Delete", note.to_owned()).await;
}

async fn publish(recorder: &Recorder, batch: &ImageBatch, type_: EventType, reason: &str, action: &str, note: String) {
    let note = Some(shorten(&note, MAX_NOTE));
    let event = Event { type_, reason: reason.to_owned(), note, action: action.to_owned(), secondary: None };
    // An Event is a courtesy; the batch goes on without it.
    if let Err(error) = recorder.publish(&event, &batch.object_ref(&())).await {
        tracing::warn!(batch.name = batch.name_any(), reason, %error, "failed to publish an Event");
    }
}
