//! `DELETE /v1/batches/{id}`: deletes the ImageBatch. Whether images, reports and records go with it is what its
//! `deletionPolicy` says; the controller carries that out. Repeats find it being deleted and change nothing.

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use super::auth::guard::Scope;
use super::error::ApiError;
use super::state::AppState;
use super::{batch, cluster, submit};
use crate::api::image_batch::DeletionPolicy;

/// What a client gets for a batch that goes.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Deleted {
    id: String,
    namespace: String,
    status: String,
    /// Whether images, reports and records go with it.
    deletion_policy: DeletionPolicy,
}

/// Answers `DELETE /v1/batches/{id}`.
pub(crate) async fn delete(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    batch::check_query(query.as_deref())?;
    let namespace = scope.namespace().to_owned();
    let found = batch::find_image_batch(&state, &namespace, &id).await?;
    submit::note_batch(&found);
    if found.metadata.deletion_timestamp.is_none() {
        cluster::delete(&state.client, &namespace, &id, found.metadata.uid.clone()).await?;
        tracing::info!("batch deleted");
    }
    let status = submit::state_of(&found).to_owned();
    let path = state.settings.batch_path(&namespace, &id, "");
    submit::accepted(&path, Deleted { id, namespace, status, deletion_policy: found.spec.deletion_policy })
}
