//! `GET /v1/batches/{id}/deliveries`: what was told to the batch's webhook, attempt by attempt.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use mongodb::bson::DateTime;
use serde::Serialize;

use super::batch;
use super::error::ApiError;
use super::state::AppState;
use crate::records::delivery::{Attempt, Delivery, DeliveryState};

#[derive(Serialize)]
struct DeliveryLog {
    deliveries: Vec<Entry>,
}

/// A delivery as clients see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    id: String,
    url: String,
    state: DeliveryState,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt: Option<String>,
    attempts: Vec<Tried>,
    payload: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tried {
    at: String,
    duration_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Answers `GET /v1/batches/{id}/deliveries`.
pub(crate) async fn list(
    State(state): State<AppState>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let batch = batch::find(&state, &id, query.as_deref()).await?;
    let deliveries = batch::read_records(state.records.deliveries(&batch.uid)).await?;
    let body = Json(DeliveryLog { deliveries: deliveries.into_iter().map(Entry::from).collect() });
    Ok(([(CACHE_CONTROL, HeaderValue::from_static("no-store"))], body).into_response())
}

impl From<Delivery> for Entry {
    fn from(delivery: Delivery) -> Self {
        let Delivery { id, url, state, next_attempt, attempts, payload, .. } = delivery;
        Self {
            id,
            url,
            state,
            next_attempt: (state == DeliveryState::Pending).then(|| time(next_attempt)),
            attempts: attempts.into_iter().map(Tried::from).collect(),
            payload,
        }
    }
}

impl From<Attempt> for Tried {
    fn from(Attempt { at, duration_ms, status, error }: Attempt) -> Self {
        Self { at: time(at), duration_ms, status, error }
    }
}

fn time(time: DateTime) -> String {
    time.try_to_rfc3339_string().unwrap_or_default()
}
