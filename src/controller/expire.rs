//! Deletes ImageBatches whose `ttlSecondsAfterFinished` has passed. Only the object goes, with its Jobs:
//! images, reports and records stay, and so do webhooks that are still to be told.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Preconditions};
use kube::runtime::controller::Action;

use super::context::Context;
use super::error::ReconcileError;
use super::events;
use crate::api::image_batch::{DeletionPolicy, ImageBatch};
use crate::failpoint;

/// Longest time until the next look.
const MAX_WAIT: Duration = Duration::from_secs(86_400);

/// Returns when a batch is to be deleted.
#[must_use]
pub fn expiry(batch: &ImageBatch) -> Option<Timestamp> {
    let status = batch.status.as_ref().filter(|it| it.is_finished())?;
    let seconds = batch.spec.ttl_seconds_after_finished?;
    // The API server refuses the two together; an object that it did not check must not lose its images.
    if batch.spec.deletion_policy != DeletionPolicy::Retain {
        return None;
    }
    status.completion_time.as_ref()?.0.saturating_add(SignedDuration::from_secs(seconds)).ok()
}

/// Deletes a finished batch when its time has come.
pub(super) async fn expire(context: &Context, batch: &ImageBatch, now: Timestamp) -> Result<Action, ReconcileError> {
    let Some(expiry) = expiry(batch) else { return Ok(Action::await_change()) };
    if let Ok(wait) = Duration::try_from(expiry.duration_since(now))
        && !wait.is_zero()
    {
        return Ok(Action::requeue(wait.min(MAX_WAIT)));
    }
    // What changed meanwhile may be its policy or its time: the change brings it back here.
    let seen = Preconditions { uid: batch.uid(), resource_version: batch.resource_version() };
    let parameters = DeleteParams { preconditions: Some(seen), ..DeleteParams::default() };
    let api = Api::<ImageBatch>::namespaced(context.client.clone(), &batch.namespace().unwrap_or_default());
    match failpoint::around("batch.expire", api.delete(&batch.name_any(), &parameters)).await {
        Ok(_) => events::publish_expiry(&context.recorder, batch).await,
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
        Err(error) => return Err(ReconcileError::DeleteBatch(error)),
    }
    Ok(Action::await_change())
}
