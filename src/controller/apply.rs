//! Carries out a plan's step, writes the status, and tells people by Events.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;
use tracing::Instrument;

use super::context::Context;
use super::error::ReconcileError;
use super::job::{WorkerArgs, job};
use super::plan::Step;
use super::spans;
use crate::api::condition::{ACCEPTED, SUCCEEDED, Statement, set_condition};
use crate::api::image_batch::ImageBatch;
use crate::api::labels;
use crate::api::stage::Stage;
use crate::api::status::ImageBatchStatus;
use crate::failpoint;

/// Field manager of what may change in a Job that exists.
const SCALER: &str = "imagebatch-controller-scale";
/// Field manager of the condition that says what became of the webhook.
const NOTIFIER: &str = "imagebatch-controller-webhook";

/// Carries out a step; may be repeated.
pub(crate) async fn apply_step(
    client: &Client,
    recorder: &Recorder,
    settings: &WorkerArgs,
    batch: &ImageBatch,
    step: &Step,
) -> Result<(), ReconcileError> {
    let jobs = Api::<Job>::namespaced(client.clone(), &batch.namespace().unwrap_or_default());
    if let Step::Scale(parallelism) = step {
        let name = Stage::Compress.job_name(&batch.name_any());
        let patch = json!({ "apiVersion": "batch/v1", "kind": "Job", "spec": { "parallelism": parallelism } });
        let params = PatchParams::apply(SCALER).force();
        jobs.patch(&name, &params, &Patch::Apply(patch)).await.map_err(ReconcileError::ApplyJob)?;
        return Ok(());
    }
    let Step::Start { stage, .. } = step else { return Ok(()) };
    let (span, traced) = spans::of_job(batch, *stage);
    let Some(job) = job(&traced, step, settings).map_err(ReconcileError::BuildJob)? else { return Ok(()) };
    let name = job.name_any();
    // Not forced: a Job of that name that belongs to an earlier ImageBatch must go first.
    let params = PatchParams::apply(labels::CONTROLLER);
    let patch = Patch::Apply(&job);
    let apply = failpoint::around("job.apply", jobs.patch(&name, &params, &patch));
    apply.instrument(span).await.map_err(ReconcileError::ApplyJob)?;
    publish(recorder, batch, EventType::Normal, "JobCreated", "CreateJob", format!("created Job {name}")).await;
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
}

async fn publish(recorder: &Recorder, batch: &ImageBatch, type_: EventType, reason: &str, action: &str, note: String) {
    let event =
        Event { type_, reason: reason.to_owned(), note: Some(note), action: action.to_owned(), secondary: None };
    // An Event is a courtesy; the batch goes on without it.
    if let Err(error) = recorder.publish(&event, &batch.object_ref(&())).await {
        tracing::warn!(batch.name = batch.name_any(), reason, %error, "failed to publish an Event");
    }
}
