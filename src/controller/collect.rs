//! Removes uploads that no batch claims: a gateway that was killed between storing a CSV and creating
//! its ImageBatch leaves one behind.
//!
//! This is the only deletion that rests on something not being found, so it is careful: an upload is
//! left alone for a grace period that is far longer than a request takes, and it goes only when the API
//! server, asked after the upload was seen, has no ImageBatch with its key (nor one of its name that cannot be
//! read), and the records have no batch of its name that was made from it (its ImageBatch may have been deleted
//! and its data kept).

use std::collections::HashSet;
use std::time::Duration;

use super::context::Context;
use super::error::CollectError;
use super::list;

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
        let (mut claimed, mut unreadable) = (HashSet::new(), HashSet::new());
        let batches = list::for_each(&context.client, namespace, |batch| match &batch.0 {
            Ok(batch) => claimed.extend(batch.spec.source.upload.as_ref().map(|it| it.key.clone())),
            Err(invalid) => unreadable.extend(invalid.metadata.name.clone()),
        });
        batches.await.map_err(CollectError::ListBatches)?;
        for key in old.iter().filter(|key| !claimed.contains(*key)) {
            let Some(name) = context.storage.keys().batch_of_upload(namespace, key) else { continue };
            if unreadable.contains(name) || context.records.has_source(namespace, name, key).await? {
                continue;
            }
            context.storage.delete(key).await?;
            tracing::info!(key, batch.namespace = namespace, "removed an upload that no batch claims");
            removed += 1;
        }
    }
    Ok(removed)
}
