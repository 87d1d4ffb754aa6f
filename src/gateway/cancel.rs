//! `POST /v1/batches/{id}/cancel`: stops a batch; what is done is kept and reported. This only sets
//! `spec.cancel`; the controller ends the batch. Repeats find it set and change nothing.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::auth::guard::Scope;
use super::error::{ApiError, Code};
use super::state::AppState;
use super::{batch, cluster, submit};
use crate::api::image_batch::{Cancel, ImageBatch};
use crate::api::status::ImageBatchStatus;

/// Longest body.
const MAX_BODY: usize = 8 * 1024;
/// Longest time for it.
const BODY: Duration = Duration::from_secs(10);
/// Longest reason, in characters, as the CRD has it.
const MAX_REASON: usize = 256;
/// The reason where none is given.
const NO_REASON: &str = "asked for by way of the API";

/// Why a batch is stopped.
#[derive(Deserialize, JsonSchema, Default)]
#[schemars(rename = "CancelRequest")]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// A sentence for people.
    #[schemars(length(min = 1, max = 256))]
    reason: Option<String>,
}

/// What a client gets for a cancelled batch.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Cancelled {
    id: String,
    namespace: String,
    status: String,
    reason: String,
}

/// Answers `POST /v1/batches/{id}/cancel`.
pub(crate) async fn cancel(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response, ApiError> {
    batch::check_query(query.as_deref())?;
    let namespace = scope.namespace().to_owned();
    let reason = read_reason(body).await?;
    let found = batch::find_image_batch(&state, &namespace, &id).await?;
    let cancelled = if found.spec.cancel.is_some() {
        found
    } else {
        check(&found, &id)?;
        let cancelled = cluster::cancel(&state.client, &namespace, &id, &Cancel { reason }).await?;
        submit::note_batch(&cancelled);
        tracing::info!("batch cancelled");
        cancelled
    };
    let status = submit::state_of(&cancelled).to_owned();
    let reason = cancelled.spec.cancel.map(|it| it.reason).unwrap_or_default();
    let path = state.settings.batch_path(&namespace, &id, "");
    submit::accepted(&path, Cancelled { id, namespace, status, reason })
}

fn check(batch: &ImageBatch, name: &str) -> Result<(), ApiError> {
    if batch.metadata.deletion_timestamp.is_some() {
        return Err(ApiError::new(Code::BatchDeleting, format!("batch {name:?} is being deleted")));
    }
    if batch.status.as_ref().is_some_and(ImageBatchStatus::is_finished) {
        let word = submit::state_of(batch);
        let detail = format!("batch {name:?} has ended as {word}; nothing is left to cancel");
        return Err(ApiError::new(Code::AlreadyFinished, detail).with("batchStatus", word));
    }
    Ok(())
}

async fn read_reason(body: Body) -> Result<String, ApiError> {
    let body = tokio::time::timeout(BODY, to_bytes(body, MAX_BODY)).await.map_err(|elapsed| {
        let detail = format!("the body was not there after {} seconds", BODY.as_secs());
        ApiError::new(Code::BodyTooSlow, detail).caused_by(elapsed)
    })?;
    let body = body.map_err(|error| {
        let detail = format!("the body is larger than {MAX_BODY} bytes, or ended early");
        ApiError::new(Code::MalformedRequest, detail).caused_by(error)
    })?;
    let request: Request = if body.trim_ascii().is_empty() {
        Request::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| {
            ApiError::new(Code::MalformedRequest, format!("the body is no JSON object with a \"reason\": {error}"))
        })?
    };
    let Some(reason) = request.reason else { return Ok(NO_REASON.to_owned()) };
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > MAX_REASON || reason.chars().any(char::is_control) {
        let detail = format!("\"reason\" may have 1 to {MAX_REASON} characters, and no line breaks");
        return Err(ApiError::new(Code::InvalidParameter, detail));
    }
    Ok(reason.to_owned())
}
