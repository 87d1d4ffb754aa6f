//! `/v1/batches/{id}/deliveries`: what was told to the batch's webhook, attempt by attempt; `redeliver` and
//! `test` below it ask for one more call. The gateway must not read the secrets that sign: it inserts what is
//! to be sent, and the controller sends it.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use mongodb::bson::DateTime;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::auth::guard::Scope;
use super::error::{ApiError, Code};
use super::state::AppState;
use super::{batch, submit};
use crate::records::delivery::{Attempt, Delivery, DeliveryKind, DeliveryState, endpoint_of};

/// Calls by hand for one batch within an hour.
const MAX_AN_HOUR: usize = 10;
/// Calls by hand for one batch, which the log keeps.
const MAX_IN_ALL: usize = 100;
/// In milliseconds.
const HOUR: i64 = 3_600_000;

#[derive(Serialize, JsonSchema)]
pub(crate) struct DeliveryLog {
    deliveries: Vec<Entry>,
}

/// A delivery as clients see it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Delivery")]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    id: String,
    webhook_id: String,
    kind: DeliveryKind,
    url: String,
    state: DeliveryState,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt: Option<String>,
    attempts: Vec<Tried>,
    payload: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeliveryAttempt")]
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
    scope: Scope,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let batch = batch::find(&state, &scope, &id, query.as_deref()).await?;
    let deliveries = batch::read_records(state.records.deliveries(&batch.uid)).await?;
    let body = Json(DeliveryLog { deliveries: deliveries.into_iter().map(Entry::from).collect() });
    Ok(([(CACHE_CONTROL, HeaderValue::from_static("no-store"))], body).into_response())
}

/// Answers `POST /v1/batches/{id}/deliveries/redeliver`: the batch's event once more, under the same id.
pub(crate) async fn redeliver(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let batch = batch::find(&state, &scope, &id, query.as_deref()).await?;
    let earlier = batch::read_records(state.records.deliveries(&batch.uid)).await?;
    let Some(event) = earlier.iter().find(|it| it.kind == DeliveryKind::Event) else {
        let detail = format!("batch {id:?} has no webhook, or has not ended yet: there is no event to send again");
        return Err(ApiError::new(Code::NoWebhook, detail));
    };
    let delivery = Delivery { event: Some(event.id.clone()), kind: DeliveryKind::Redelivery, ..event.clone() };
    request(&state, delivery, &earlier).await
}

/// Answers `POST /v1/batches/{id}/deliveries/test`: an event of the type `imagebatch.test`.
pub(crate) async fn test(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    batch::check_query(query.as_deref())?;
    let namespace = scope.namespace().to_owned();
    let batch = batch::find_image_batch(&state, &namespace, &id).await?;
    let Some(webhook) = batch.spec.webhook else {
        return Err(ApiError::new(Code::NoWebhook, format!("batch {id:?} has no webhook")));
    };
    let uid = batch.metadata.uid.unwrap_or_default();
    let earlier = batch::read_records(state.records.deliveries(&uid)).await?;
    let data = json!({ "id": id, "namespace": namespace });
    let payload = json!({ "type": "imagebatch.test", "timestamp": time(DateTime::now()), "data": data });
    let delivery = Delivery {
        id: format!("msg_{uid}"),
        event: None,
        kind: DeliveryKind::Test,
        batch: uid,
        name: id,
        namespace,
        endpoint: endpoint_of(&webhook.url),
        url: webhook.url,
        secret_ref: webhook.secret_ref,
        payload: payload.to_string(),
        state: DeliveryState::Pending,
        next_attempt: DateTime::now(),
        attempts: Vec::new(),
        untold: false,
    };
    request(&state, delivery, &earlier).await
}

/// Records what the controller is to send. Its id is that of the batch's event and a number, so requests that
/// come at the same time are one, and the bound holds however many there are.
async fn request(state: &AppState, delivery: Delivery, earlier: &[Delivery]) -> Result<Response, ApiError> {
    let now = DateTime::now();
    let asked: Vec<&Delivery> = earlier.iter().filter(|it| it.kind != DeliveryKind::Event).collect();
    let id = format!("msg_{}_{}", delivery.batch, asked.len() + 1);
    // What somebody asked for has no further attempts, so this stays the time of the request.
    let age = |it: &Delivery| now.timestamp_millis() - it.next_attempt.timestamp_millis();
    let recent: Vec<i64> = asked.into_iter().map(age).filter(|age| *age < HOUR).collect();
    let too_many = |detail: String| ApiError::new(Code::TooManyDeliveries, detail);
    if earlier.len() > MAX_IN_ALL {
        return Err(too_many(format!("a batch's webhook is called by hand {MAX_IN_ALL} times at most")));
    }
    if recent.len() >= MAX_AN_HOUR {
        let wait = HOUR - recent.into_iter().max().unwrap_or_default();
        let error = too_many(format!("a batch's webhook is called by hand {MAX_AN_HOUR} times an hour at most"));
        return Err(error.header(RETRY_AFTER, HeaderValue::from(wait / 1_000 + 1)));
    }
    let fresh = Delivery { state: DeliveryState::Pending, next_attempt: now, attempts: Vec::new(), ..delivery };
    let delivery = Delivery { id, untold: false, ..fresh };
    batch::read_records(state.records.insert_delivery(&delivery)).await?;
    let recorded = batch::read_records(state.records.delivery(&delivery.id)).await?;
    let Some(recorded) = recorded.filter(|it| it.kind == delivery.kind) else {
        return Err(too_many("another request came first; try again".to_owned()));
    };
    let path = state.settings.batch_path(&recorded.namespace, &recorded.name, "/deliveries");
    submit::accepted(&path, Entry::from(recorded))
}

impl From<Delivery> for Entry {
    fn from(delivery: Delivery) -> Self {
        let webhook_id = delivery.event_id().to_owned();
        let Delivery { id, kind, url, state, next_attempt, attempts, payload, .. } = delivery;
        Self {
            id,
            webhook_id,
            kind,
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
