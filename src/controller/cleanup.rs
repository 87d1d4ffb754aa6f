//! What the finalizer does before an ImageBatch goes: its pods end first, then what it stored is kept
//! or deleted as its policy says.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use super::context::Context;
use super::error::ReconcileError;
use super::{apply, lineage};
use crate::api::condition::{FINISHED, SUCCEEDED, Statement, reason, set_condition};
use crate::api::image_batch::{DeletionPolicy, ImageBatch};
use crate::api::labels;
use crate::failpoint;
use crate::records::request::Origin;

/// Cleans up; fails with [`ReconcileError::JobsRemain`] as long as pods may still write.
pub(crate) async fn clean_up(context: &Context, batch: &ImageBatch, now: Time) -> Result<(), ReconcileError> {
    end_jobs(context, batch).await?;
    let (uid, namespace) = (batch.uid().unwrap_or_default(), batch.namespace().unwrap_or_default());
    failpoint::around("objects.delete", lineage::release_objects(context, batch)).await?;
    match batch.spec.deletion_policy {
        DeletionPolicy::Delete => {
            let keys = context.storage.keys();
            if let Some(upload) = &batch.spec.source.upload
                && keys.is_upload_of(&namespace, &upload.key)
            {
                failpoint::around("upload.delete", context.storage.delete(&upload.key)).await?;
            }
            failpoint::around("records.delete", context.records.delete_batch(&uid)).await?;
        }
        DeletionPolicy::Retain => {
            context.records.delete_progress(&uid).await?;
            let mut status = batch.status.clone().unwrap_or_default();
            if status.is_finished() {
                // Nobody looks at a finished batch again, and from here on its record is all that is left.
                let mirrored = context.records.request(&uid).await?.and_then(|it| it.read_status().ok());
                if !mirrored.is_some_and(|it| it.is_finished()) {
                    context.records.mirror_status(&uid, &Origin::of(batch), &status).await?;
                }
            } else {
                let message = "the ImageBatch was deleted before its end".to_owned();
                for (type_, value) in [(SUCCEEDED, false), (FINISHED, true)] {
                    let statement =
                        Statement { type_, status: Some(value), reason: reason::DELETED, message: message.clone() };
                    set_condition(&mut status.conditions, statement, batch.metadata.generation, &now);
                }
                status.active = 0;
                context.records.mirror_status(&uid, &Origin::of(batch), &status).await?;
            }
        }
    }
    tracing::info!(batch.name = batch.name_any(), batch.uid = uid, policy = ?batch.spec.deletion_policy, "cleaned up");
    Ok(())
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
        apply::delete_job(&jobs, &job.name_any()).await?;
    }
    if remaining.items.is_empty() { Ok(()) } else { Err(ReconcileError::JobsRemain(remaining.items.len())) }
}
