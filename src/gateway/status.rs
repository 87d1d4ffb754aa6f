//! `GET /v1/batches/{id}`: what became of a batch so far.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde::Serialize;

use super::auth::guard::Scope;
use super::batch::{self, Batch};
use super::error::ApiError;
use super::state::{AppState, Settings};
use crate::api::condition::REPORT_READY;
use crate::api::status::Failure;

/// A batch as clients see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchStatus {
    id: String,
    namespace: String,
    status: String,
    finished: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<i64>,
    succeeded: i64,
    failed: i64,
    kept_original: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reused: Option<i64>,
    active: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    saved: Option<String>,
    bytes_in: i64,
    bytes_out: i64,
    bytes_saved: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    images_per_minute: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_completion_time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_of: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    retried_by: Vec<String>,
    conditions: Vec<Condition>,
    failures: Vec<Failure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<Links>,
}

/// Where the reports are, once they are there.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Links {
    output_csv: String,
    failed_csv: String,
}

/// Answers `GET /v1/batches/{id}`.
pub(crate) async fn show(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let batch = batch::find(&state, &scope, &id, query.as_deref()).await?;
    let body = Json(BatchStatus::of(&state.settings, batch));
    Ok(([(CACHE_CONTROL, HeaderValue::from_static("no-store"))], body).into_response())
}

impl BatchStatus {
    fn of(settings: &Settings, batch: Batch) -> Self {
        let ready = batch.status.condition(REPORT_READY).is_some_and(|it| it.status == "True");
        let path = |below: &str| settings.batch_path(&batch.namespace, &batch.name, below);
        let links = ready.then(|| Links { output_csv: path("/output.csv"), failed_csv: path("/failed.csv") });
        let word = batch.state().to_owned();
        let Batch { name, namespace, status, retry_of, .. } = batch;
        Self {
            id: name,
            namespace,
            status: word,
            finished: status.is_finished(),
            rows: status.rows,
            images: status.images,
            succeeded: status.succeeded,
            failed: status.failed,
            kept_original: status.kept_original,
            reused: status.reused,
            active: status.active,
            percent: status.percent,
            saved: status.saved,
            bytes_in: status.bytes_in,
            bytes_out: status.bytes_out,
            bytes_saved: status.bytes_saved,
            images_per_minute: status.images_per_minute,
            estimated_completion_time: status.estimated_completion_time,
            start_time: status.start_time,
            completion_time: status.completion_time,
            retry_of,
            retried_by: status.retried_by,
            conditions: status.conditions,
            failures: status.failures,
            links,
        }
    }
}
