//! Carries out a plan's step, writes the status, and tells people by Events.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::core::error_boundary::InvalidObject;
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;

use super::context::Context;
use super::error::ReconcileError;
use super::job::{WorkerArgs, job};
use super::plan::Step;
use crate::api::condition::{ACCEPTED, SUCCEEDED, Statement, reason, set_condition};
use crate::api::image_batch::ImageBatch;
use crate::api::labels;
use crate::api::stage::Stage;
use crate::api::status::ImageBatchStatus;
use crate::failpoint;
use crate::manifest::problem::shorten;

/// Bytes of a parser's message in an Event, whose note has at most 1 KiB.
const MAX_NOTE: usize = 600;
/// Field manager of what may change in a Job that exists.
const SCALER: &str = "imagebatch-controller-scale";
/// Field manager of the condition that says what became of the webhook.
const NOTIFIER: &str = "imagebatch-controller-webhook";

/// Whether a batch is kept until it is cleaned up.
pub(crate) fn has_finalizer(batch: &ImageBatch) -> bool {
    batch.finalizers().iter().any(|it| it == labels::FINALIZER)
}

/// Keeps a batch until it is cleaned up. Returns the batch as it is now, or `None` when it changed meanwhile or is
/// gone: then the watch tells of it.
pub(crate) async fn add_finalizer(
    batches: &Api<ImageBatch>,
    batch: &ImageBatch,
) -> Result<Option<ImageBatch>, ReconcileError> {
    let mut finalizers = batch.finalizers().to_vec();
    finalizers.push(labels::FINALIZER.to_owned());
    let patch = json!({ "metadata": {
        "uid": batch.metadata.uid, "resourceVersion": batch.metadata.resource_version, "finalizers": finalizers,
    } });
    match batches.patch(&batch.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(batch) => Ok(Some(batch)),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => Ok(None),
        Err(error) => Err(ReconcileError::AddFinalizer(error)),
    }
}

/// Carries out a step; may be repeated. Returns the Job as it is now, where there is one.
pub(crate) async fn apply_step(
    client: &Client,
    settings: &WorkerArgs,
    batch: &ImageBatch,
    step: &Step,
) -> Result<Option<Job>, ReconcileError> {
    let jobs = Api::<Job>::namespaced(client.clone(), &batch.namespace().unwrap_or_default());
    if let Step::Scale(parallelism) = step {
        let name = Stage::Compress.job_name(&batch.name_any());
        let patch = json!({ "apiVersion": "batch/v1", "kind": "Job", "spec": { "parallelism": parallelism } });
        let params = PatchParams::apply(SCALER).force();
        return jobs.patch(&name, &params, &Patch::Apply(patch)).await.map(Some).map_err(ReconcileError::ApplyJob);
    }
    let Some(job) = job(batch, step, settings).map_err(ReconcileError::BuildJob)? else { return Ok(None) };
    // Created, not applied: one that the watch has not shown yet stays as it is.
    let params = PostParams { field_manager: Some(labels::CONTROLLER.to_owned()), ..PostParams::default() };
    match failpoint::around("job.apply", jobs.create(&params, &job)).await {
        Ok(job) => Ok(Some(job)),
        Err(kube::Error::Api(status)) if status.is_already_exists() => find_job(&jobs, batch, &job).await,
        Err(error) => Err(ReconcileError::ApplyJob(error)),
    }
}

/// Tells of a Job that was created.
pub(crate) async fn publish_job(recorder: &Recorder, batch: &ImageBatch, stage: Stage) {
    let note = format!("created Job {}", stage.job_name(&batch.name_any()));
    publish(recorder, batch, EventType::Normal, "JobCreated", "CreateJob", note).await;
}

/// Returns the Job of that name that exists already, if it is the batch's. One that lost its labels, by which the
/// watch finds it, gets them back.
async fn find_job(jobs: &Api<Job>, batch: &ImageBatch, wanted: &Job) -> Result<Option<Job>, ReconcileError> {
    let name = wanted.name_any();
    let Some(found) = jobs.get_opt(&name).await.map_err(ReconcileError::ApplyJob)? else { return Ok(None) };
    if !found.owner_references().iter().any(|it| Some(&it.uid) == batch.metadata.uid.as_ref()) {
        return Err(ReconcileError::JobTaken(name));
    }
    if wanted.labels().iter().all(|label| found.labels().get_key_value(label.0) == Some(label)) {
        return Ok(Some(found));
    }
    let metadata = json!({ "uid": found.metadata.uid, "labels": wanted.labels() });
    let patch = json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata });
    let params = PatchParams::apply(labels::CONTROLLER).force();
    jobs.patch(&name, &params, &Patch::Apply(patch)).await.map(Some).map_err(ReconcileError::ApplyJob)
}

/// Writes the status; returns the resource version that the ImageBatch has since.
pub(crate) async fn apply_status(
    client: &Client,
    batch: &ImageBatch,
    status: &ImageBatchStatus,
) -> Result<Option<String>, ReconcileError> {
    let api = Api::<ImageBatch>::namespaced(client.clone(), &batch.namespace().unwrap_or_default());
    let patch = json!({
        "apiVersion": ImageBatch::api_version(&()),
        "kind": ImageBatch::kind(&()),
        "status": status,
    });
    let params = PatchParams::apply(labels::CONTROLLER).force();
    let (name, patch) = (batch.name_any(), Patch::Apply(patch));
    let apply = failpoint::around("status.patch", api.patch_status(&name, &params, &patch));
    Ok(apply.await.map_err(ReconcileError::PatchStatus)?.metadata.resource_version)
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
        // What is still Unknown is worth an Event only where it says what the batch waits for, and that it waits
        // for a pod is said by its Job's.
        if !changed || (type_ == ACCEPTED && now.status == "Unknown") || now.reason == reason::PENDING {
            continue;
        }
        let severity = if now.status == "False" { EventType::Warning } else { EventType::Normal };
        publish(recorder, batch, severity, &now.reason, "Reconcile", now.message.clone()).await;
    }
}

/// Tells of an ImageBatch that cannot be read.
pub(crate) async fn publish_unreadable(recorder: &Recorder, invalid: &InvalidObject) {
    let InvalidObject { error, metadata } = invalid;
    let note = format!(
        "this version of the controller cannot read the ImageBatch, and nothing is done for it; correct it, or \
         upgrade the controller: {}",
        shorten(error, MAX_NOTE)
    );
    let reference = ObjectReference {
        api_version: Some(ImageBatch::api_version(&()).into_owned()),
        kind: Some(ImageBatch::kind(&()).into_owned()),
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        uid: metadata.uid.clone(),
        ..ObjectReference::default()
    };
    publish_for(recorder, &reference, EventType::Warning, reason::UNREADABLE, "Read", note).await;
}

async fn publish(recorder: &Recorder, batch: &ImageBatch, type_: EventType, reason: &str, action: &str, note: String) {
    publish_for(recorder, &batch.object_ref(&()), type_, reason, action, note).await;
}

async fn publish_for(
    recorder: &Recorder,
    reference: &ObjectReference,
    type_: EventType,
    reason: &str,
    action: &str,
    note: String,
) {
    let event =
        Event { type_, reason: reason.to_owned(), note: Some(note), action: action.to_owned(), secondary: None };
    // An Event is a courtesy; the batch goes on without it.
    if let Err(error) = recorder.publish(&event, reference).await {
        let (name, namespace) = (&reference.name, &reference.namespace);
        tracing::warn!(batch.name = name, batch.namespace = namespace, reason, %error, "failed to publish an Event");
    }
}
