//! `POST /v1/batches`: upload -> ImageBatch -> record -> 202.
//!
//! The work is a task of its own, so that a client that goes away does not leave it half done: it
//! ends with a batch, or with nothing.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument;

use super::error::{ApiError, Code, chain};
use super::options::{EffectiveOptions, SubmitOptions};
use super::state::AppState;
use super::{body, cluster, upload};
use crate::api::condition::reason;
use crate::api::image_batch::{ImageBatch, Upload};
use crate::records::request::Origin;

/// How long an answer waits for MongoDB; the controller completes the record where it is late.
const RECORD: Duration = Duration::from_secs(3);

/// What a client gets for an accepted upload.
#[derive(Serialize)]
struct Accepted {
    id: String,
    namespace: String,
    status: &'static str,
    rows: i64,
    images: i64,
    options: EffectiveOptions,
}

/// Answers `POST /v1/batches`.
pub(crate) async fn submit(State(state): State<AppState>, request: Request) -> Result<Response, ApiError> {
    let (options, namespace, permit) = match admit(&state, request.uri().query()) {
        Ok(admitted) => admitted,
        Err(error) => {
            body::refuse(request).await;
            return Err(error);
        }
    };
    let body = body::open(request, state.settings.max_upload_bytes, state.ending.clone()).await?;

    let submissions = state.submissions.clone();
    let work = async move {
        let accepted = accept(&state, namespace, options, body).await?;
        drop(permit);
        let path = state.settings.batch_path(&accepted.namespace, &accepted.id, "");
        let location = HeaderValue::try_from(path).map_err(|error| internal("no path").caused_by(error))?;
        Ok((StatusCode::ACCEPTED, [(LOCATION, location)], Json(accepted)).into_response())
    };
    submissions
        .spawn(work.in_current_span())
        .await
        .map_err(|error| internal("the upload broke off").caused_by(error))?
}

/// Returns what an upload asks for, where it asks for it, and its place among those that run.
fn admit(state: &AppState, query: Option<&str>) -> Result<(SubmitOptions, String, OwnedSemaphorePermit), ApiError> {
    let options = SubmitOptions::parse(query)?;
    let namespace = state.settings.resolve_namespace(options.namespace.as_deref())?;
    let permit = state.uploads.clone().try_acquire_owned().map_err(|_| {
        let limit = state.settings.max_concurrent_uploads;
        ApiError::new(Code::TooManyUploads, format!("{limit} uploads are running, as many as allowed; try again"))
    })?;
    Ok((options, namespace, permit))
}

async fn accept(
    state: &AppState,
    namespace: String,
    options: SubmitOptions,
    body: body::CsvStream,
) -> Result<Accepted, ApiError> {
    let id = uuid::Uuid::now_v7().to_string();
    let key = state.storage.keys().upload(&namespace, &id);
    let stored = upload::store(&state.storage, &key, state.settings.limits, body).await?;
    let (rows, images) = (stored.rows, stored.images);
    let batch = match create(state, &namespace, &id, options, stored).await {
        Ok(batch) => batch,
        Err(error) => {
            upload::delete(&state.storage, &key).await;
            return Err(error);
        }
    };
    record(state, &batch).await;
    tracing::info!(batch.name = id, batch.namespace = namespace, rows, images, "batch accepted");
    Ok(Accepted { id, namespace, status: reason::PENDING, rows, images, options: EffectiveOptions::of(&batch.spec) })
}

async fn create(
    state: &AppState,
    namespace: &str,
    id: &str,
    options: SubmitOptions,
    upload: Upload,
) -> Result<ImageBatch, ApiError> {
    let spec = options.spec(upload).map_err(|error| internal("the options make no batch").caused_by(error))?;
    let mut batch = ImageBatch::new(id, spec);
    batch.metadata.namespace = Some(namespace.to_owned());
    Ok(cluster::create(&state.client, namespace, &batch).await?)
}

/// Records the request. The batch exists already, so this cannot fail it: the controller writes the
/// same record when it first sees the batch.
async fn record(state: &AppState, batch: &ImageBatch) {
    let uid = batch.metadata.uid.as_deref().unwrap_or_default();
    let origin = Origin::of(batch);
    match tokio::time::timeout(RECORD, state.records.insert_request(uid, &origin)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            let error = chain(&error);
            tracing::warn!(batch.name = origin.name, error, "failed to record a request; the controller will");
        }
        Err(_) => tracing::warn!(batch.name = origin.name, "failed to record a request in time; the controller will"),
    }
}

fn internal(detail: &str) -> ApiError {
    ApiError::new(Code::Internal, detail)
}
