//! `GET /v1/batches/{id}/products`: row by row what was asked for and what became of it. The manifest says how
//! many shards there are, `products` what is in them, `outcomes` what is done; the rest is waiting.
//!
//! A page reads few shards, whatever is filtered: where it finds less than it may hold, the cursor goes on.

use std::collections::HashMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::auth::guard::Scope;
use super::batch::{self, Batch};
use super::error::{ApiError, Code};
use super::options::parse_query;
use super::options::value::{parse_exact, parse_integer};
use super::state::AppState;
use crate::manifest::outcome::{FailureReason, ImageOutcome, Outcome};
use crate::manifest::shard::Manifest;
use crate::records::ledger::{ExtraCell, OutcomeRecord, ProductRecord};
use crate::storage::Storage;

/// Rows of a page, where the request does not say.
const LIMIT: usize = 100;
/// Most rows of a page.
pub(crate) const MAX_LIMIT: i32 = 500;
/// Most reads of rows for one page.
const READS: usize = 20;
/// Longest time for the manifest.
const MANIFEST: Duration = Duration::from_secs(10);

/// Products, in the order of the CSV.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProductList {
    products: Vec<Product>,
    /// What `cursor` takes to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// A row of the CSV.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ProductRow")]
#[serde(rename_all = "camelCase")]
struct Product {
    /// Counted from 1.
    row: i64,
    serial_number: String,
    name: String,
    /// The other columns.
    extra: Vec<ExtraCell>,
    images: Vec<Image>,
}

/// Where an image is: what records say of it, and `Pending` while they say nothing.
#[derive(Serialize, JsonSchema, Clone, Copy, PartialEq)]
pub(crate) enum Progress {
    /// It waits, or is worked on.
    Pending,
    /// Compressed and stored.
    Compressed,
    /// Stored with its original bytes.
    KeptOriginal,
    /// Nothing is stored.
    Failed,
}

/// An image of a row, and what became of it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Image {
    /// Place in the row, counted from 1.
    position: usize,
    input_url: String,
    outcome: Progress,
    #[serde(flatten)]
    facts: Option<Facts>,
}

/// What is known of an image once it has an outcome.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Facts {
    #[serde(skip_serializing_if = "Option::is_none")]
    output_url: Option<String>,
    /// The stored image's path below `/images/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<FailureReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_status: Option<i32>,
    attempts: i32,
    bytes_in: i64,
    bytes_out: i64,
    /// The result's format.
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_quality: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<i32>,
    duration_ms: i64,
}

/// Where a page ends: the shard, and the row in it.
type Place = (u32, u64);

/// What the query asks for.
struct Asked {
    limit: usize,
    after: Place,
    outcome: Option<Progress>,
}

/// Answers `GET /v1/batches/{id}/products`.
pub(crate) async fn list(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let asked = Asked::parse(query.as_deref())?;
    let batch = batch::find_in(&state, &id, scope.namespace()).await?;
    let shards = count_shards(&state, &batch).await?;
    let (products, next) = read(&state, &batch.uid, shards, &asked).await?;
    let body = Json(ProductList { products, next_cursor: next.map(|(shard, row)| format!("{shard}.{row}")) });
    Ok(([(CACHE_CONTROL, HeaderValue::from_static("private, no-store"))], body).into_response())
}

impl Asked {
    fn parse(query: Option<&str>) -> Result<Self, ApiError> {
        let mut asked = Self { limit: LIMIT, after: (0, 0), outcome: None };
        parse_query(query, &["namespace", "limit", "cursor", "outcome"], |name, value| {
            match name {
                // Decided about already.
                "namespace" => {}
                "limit" => asked.limit = parse_integer(value, &(1..=MAX_LIMIT))? as usize,
                "cursor" => asked.after = parse_cursor(value).ok_or("is no cursor that a list gave")?,
                _ => {
                    let words = [
                        ("Pending", Progress::Pending),
                        ("Compressed", Progress::Compressed),
                        ("KeptOriginal", Progress::KeptOriginal),
                        ("Failed", Progress::Failed),
                    ];
                    asked.outcome = Some(parse_exact(value, &words)?);
                }
            }
            Ok(())
        })?;
        Ok(asked)
    }
}

/// Bounded as the records' integers are.
fn parse_cursor(cursor: &str) -> Option<Place> {
    let (shard, row) = cursor.split_once('.')?;
    let (shard, row) = (shard.parse::<i32>().ok()?, row.parse::<i64>().ok()?);
    Some((shard.try_into().ok()?, row.try_into().ok()?))
}

/// Returns how many shards a batch has; none until its source is read.
async fn count_shards(state: &AppState, batch: &Batch) -> Result<u32, ApiError> {
    let keys = state.storage.keys().batch_or_retry(&batch.namespace, &batch.uid, batch.status.retry.as_ref());
    let unavailable = || ApiError::new(Code::StorageUnavailable, "object storage could not be read; try again");
    let manifest = tokio::time::timeout(MANIFEST, state.storage.read(&keys.manifest())).await;
    let manifest = manifest.map_err(|it| unavailable().caused_by(it))?.map_err(|it| unavailable().caused_by(it))?;
    let Some(manifest) = manifest else { return Ok(0) };
    let manifest: Manifest = serde_json::from_slice(&manifest)
        .map_err(|error| ApiError::new(Code::Internal, "the batch's manifest cannot be read").caused_by(error))?;
    Ok(manifest.shards)
}

/// Returns the rows of a page, and where the next begins.
async fn read(
    state: &AppState,
    uid: &str,
    shards: u32,
    asked: &Asked,
) -> Result<(Vec<Product>, Option<Place>), ApiError> {
    let (mut products, (mut shard, mut after)) = (Vec::new(), asked.after);
    for _ in 0..READS {
        if shard >= shards {
            return Ok((products, None));
        }
        let found = batch::read_records(state.records.products_after(uid, shard, after, asked.limit)).await?;
        let (Some(first), Some(last)) = (found.first().map(|it| it.row), found.last().map(|it| it.row)) else {
            (shard, after) = (shard + 1, 0);
            continue;
        };
        let is_last = found.len() < asked.limit;
        let outcomes = batch::read_records(state.records.outcomes_of_rows(uid, shard, first..=last)).await?;
        let mut outcomes: HashMap<i64, OutcomeRecord> = outcomes.into_iter().map(|it| (it.row, it)).collect();
        for record in found {
            let row = record.row;
            let product = Product::of(&state.storage, record, outcomes.remove(&row));
            if asked.outcome.is_some_and(|wanted| product.images.iter().all(|it| it.outcome != wanted)) {
                continue;
            }
            products.push(product);
            if products.len() == asked.limit {
                let at_end = is_last && row == last && shard + 1 >= shards;
                return Ok((products, (!at_end).then_some((shard, row as u64))));
            }
        }
        (shard, after) = if is_last { (shard + 1, 0) } else { (shard, last as u64) };
    }
    Ok((products, (shard < shards).then_some((shard, after))))
}

impl Product {
    fn of(storage: &Storage, record: ProductRecord, outcome: Option<OutcomeRecord>) -> Self {
        let mut outcomes = outcome.map(|it| it.images).unwrap_or_default().into_iter();
        let images = record.input_urls.into_iter().zip(1..).map(|(input_url, position)| match outcomes.next() {
            Some(outcome) => {
                let progress = Progress::of(outcome.outcome);
                Image { position, input_url, outcome: progress, facts: Some(Facts::of(storage, outcome)) }
            }
            None => Image { position, input_url, outcome: Progress::Pending, facts: None },
        });
        let images = images.collect();
        let ProductRecord { row, serial_number, name, extra, .. } = record;
        Self { row, serial_number, name, extra, images }
    }
}

impl Progress {
    fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Compressed => Self::Compressed,
            Outcome::KeptOriginal => Self::KeptOriginal,
            Outcome::Failed => Self::Failed,
        }
    }
}

impl Facts {
    fn of(storage: &Storage, outcome: ImageOutcome) -> Self {
        Self {
            key: outcome.output_url.as_deref().and_then(|it| storage.key_of_url(it)).map(str::to_owned),
            output_url: outcome.output_url,
            reason: outcome.reason,
            message: outcome.message,
            http_status: outcome.http_status,
            attempts: outcome.attempts,
            bytes_in: outcome.bytes_in,
            bytes_out: outcome.bytes_out,
            format: outcome.format,
            width: outcome.width,
            height: outcome.height,
            source_quality: outcome.source_quality,
            quality: outcome.quality,
            duration_ms: outcome.duration_ms,
        }
    }
}
