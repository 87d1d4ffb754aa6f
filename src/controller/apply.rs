//! Carries out a plan's step, writes the status, and tells people by Events.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;

use super::context::Context;
use super::error::ReconcileError;
use super::job::job;
use super::plan::Step;
use crate::api::condition::{
    ACCEPTED, RECONCILED, SUCCEEDED, SUSPENDED, Statement, WORKER_STUCK, WORKERS_READY, is_problem, reason,
    set_condition,
};
use crate::api::image_batch::ImageBatch;
use crate::api::labels;
use crate::api::status::ImageBatchStatus;
use crate::failpoint;
use crate::manifest::problem::shorten;

/// Field manager of what may change in a Job that exists.
const SCALER: &str = "imagebatch-controller-scale";
/// Field manager of the condition that says what became of the webhook.
pub(crate) const NOTIFIER: &str = "imagebatch-controller-webhook";
/// Bytes of an Event's note: the API server takes less than 1 kB.
const MAX_NOTE: usize = 1_000;

/// Carries out a step; may be repeated.
pub(crate) async fn apply_step(context: &Context, batch: &ImageBatch, step: &Step) -> Result<(), ReconcileError> {
    let jobs = Api::<Job>::namespaced(context.client.clone(), &batch.namespace().unwrap_or_default());
    match step {
        Step::Start { .. } => start_job(context, &jobs, batch, step).await,
        Step::End(stages) => {
            for stage in stages {
                delete_job(&jobs, &stage.job_name(&batch.name_any()), None).await?;
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

/// Deletes a Job; it is gone once its pods are. With a uid this one, and not one of the same name that a later
/// batch has by now.
pub(super) async fn delete_job(jobs: &Api<Job>, name: &str, uid: Option<String>) -> Result<(), ReconcileError> {
    let params = DeleteParams::foreground().preconditions(Preconditions { uid, resource_version: None });
    match jobs.delete(name, &params).await {
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
    if let Err(error) = apply.await {
        return settle_conflict(jobs, &job, batch, error).await;
    }
    let note = format!("created Job {name}");
    publish(&context.recorder, batch, EventType::Normal, "JobCreated", "CreateJob", note).await;
    Ok(())
}

/// Finds out whose Job it is that stands in the way of one. The batch's own comes to be there when somebody took
/// its labels away, and the batch did not find it: they are put back.
async fn settle_conflict(
    jobs: &Api<Job>,
    job: &Job,
    batch: &ImageBatch,
    error: kube::Error,
) -> Result<(), ReconcileError> {
    if !matches!(&error, kube::Error::Api(refusal) if refusal.is_conflict() || refusal.is_invalid()) {
        return Err(ReconcileError::ApplyJob(error));
    }
    let name = job.name_any();
    let Some(found) = jobs.get_opt(&name).await.map_err(ReconcileError::ListJobs)? else {
        return Err(ReconcileError::ApplyJob(error));
    };
    let owner = found.owner_references().iter().find(|it| it.controller == Some(true));
    let owner = match owner {
        Some(owner) if Some(&owner.uid) == batch.metadata.uid.as_ref() => {
            let labels = Patch::Merge(json!({ "metadata": { "labels": job.labels() } }));
            let patched = jobs.patch(&name, &PatchParams::default(), &labels).await;
            return patched.map(drop).map_err(ReconcileError::ApplyJob);
        }
        Some(owner) if owner.kind == ImageBatch::kind(&()) && owner.name == batch.name_any() => {
            "an earlier ImageBatch of this name".to_owned()
        }
        Some(owner) => format!("{} {:?}", owner.kind, owner.name),
        None => "no ImageBatch".to_owned(),
    };
    Err(ReconcileError::JobNameTaken { name, owner })
}

/// Writes the status; fails when the ImageBatch is not any more what the status was computed from. So whoever was
/// leader before, and has a request under way still, writes over nothing.
pub(crate) async fn apply_status(
    client: &Client,
    batch: &ImageBatch,
    status: &ImageBatchStatus,
) -> Result<(), ReconcileError> {
    let api = Api::<ImageBatch>::namespaced(client.clone(), &batch.namespace().unwrap_or_default());
    let patch = json!({
        "apiVersion": ImageBatch::api_version(&()),
        "kind": ImageBatch::kind(&()),
        "metadata": { "resourceVersion": batch.metadata.resource_version },
        "status": status,
    });
    let params = PatchParams::apply(labels::CONTROLLER).force();
    let (name, patch) = (batch.name_any(), Patch::Apply(patch));
    match failpoint::around("status.patch", api.patch_status(&name, &params, &patch)).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(&error, kube::Error::Api(status) if status.is_conflict()) => {
            Err(ReconcileError::Outdated(error))
        }
        Err(error) => Err(ReconcileError::PatchStatus(error)),
    }
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

async fn publish_condition(recorder: &Recorder, batch: &ImageBatch, condition: &Condition, action: &str) {
    let is_bad = is_problem(&condition.type_, &condition.status) || condition.reason == reason::POD_DELETED;
    let severity = if is_bad { EventType::Warning } else { EventType::Normal };
    publish(recorder, batch, severity, &condition.reason, action, condition.message.clone()).await;
}

/// Publishes an Event about a batch.
pub(crate) async fn publish(
    recorder: &Recorder,
    batch: &ImageBatch,
    type_: EventType,
    reason: &str,
    action: &str,
    note: String,
) {
    let note = Some(shorten(&note, MAX_NOTE));
    let event = Event { type_, reason: reason.to_owned(), note, action: action.to_owned(), secondary: None };
    // An Event is a courtesy; the batch goes on without it.
    if let Err(error) = recorder.publish(&event, &batch.object_ref(&())).await {
        tracing::warn!(batch.name = batch.name_any(), reason, %error, "failed to publish an Event");
    }
}
