//! Finds a batch: in the cache while it runs, in the API server while its ImageBatch exists, in the records
//! afterwards.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use super::auth::guard::Scope;
use super::cluster;
use super::error::{ApiError, Code};
use super::options::parse_query;
use super::state::AppState;
use crate::api::condition::{SUCCEEDED, reason};
use crate::api::image_batch::ImageBatch;
use crate::api::labels;
use crate::api::status::ImageBatchStatus;
use crate::records::RecordError;
use crate::records::request::RequestRecord;

/// How long an answer waits for MongoDB.
const RECORDS: Duration = Duration::from_secs(5);

/// What is known of a batch, wherever it was found.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) uid: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) status: ImageBatchStatus,
    /// Name of the batch whose failed images this one fetches again.
    pub(crate) retry_of: Option<String>,
    /// Its name for people.
    pub(crate) display_name: Option<String>,
    /// When its ImageBatch was created.
    pub(crate) created: Option<Timestamp>,
}

impl Batch {
    /// Returns the word for the batch's state.
    pub(crate) fn state(&self) -> &str {
        self.status.condition(SUCCEEDED).map_or(reason::PENDING, |it| it.reason.as_str())
    }

    /// Returns what an ImageBatch says.
    pub(crate) fn from_cluster(batch: &ImageBatch) -> Self {
        let mut status = batch.status.clone().unwrap_or_default();
        // The validator has counted an upload before the controller sees the batch.
        if let Some(upload) = &batch.spec.source.upload {
            status.rows.get_or_insert(upload.rows);
            status.images.get_or_insert(upload.images);
        }
        let metadata = &batch.metadata;
        Self {
            retry_of: batch.spec.source.failed_of.as_ref().map(|it| it.name.clone()),
            uid: metadata.uid.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            namespace: metadata.namespace.clone().unwrap_or_default(),
            display_name: batch.annotations().get(labels::DISPLAY_NAME).cloned(),
            created: metadata.creation_timestamp.as_ref().map(|it| it.0),
            status,
        }
    }

    /// Returns what a record says.
    pub(crate) fn from_record(record: RequestRecord, namespace: String) -> Result<Self, ApiError> {
        let status = record.read_status().map_err(|error| {
            ApiError::new(Code::Internal, "the record of the batch cannot be understood").caused_by(error)
        })?;
        let retry_of = status.retry.as_ref().map(|it| it.of.clone());
        let created = record.created_at.and_then(|it| Timestamp::from_millisecond(it.timestamp_millis()).ok());
        let (name, display_name) = record.origin.map(|it| (it.name, it.display_name)).unwrap_or_default();
        Ok(Self { uid: record.id, name, namespace, status, retry_of, display_name, created })
    }
}

/// Returns the batch of that name for a request that takes a namespace alone.
pub(crate) async fn find(state: &AppState, scope: &Scope, name: &str, query: Option<&str>) -> Result<Batch, ApiError> {
    check_query(query)?;
    find_in(state, name, scope.namespace()).await
}

/// Checks the query of a request that takes a namespace alone, which is decided about already.
pub(crate) fn check_query(query: Option<&str>) -> Result<(), ApiError> {
    parse_query(query, &["namespace"], |_, _| Ok(()))
}

/// Returns the batch of that name in a namespace, as the API server or the records have it now.
pub(crate) async fn find_in(state: &AppState, name: &str, namespace: &str) -> Result<Batch, ApiError> {
    if !is_batch_name(name) {
        return Err(missing(namespace, name));
    }
    if let Some(batch) = cluster::find(&state.client, namespace, name).await? {
        return Ok(Batch::from_cluster(&batch));
    }
    let record = read_records(state.records.request_named(namespace, name)).await?;
    Batch::from_record(record.ok_or_else(|| missing(namespace, name))?, namespace.to_owned())
}

/// Returns what those are told who ask for a batch that is not there.
pub(crate) fn missing(namespace: &str, name: &str) -> ApiError {
    ApiError::new(Code::BatchNotFound, format!("namespace {namespace:?} has no batch {name:?}"))
}

/// Waits for something from the records, as long as a client may be kept waiting.
pub(crate) async fn read_records<T>(read: impl Future<Output = Result<T, RecordError>>) -> Result<T, ApiError> {
    let unavailable = || ApiError::new(Code::RecordsUnavailable, "the records could not be read; try again");
    tokio::time::timeout(RECORDS, read)
        .await
        .map_err(|elapsed| unavailable().caused_by(elapsed))?
        .map_err(|error| unavailable().caused_by(error))
}

/// Returns the ImageBatch of that name in a namespace; a batch whose ImageBatch is gone is only remembered.
pub(crate) async fn find_image_batch(state: &AppState, namespace: &str, name: &str) -> Result<ImageBatch, ApiError> {
    if is_batch_name(name)
        && let Some(batch) = cluster::find(&state.client, namespace, name).await?
    {
        return Ok(batch);
    }
    find_in(state, name, namespace).await?;
    let detail = format!("the ImageBatch of batch {name:?} is deleted, and with it what was asked for");
    Err(ApiError::new(Code::BatchNotFound, detail))
}

/// Returns whether an ImageBatch can have this name: a DNS label of at most 40 characters.
pub(crate) fn is_batch_name(name: &str) -> bool {
    let inner = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    (1..=40).contains(&name.len()) && name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}
