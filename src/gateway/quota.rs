//! How many rows a namespace may have in flight: those of its batches that have not ended, and of what is uploaded.
//!
//! The batches are those that this replica's watch knows, so the quota is soft: uploads that come at the same
//! moment, or at several replicas, may go past it together by as many rows as they have. It keeps one tenant from
//! piling up work; what is worked on at the same time is the queue's to bound.

use axum::http::HeaderValue;
use axum::http::header::RETRY_AFTER;

use super::cluster;
use super::error::{ApiError, Code};
use super::state::AppState;
use crate::api::image_batch::ImageBatch;

/// Seconds after which a client may try again: how fast batches end is not known.
pub(super) const RETRY_SECONDS: u64 = 30;

/// Refuses `rows` more rows than the namespace may have in flight. A repeat of a request that made the batch
/// `name` adds nothing.
pub(crate) async fn check(state: &AppState, namespace: &str, name: Option<&str>, rows: u64) -> Result<(), ApiError> {
    let limit = state.settings.rate.max_rows_in_flight;
    if limit == 0 {
        return Ok(());
    }
    let in_flight: u64 = state.cache.list(namespace).iter().map(|it| rows_of(&it.batch)).sum();
    if in_flight.saturating_add(rows) <= limit {
        return Ok(());
    }
    if let Some(name) = name
        && cluster::find(&state.client, namespace, name).await?.is_some()
    {
        return Ok(());
    }
    let detail = format!(
        "namespace {namespace:?} has {in_flight} rows in flight and may have {limit}: come back when some of its \
         batches have ended"
    );
    Err(ApiError::new(Code::TooManyRowsInFlight, detail)
        .with("rowsInFlight", in_flight)
        .with("maxRowsInFlight", limit)
        .header(RETRY_AFTER, HeaderValue::from(RETRY_SECONDS)))
}

/// Returns the rows of a batch: those that were read, or those that were uploaded. Until its source is read, a
/// batch that was made without the gateway has none.
fn rows_of(batch: &ImageBatch) -> u64 {
    let read = batch.status.as_ref().and_then(|it| it.rows);
    let uploaded = batch.spec.source.upload.as_ref().map(|it| it.rows);
    read.or(uploaded).and_then(|it| u64::try_from(it).ok()).unwrap_or_default()
}
