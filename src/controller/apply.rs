//! Carries out a plan's step, writes the status, and tells people by Events.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;

use super::context::Context;
use super::error::ReconcileError;
use super::job::{WorkerArgs, job};
use super::plan::Step;
use crate::api::condition::{
    ACCEPTED, RECONCILED, SUCCEEDED, Statement, WORKER_STUCK, WORKERS_READY, is_problem, reason, set_condition,
};
use crate::api::image_batch::ImageBatch;
use crate::api::labels;
use crate::api::stage::Stage;
use crate::api::status::ImageBatchStatus;
use crate::failpoint;

/// Field manager of what may change in a Job that exists.
const SCALER: &str = "imagebatch-controller-scale";
/// Field manager of the condition that says what became of the webhook.
pub(crate) const NOTIFIER: &str = "imagebatch-controller-webhook";

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
    let Some(job) = job(batch, step, settings).map_err(ReconcileError::BuildJob)? else { return Ok(()) };
    let name = job.name_any();
    // Not forced: a Job of that name that belongs to an earlier ImageBatch must go first.
    let params = PatchParams::apply(labels::CONTROLLER);
    let patch = Patch::Apply(&job);
    let apply = failpoint::around("job.apply", jobs.patch(&name, &params, &patch));
    if let Err(error) = apply.await {
        return Err(name_taken(&jobs, &name, batch, &error).await.unwrap_or(ReconcileError::ApplyJob(error)));
    }
    publish(recorder, batch, EventType::Normal, "JobCreated", "CreateJob", format!("created Job {name}")).await;
    Ok(())
}

/// Returns the error that names whose a Job is, when it is not the batch's and stands in its way.
async fn name_taken(jobs: &Api<Job>, name: &str, batch: &ImageBatch, error: &kube::Error) -> Option<ReconcileError> {
    let kube::Error::Api(refusal) = error else { return None };
    if !refusal.is_conflict() && !refusal.is_invalid() {
        return None;
    }
    let found = jobs.get_opt(name).await.ok()??;
    if found.labels().get(labels::BATCH_UID) == batch.metadata.uid.as_ref() {
        return None;
    }
    let owner = match found.owner_references().iter().find(|it| it.controller == Some(true)) {
        Some(owner) if owner.kind == ImageBatch::kind(&()) && owner.name == batch.name_any() => {
            "an earlier ImageBatch of this name".to_owned()
        }
        Some(owner) => format!("{} {:?}", owner.kind, owner.name),
        None => "no ImageBatch".to_owned(),
    };
    Some(ReconcileError::JobNameTaken { name: name.to_owned(), owner })
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

/// Sets conditions beside the status, and publishes those that decide something. Returns the batch as it is
/// now, or `None` when it is gone.
///
/// Conditions are merged by their type. Each kind of writer needs a field manager of its own, and names all of
/// its conditions each time.
pub(crate) async fn apply_conditions(
    context: &Context,
    batch: &ImageBatch,
    manager: &str,
    statements: Vec<Statement>,
    now: &Time,
) -> Result<Option<ImageBatch>, ReconcileError> {
    let mut conditions = batch.status.clone().unwrap_or_default().conditions;
    for statement in &statements {
        set_condition(&mut conditions, statement.clone(), batch.metadata.generation, now);
    }
    conditions.retain(|condition| statements.iter().any(|it| it.type_ == condition.type_));
    let patch = json!({
        "apiVersion": ImageBatch::api_version(&()),
        "kind": ImageBatch::kind(&()),
        "status": { "conditions": conditions },
    });
    let params = PatchParams::apply(manager).force();
    let api = Api::<ImageBatch>::namespaced(context.client.clone(), &batch.namespace().unwrap_or_default());
    let (name, patch) = (batch.name_any(), Patch::Apply(patch));
    let batch = match failpoint::around("condition.patch", api.patch_status(&name, &params, &patch)).await {
        Ok(batch) => batch,
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(None),
        Err(error) => return Err(ReconcileError::PatchStatus(error)),
    };
    for condition in conditions.iter().filter(|it| it.status != "Unknown") {
        publish_condition(&context.recorder, &batch, condition, "Notify").await;
    }
    Ok(Some(batch))
}

/// Publishes what changed between two statuses.
pub(crate) async fn publish_changes(recorder: &Recorder, batch: &ImageBatch, status: &ImageBatchStatus) {
    let before = batch.status.clone().unwrap_or_default();
    for type_ in [ACCEPTED, SUCCEEDED, RECONCILED, WORKERS_READY, WORKER_STUCK] {
        let Some(now) = status.condition(type_) else { continue };
        let changed = before.condition(type_).is_none_or(|it| it.status != now.status || it.reason != now.reason);
        // What is still Unknown is worth an Event only where it says what the batch waits for.
        if !changed || (type_ == ACCEPTED && now.status == "Unknown") {
            continue;
        }
        publish_condition(recorder, batch, now, "Reconcile").await;
    }
}

async fn publish_condition(recorder: &Recorder, batch: &ImageBatch, condition: &Condition, action: &str) {
    let is_bad = is_problem(&condition.type_, &condition.status) || condition.reason == reason::POD_DELETED;
    let severity = if is_bad { EventType::Warning } else { EventType::Normal };
    publish(recorder, batch, severity, &condition.reason, action, condition.message.clone()).await;
}

/// Publishes an Event about a batch.
pub(crate) async fn publish(recorder: &Recorder, batch: &ImageBatch, type_: EventType, reason: &str, action: &str, note: String) {
    let event =
        Event { type_, reason: reason.to_owned(), note: Some(note), action: action.to_owned(), secondary: None };
    // An Event is a courtesy; the batch goes on without it.
    if let Err(error) = recorder.publish(&event, &batch.object_ref(&())).await {
        tracing::warn!(batch.name = batch.name_any(), reason, %error, "failed to publish an Event");
    }
}
