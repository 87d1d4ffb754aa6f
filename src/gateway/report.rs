//! `GET /v1/batches/{id}/output.csv` and `failed.csv`: the reports, streamed from storage. They are
//! stored as spreadsheets may open them; `?raw=true` undoes the escaping for machines.

use axum::extract::{Path, RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::Response;

use super::auth::guard::Scope;
use super::batch::{self, Batch};
use super::error::{ApiError, Code};
use super::options::parse_query;
use super::options::value::parse_word;
use super::state::AppState;
use super::{object, raw};
use crate::api::condition::REPORT_READY;
use crate::storage::key::BatchKeys;

const CSV: HeaderValue = HeaderValue::from_static("text/csv; charset=utf-8");

/// Answers `GET /v1/batches/{id}/output.csv`.
pub(crate) async fn output_csv(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::parse(query.as_deref())?;
    let batch = batch::find_in(&state, &id, scope.namespace()).await?;
    download(&state, &batch, BatchKeys::output_csv, "output", asked.raw, &method, &headers).await
}

/// Answers `GET /v1/batches/{id}/failed.csv`.
pub(crate) async fn failed_csv(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::parse(query.as_deref())?;
    let batch = batch::find_in(&state, &id, scope.namespace()).await?;
    download(&state, &batch, BatchKeys::failed_csv, "failed", asked.raw, &method, &headers).await
}

/// What a download's query asks for.
#[derive(Default)]
struct Asked {
    /// Without the apostrophes that keep spreadsheets from running cells as formulas.
    raw: bool,
}

impl Asked {
    fn parse(query: Option<&str>) -> Result<Self, ApiError> {
        let mut asked = Self::default();
        parse_query(query, &["namespace", "raw"], |name, value| {
            // The namespace is decided about already.
            if name == "raw" {
                asked.raw = parse_word(value, &[("true", true), ("false", false)])?;
            }
            Ok(())
        })?;
        Ok(asked)
    }
}

async fn download(
    state: &AppState,
    batch: &Batch,
    key: fn(&BatchKeys) -> String,
    what: &str,
    raw: bool,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    check_ready(batch)?;
    let keys = state.storage.keys().batch_or_retry(&batch.namespace, &batch.uid, batch.status.retry.as_ref());
    let key = key(&keys);
    let response = if raw {
        raw::respond(&state.storage, &key, method).await?
    } else {
        object::respond(&state.storage, &key, method, headers).await?
    };
    let Some(mut response) = response else {
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
