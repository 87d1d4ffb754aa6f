//! A batch and its retries: who retries whom, and whose images must stay.
//!
//! All of them store below their root, the batch they began with, and a retry's reports name images of the
//! earlier ones. So what one of them stored goes with the last of them.

use std::time::Duration;

use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use kube::core::DeserializeGuard;
use serde_json::json;

use super::context::Context;
use super::error::ReconcileError;
use super::list;
use crate::api::image_batch::{DeletionPolicy, ImageBatch};
use crate::api::status::{ImageBatchStatus, Retry};
use crate::records::request::Origin;
use crate::storage::{Deleted, StorageError};

/// Time for deletions in one reconcile, and for any other request of storage.
const DELETION_TIME: Duration = Duration::from_secs(15);
const REQUEST_TIME: Duration = Duration::from_secs(8);
/// Retries that the status of a batch names.
const MAX_NAMED: usize = 20;

/// Writes the retry into the status of the batch that it retries. Fails when that changed meanwhile, above all
/// when its deletion began: from here on its clean-up knows that it has a retry.
pub(crate) async fn note_retry(context: &Context, batch: &ImageBatch, retry: &Retry) -> Result<(), ReconcileError> {
    let api = Api::<ImageBatch>::namespaced(context.client.clone(), &batch.namespace().unwrap_or_default());
    let found = api.get_opt(&retry.of).await.map_err(ReconcileError::GetBatch)?;
    let is_the_same =
        |it: &ImageBatch| it.uid().as_deref() == Some(retry.uid.as_str()) && it.metadata.deletion_timestamp.is_none();
    let Some(earlier) = found.filter(is_the_same) else {
        return Err(ReconcileError::RetriedChanged(retry.of.clone()));
    };
    let mut status = earlier.status.clone().unwrap_or_default();
    let name = batch.name_any();
    if !status.retried_by.contains(&name) {
        let surplus = (status.retried_by.len() + 1).saturating_sub(MAX_NAMED);
        status.retried_by.drain(..surplus);
        status.retried_by.push(name);
        let version = json!({ "resourceVersion": earlier.metadata.resource_version });
        let patch = json!({ "metadata": version, "status": { "retriedBy": status.retried_by } });
        let patched = api.patch_status(&retry.of, &PatchParams::default(), &Patch::Merge(patch)).await;
        match patched {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_conflict() => {
                return Err(ReconcileError::RetriedChanged(retry.of.clone()));
            }
            Err(error) => return Err(ReconcileError::PatchStatus(error)),
        }
    }
    Ok(context.records.mirror_status(&retry.uid, &Origin::of(&earlier), &status).await?)
}

/// Deletes the images of a batch that goes, and all else that it and its retries stored, when it is the last of
/// them; otherwise nothing. Once one of them went with `Retain`, everything stays.
///
/// Fails with [`ReconcileError::ObjectsRemain`] when it got on and has more to do.
pub(crate) async fn release_objects(context: &Context, batch: &ImageBatch) -> Result<(), ReconcileError> {
    let namespace = batch.namespace().unwrap_or_default();
    let status = batch.status.clone().unwrap_or_default();
    let uid = batch.uid().unwrap_or_default();
    let keys = context.storage.keys().batch_or_retry(&namespace, &uid, status.retry.as_ref());
    let deletes = batch.spec.deletion_policy == DeletionPolicy::Delete;
    if !deletes {
        if !is_alone(&status) {
            let key = keys.retained();
            in_time("write", &key, context.storage.put_new(&key, bytes::Bytes::new())).await?;
        }
        return Ok(());
    }
    if !is_alone(&status) {
        let mut is_held = false;
        // One that cannot be read may be a retry.
        let holds = |other: &DeserializeGuard<ImageBatch>| other.0.as_ref().map_or(true, |it| holds_objects(it, batch));
        let others = list::for_each(&context.client, &namespace, |other| is_held |= holds(other));
        others.await.map_err(ReconcileError::ListBatches)?;
        if is_held {
            return Ok(());
        }
        if in_time("read", &keys.retained(), context.storage.read(&keys.retained())).await?.is_some() {
            return Ok(());
        }
    }
    match context.storage.delete_below(keys.root(), DELETION_TIME).await? {
        Deleted::All => Ok(()),
        Deleted::Some => Err(ReconcileError::ObjectsRemain),
    }
}

/// Returns whether no other batch shares what a batch stored.
pub(super) fn is_alone(status: &ImageBatchStatus) -> bool {
    status.retry.is_none() && status.retried_by.is_empty()
}

/// Bounds a request, so that storage that hangs takes no reconcile's whole time.
pub(super) async fn in_time<T>(
    action: &'static str,
    key: &str,
    request: impl Future<Output = Result<T, StorageError>>,
) -> Result<T, StorageError> {
    let late = |_| Err(StorageError::Timeout { action, key: key.to_owned() });
    tokio::time::timeout(REQUEST_TIME, request).await.unwrap_or_else(late)
}

/// Returns whether another ImageBatch needs what a batch and its retries have stored. Where both go and delete,
/// both are the last.
fn holds_objects(other: &ImageBatch, batch: &ImageBatch) -> bool {
    let goes = other.metadata.deletion_timestamp.is_some() && other.spec.deletion_policy == DeletionPolicy::Delete;
    let is_noted = || {
        // Its status does not say yet what it builds on.
        let retries = other.spec.source.failed_of.as_ref().is_some_and(|it| it.name == batch.name_any());
        retries && batch.status.as_ref().is_some_and(|it| it.retried_by.contains(&other.name_any()))
    };
    other.uid() != batch.uid() && !goes && (root(other) == root(batch) || is_noted())
}

fn root(batch: &ImageBatch) -> Option<String> {
    let retry = batch.status.as_ref().and_then(|it| it.retry.as_ref());
    retry.map(|it| it.root.clone()).or_else(|| batch.uid())
}
