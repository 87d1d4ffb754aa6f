//! What the finalizer does before an ImageBatch goes: its pods end first, then what it stored is kept
//! or deleted as its policy says.
//!
//! Storage and MongoDB may be away for long, and an ImageBatch that does not go keeps its namespace from
//! going. So clean-up is given up after a time, and what is left is named in the log and in an Event.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use kube::runtime::events::EventType;

use super::context::Context;
use super::error::ReconcileError;
use super::{apply, events, lineage, workers};
use crate::api::condition::{CLEANED_UP, FINISHED, SUCCEEDED, Statement, reason, set_condition};
use crate::api::image_batch::{DeletionPolicy, ImageBatch};
use crate::api::labels;
use crate::failpoint;
use crate::records::RecordError;
use crate::records::request::Origin;

/// Field manager of what is said of pods that do not end.
const MANAGER: &str = "imagebatch-controller-stuck";
/// Time for MongoDB in one reconcile.
const RECORDS_TIME: Duration = Duration::from_secs(20);

/// Cleans up; fails with [`ReconcileError::JobsRemain`] as long as pods may still write.
pub(crate) async fn clean_up(context: &Context, batch: &ImageBatch, now: Time) -> Result<(), ReconcileError> {
    let ended = end_jobs(context, batch).await;
    if let Err(ReconcileError::JobsRemain(_)) = &ended {
        say_what_is_stuck(context, batch, &now).await?;
    }
    ended?;
    let mut release = Release { gives_up: gives_up(context, batch, &now), left: Vec::new() };
    match batch.spec.deletion_policy {
        DeletionPolicy::Delete => delete(context, batch, &mut release).await?,
        DeletionPolicy::Retain => retain(context, batch, &mut release, &now).await?,
    }
    if release.left.is_empty() {
        tracing::info!(policy = ?batch.spec.deletion_policy, "cleaned up");
        return Ok(());
    }
    let left = release.left.join(", ");
    tracing::warn!(left, "gave up cleaning up");
    let message = format!("clean-up failed for too long and was given up; left behind: {left}");
    events::publish(&context.recorder, batch, EventType::Warning, reason::CLEANUP_ABANDONED, "CleanUp", message).await;
    Ok(())
}

/// Steps of a clean-up, of which those that fail are left out once it is given up.
struct Release {
    gives_up: bool,
    left: Vec<String>,
}

impl Release {
    /// Passes a step's result on; an outage is noted instead, once the clean-up is given up.
    fn settle(
        &mut self,
        what: impl FnOnce() -> String,
        result: Result<(), ReconcileError>,
    ) -> Result<(), ReconcileError> {
        match result {
            Err(error @ (ReconcileError::Storage(_) | ReconcileError::Records(_))) if self.gives_up => {
                let what = what();
                tracing::warn!(what, error = &error as &dyn std::error::Error, "leaving behind what cannot be removed");
                self.left.push(what);
                Ok(())
            }
            result => result,
        }
    }
}

/// Whether the first failure is so long ago that an outage is not waited for any longer. The condition says when
/// that was, whichever controller it met.
fn gives_up(context: &Context, batch: &ImageBatch, now: &Time) -> bool {
    let status = batch.status.as_ref();
    let failing = status.and_then(|it| it.condition(CLEANED_UP)).filter(|it| it.status == "False");
    let since = failing.map(|it| now.0.duration_since(it.last_transition_time.0));
    context.give_up_after.zip(since).is_some_and(|(limit, since)| since >= limit)
}

async fn delete(context: &Context, batch: &ImageBatch, release: &mut Release) -> Result<(), ReconcileError> {
    let (uid, namespace) = (batch.uid().unwrap_or_default(), batch.namespace().unwrap_or_default());
    let keys = context.storage.keys();
    let retry = batch.status.as_ref().and_then(|it| it.retry.as_ref());
    let objects = failpoint::around("objects.delete", lineage::release_objects(context, batch)).await;
    let below = || format!("objects below {}", keys.batch_or_retry(&namespace, &uid, retry).root());
    release.settle(below, objects)?;
    if let Some(upload) = &batch.spec.source.upload
        && keys.is_upload_of(&namespace, &upload.key)
    {
        let deletion = lineage::in_time("delete", &upload.key, context.storage.delete(&upload.key));
        let deletion = failpoint::around("upload.delete", deletion).await;
        release.settle(|| format!("object {}", upload.key), deletion.map_err(Into::into))?;
    }
    let deletion = in_time("delete a batch's records", context.records.delete_batch(&uid));
    let deletion = failpoint::around("records.delete", deletion).await;
    release.settle(|| format!("records of batch {uid}"), deletion.map_err(Into::into))
}

async fn retain(
    context: &Context,
    batch: &ImageBatch,
    release: &mut Release,
    now: &Time,
) -> Result<(), ReconcileError> {
    let uid = batch.uid().unwrap_or_default();
    // Never given up: without its mark the last of its retries would delete images that were to stay.
    lineage::release_objects(context, batch).await?;
    let deletion = in_time("delete progress", context.records.delete_progress(&uid)).await;
    release.settle(|| format!("progress of batch {uid}"), deletion.map_err(Into::into))?;
    let mut status = batch.status.clone().unwrap_or_default();
    let was_finished = status.is_finished();
    if !was_finished {
        let message = "the ImageBatch was deleted before its end".to_owned();
        for (type_, value) in [(SUCCEEDED, false), (FINISHED, true)] {
            let statement = Statement { type_, status: Some(value), reason: reason::DELETED, message: message.clone() };
            set_condition(&mut status.conditions, statement, batch.metadata.generation, now);
        }
        status.active = 0;
    }
    let mirror = async {
        // Nobody looks at a finished batch again, and from here on its record is all that is left.
        let mirrored = if was_finished { context.records.request(&uid).await? } else { None };
        if mirrored.and_then(|it| it.read_status().ok()).is_some_and(|it| it.is_finished()) {
            return Ok(());
        }
        context.records.mirror_status(&uid, &Origin::of(batch), &status).await
    };
    let mirror = in_time("mirror the status", mirror).await;
    release.settle(|| format!("the last status of batch {uid} in MongoDB"), mirror.map_err(Into::into))
}

async fn in_time(
    action: &'static str,
    command: impl Future<Output = Result<(), RecordError>>,
) -> Result<(), RecordError> {
    tokio::time::timeout(RECORDS_TIME, command).await.unwrap_or(Err(RecordError::Timeout { action }))
}

/// Deletes the batch's Jobs with their pods and reports those that are not gone yet.
async fn end_jobs(context: &Context, batch: &ImageBatch) -> Result<(), ReconcileError> {
    let namespace = batch.namespace().unwrap_or_default();
    if !context.is_enabled(&namespace) {
        // Not a namespace of this installation (any more): there is no right to its Jobs, and the
        // garbage collector takes them.
        return Ok(());
    }
    let jobs = Api::<Job>::namespaced(context.client.clone(), &namespace);
    let selector = format!("{}={}", labels::BATCH_UID, batch.uid().unwrap_or_default());
    let remaining = jobs.list(&ListParams::default().labels(&selector)).await.map_err(ReconcileError::ListJobs)?;
    for job in remaining.iter().filter(|job| job.metadata.deletion_timestamp.is_none()) {
        apply::delete_job(&jobs, &job.name_any(), job.uid()).await?;
    }
    if remaining.items.is_empty() { Ok(()) } else { Err(ReconcileError::JobsRemain(remaining.items.len())) }
}

/// Says which pods keep the batch from going, and ends them as it may.
async fn say_what_is_stuck(context: &Context, batch: &ImageBatch, now: &Time) -> Result<(), ReconcileError> {
    let Some(workers) = workers::observe_ending(context, batch).await else { return Ok(()) };
    let before = batch.status.clone().unwrap_or_default();
    let Some(statement) = workers::stuck_statement(&before, &workers.stuck, context.stuck_after) else { return Ok(()) };
    let is_said = before.condition(statement.type_).is_some_and(|it| it.message == statement.message);
    if !is_said {
        apply::apply_conditions(context, batch, MANAGER, vec![statement], now).await?;
    }
    Ok(())
}
