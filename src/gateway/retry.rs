//! `POST /v1/batches/{id}/retry`: a new batch with the old one's options that fetches its failed images again.
//!
//! Without an `Idempotency-Key` the new batch's name is derived from the old one, so the API server is the
//! lock: repeats find the retry while it runs. What failed again is retried by retrying the retry.

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use kube::ResourceExt;
use schemars::JsonSchema;
use serde::Serialize;

use super::auth::guard::Scope;
use super::error::{ApiError, Code};
use super::options::EffectiveOptions;
use super::request::RequestId;
use super::state::AppState;
use super::{batch, idempotency, quota, submit};
use crate::api::image_batch::{ImageBatch, ImageBatchSpec};
use crate::api::labels;
use crate::api::source::{FailedOf, Source, Validation};
use crate::api::status::ImageBatchStatus;

/// What a client gets for a retry.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RetryAccepted")]
#[serde(rename_all = "camelCase")]
pub(crate) struct Accepted {
    id: String,
    namespace: String,
    status: String,
    retry_of: String,
    rows: Option<i64>,
    images: Option<i64>,
    retried_images: i64,
    options: EffectiveOptions,
}

/// Answers `POST /v1/batches/{id}/retry`.
pub(crate) async fn retry(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    batch::check_query(query.as_deref())?;
    let namespace = scope.namespace().to_owned();
    let key = idempotency::batch_name(&headers, &namespace, scope.user())?;
    let earlier = batch::find_image_batch(&state, &namespace, &id).await?;
    let status = earlier.status.clone().unwrap_or_default();
    let images = check(&earlier, &status)?;

    let uid = earlier.uid().unwrap_or_default();
    let name = key.clone().unwrap_or_else(|| idempotency::retry_name(&uid));
    // The retry will have all rows: its report has them.
    let rows = status.rows.and_then(|it| u64::try_from(it).ok()).unwrap_or_default();
    quota::check(&state, &namespace, Some(&name), rows).await?;
    let display_name = earlier.annotations().get(labels::DISPLAY_NAME).cloned();
    let source = Source { failed_of: Some(FailedOf { name: id.clone() }), ..Source::default() };
    // What held or stopped the old batch is not what was asked for.
    let spec =
        ImageBatchSpec { source, validation: Validation::default(), suspend: false, cancel: None, ..earlier.spec };
    let retry = submit::image_batch(&namespace, &name, display_name.clone(), &request_id, spec);
    let retry = submit::create(&state, retry, Some(idempotency::retry_fingerprint(&uid))).await?;
    if key.is_none() && retry.status.as_ref().is_some_and(ImageBatchStatus::is_finished) {
        let detail =
            format!("batch {id:?} was retried as {name:?}, which ended: retry that one, or give an Idempotency-Key");
        return Err(ApiError::new(Code::AlreadyRetried, detail).with("retriedBy", name));
    }
    submit::record(&state, &retry).await;
    tracing::info!(retry_of = id, images, "retry accepted");
    let path = state.settings.batch_path(&namespace, &name, "");
    let body = Accepted {
        status: submit::state_of(&retry).to_owned(),
        options: EffectiveOptions::of(&retry.spec, display_name),
        id: name,
        namespace,
        retry_of: id,
        rows: status.rows,
        images: status.images,
        retried_images: images,
    };
    submit::accepted(&path, body)
}

/// Returns how many images would be fetched again; an error says why the batch cannot be retried.
fn check(earlier: &ImageBatch, status: &ImageBatchStatus) -> Result<i64, ApiError> {
    let name = earlier.name_any();
    if earlier.metadata.deletion_timestamp.is_some() {
        return Err(ApiError::new(Code::BatchDeleting, format!("batch {name:?} is being deleted")));
    }
    let word = submit::state_of(earlier);
    if !status.is_finished() {
        let detail = format!("batch {name:?} is {word}; what failed is known at its end");
        return Err(ApiError::new(Code::NotFinished, detail).with("batchStatus", word));
    }
    status.images_to_retry().map_err(|problem| {
        let detail = format!("batch {name:?} cannot be retried: {problem}");
        ApiError::new(Code::NothingToRetry, detail).with("batchStatus", word)
    })
}
