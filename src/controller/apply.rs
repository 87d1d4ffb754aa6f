//! Carries out a plan's step and writes the status.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;
use tracing::Instrument;

use super::context::Context;
use super::error::ReconcileError;
use super::job::job;
use super::plan::Step;
use super::{events, spans};
use crate::api::condition::{Statement, set_condition};
use crate::api::image_batch::ImageBatch;
use crate::api::labels;
use crate::api::stage::Stage;
use crate::api::status::ImageBatchStatus;
use crate::failpoint;

/// Field manager of what may change in a Job that exists.
const SCALER: &str = "imagebatch-controller-scale";
/// Field manager of the condition that says what became of the webhook.
pub(crate) const NOTIFIER: &str = "imagebatch-controller-webhook";

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

/// Carries out a step; may be repeated. Returns the Job that it created or changed, as it is now.
pub(crate) async fn apply_step(
    context: &Context,
    batch: &ImageBatch,
    step: &Step,
) -> Result<Option<Job>, ReconcileError> {
    let jobs = Api::<Job>::namespaced(context.client.clone(), &batch.namespace().unwrap_or_default());
    match step {
        Step::Start { stage, .. } => start_job(context, &jobs, batch, step, *stage).await,
        Step::End(stages) => {
            for stage in stages {
                delete_job(&jobs, &stage.job_name(&batch.name_any()), None).await?;
            }
            Ok(None)
        }
        Step::Switch { workload, active } => {
            let namespace = batch.namespace().unwrap_or_default();
            let switch = context.workloads.set_active(&context.client, &namespace, workload, *active);
            switch.await.map(|()| None).map_err(ReconcileError::PatchWorkload)
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
            jobs.patch(&name, &params, &patch).await.map(Some).map_err(ReconcileError::ApplyJob)
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

async fn start_job(
    context: &Context,
    jobs: &Api<Job>,
    batch: &ImageBatch,
    step: &Step,
    stage: Stage,
) -> Result<Option<Job>, ReconcileError> {
    let (span, traced) = spans::of_job(batch, stage);
    let Some(job) = job(&traced, step, &context.worker).map_err(ReconcileError::BuildJob)? else { return Ok(None) };
    // Created, not applied: one that the watch has not shown yet stays as it is.
    let params = PostParams { field_manager: Some(labels::CONTROLLER.to_owned()), ..PostParams::default() };
    let create = failpoint::around("job.apply", jobs.create(&params, &job));
    match create.instrument(span).await {
        Ok(job) => Ok(Some(job)),
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            find_job(jobs, &job, batch, kube::Error::Api(status)).await.map(Some)
        }
        Err(error) => Err(ReconcileError::ApplyJob(error)),
    }
}

/// Finds out whose Job it is that stands in the way of one. It is the batch's own when the watch has not shown it
/// yet, or when somebody took the labels away by which the watch finds it: they are put back.
async fn find_job(
    jobs: &Api<Job>,
    wanted: &Job,
    batch: &ImageBatch,
    error: kube::Error,
) -> Result<Job, ReconcileError> {
    let name = wanted.name_any();
    let Some(found) = jobs.get_opt(&name).await.map_err(ReconcileError::ApplyJob)? else {
        return Err(ReconcileError::ApplyJob(error));
    };
    let owner = match found.owner_references().iter().find(|it| it.controller == Some(true)) {
        Some(owner) if Some(&owner.uid) == batch.metadata.uid.as_ref() => {
            if wanted.labels().iter().all(|label| found.labels().get_key_value(label.0) == Some(label)) {
                return Ok(found);
            }
            let labels = json!({ "metadata": { "uid": found.metadata.uid, "labels": wanted.labels() } });
            let patched = jobs.patch(&name, &PatchParams::default(), &Patch::Merge(labels)).await;
            return patched.map_err(ReconcileError::ApplyJob);
        }
        Some(owner) if owner.kind == ImageBatch::kind(&()) && owner.name == batch.name_any() => {
            "an earlier ImageBatch of this name".to_owned()
        }
        Some(owner) => format!("{} {:?}", owner.kind, owner.name),
        None => "no ImageBatch".to_owned(),
    };
    Err(ReconcileError::JobNameTaken { name, owner })
}

/// Writes the status; returns the resource version that the ImageBatch has since. Fails when the ImageBatch is not
/// any more what the status was computed from. So whoever was leader before, and has a request under way still,
/// writes over nothing.
pub(crate) async fn apply_status(
    client: &Client,
    batch: &ImageBatch,
    status: &ImageBatchStatus,
) -> Result<Option<String>, ReconcileError> {
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
        Ok(batch) => Ok(batch.metadata.resource_version),
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
        events::publish_condition(&context.recorder, &batch, condition, "Notify").await;
    }
    Ok(Some(batch))
}
