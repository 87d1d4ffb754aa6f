//! What the finalizer does before an ImageBatch goes: its pods end first, then what it stored is kept
//! or deleted as its policy says.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Preconditions};

use super::context::Context;
use super::error::ReconcileError;
use super::lineage;
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
            if !status.is_finished() {
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
        // This one, and not one of the same name that a later batch has by now.
        let one = Preconditions { uid: job.uid(), resource_version: None };
        match jobs.delete(&job.name_any(), &DeleteParams::foreground().preconditions(one)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(ReconcileError::DeleteJob(error)),
        }
    }
    if remaining.items.is_empty() { Ok(()) } else { Err(ReconcileError::JobsRemain(remaining.items.len())) }
}
