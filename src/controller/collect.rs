//! Removes uploads that no batch claims: a gateway that was killed between storing a CSV and creating
//! its ImageBatch leaves one behind.
//!
//! This is the only deletion that rests on something not being found, so it is careful: an upload is
//! left alone for a grace period that is far longer than a request takes, and it goes only when the API
//! server, asked after the upload was seen, has no ImageBatch with its key, and the records have no
//! batch of its name that was made from it (its ImageBatch may have been deleted and its data kept).

use std::collections::HashSet;
use std::time::Duration;

use kube::api::{Api, ListParams};

use super::context::Context;
use super::error::CollectError;
use crate::api::image_batch::ImageBatch;

/// Time between two rounds.
pub(super) const INTERVAL: Duration = Duration::from_secs(600);

/// Removes what is older than `grace` in every namespace of the installation; returns how many.
pub async fn collect_uploads(context: &Context, grace: Duration) -> Result<usize, CollectError> {
    let mut removed = 0;
    for namespace in &context.namespaces {
        let old = context.storage.uploads_older_than(namespace, grace).await?;
        if old.is_empty() {
            continue;
        }
        // After the list of uploads: what is claimed from now on was uploaded later.
        let batches = Api::<ImageBatch>::namespaced(context.client.clone(), namespace);
        let batches = batches.list(&ListParams::default()).await.map_err(CollectError::ListBatches)?;
        let claimed: HashSet<&str> =
            batches.iter().filter_map(|batch| Some(batch.spec.source.upload.as_ref()?.key.as_str())).collect();
        for key in old.iter().filter(|key| !claimed.contains(key.as_str())) {
            let Some(name) = context.storage.keys().batch_of_upload(namespace, key) else { continue };
            if context.records.has_source(namespace, name, key).await? {
                continue;
            }
            context.storage.delete(key).await?;
            tracing::info!(key, batch.namespace = namespace, "removed an upload that no batch claims");
            removed += 1;
        }
    }
    Ok(removed)
}
