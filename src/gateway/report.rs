//! `GET /v1/batches/{id}/output.csv` and `failed.csv`: the reports, streamed from storage.

use axum::extract::{Path, RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::Response;

use super::batch::{self, Batch};
use super::error::{ApiError, Code};
use super::object;
use super::state::AppState;
use crate::api::condition::REPORT_READY;
use crate::storage::key::BatchKeys;

const CSV: HeaderValue = HeaderValue::from_static("text/csv; charset=utf-8");

/// Answers `GET /v1/batches/{id}/output.csv`.
pub(crate) async fn output_csv(
    State(state): State<AppState>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let batch = batch::find(&state, &id, query.as_deref()).await?;
    download(&state, &batch, BatchKeys::output_csv, "output", &method, &headers).await
}

/// Answers `GET /v1/batches/{id}/failed.csv`.
pub(crate) async fn failed_csv(
    State(state): State<AppState>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let batch = batch::find(&state, &id, query.as_deref()).await?;
    download(&state, &batch, BatchKeys::failed_csv, "failed", &method, &headers).await
}

async fn download(
    state: &AppState,
    batch: &Batch,
    key: fn(&BatchKeys) -> String,
    what: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    check_ready(batch)?;
    let key = key(&state.storage.keys().batch(&batch.namespace, &batch.uid));
    let Some(mut response) = object::respond(&state.storage, &key, method, headers).await? else {
        let detail = format!("the report of batch {:?} is not in storage any more", batch.name);
        return Err(ApiError::new(Code::NoReport, detail));
    };
    let name = format!("attachment; filename=\"{}-{what}.csv\"", batch.name);
    let disposition = HeaderValue::try_from(name)
        .map_err(|error| ApiError::new(Code::Internal, "the report has no file name").caused_by(error))?;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, CSV);
    headers.insert(CONTENT_DISPOSITION, disposition);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

/// Returns an error while there is no report, with what the batch does instead.
fn check_ready(batch: &Batch) -> Result<(), ApiError> {
    let (name, word) = (&batch.name, batch.state());
    match batch.status.condition(REPORT_READY) {
        Some(ready) if ready.status == "True" => Ok(()),
        Some(absent) if batch.status.is_finished() => {
            let detail = format!("batch {name:?} ended as {word} without a report: {}", absent.message);
            Err(ApiError::new(Code::NoReport, detail).with("batchStatus", word))
        }
        _ => {
            let detail = format!("batch {name:?} is {word}; the report comes at its end");
            Err(ApiError::new(Code::NotFinished, detail).with("batchStatus", word))
        }
    }
}
