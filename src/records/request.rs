//! One document a batch: where it came from, what ingest and report found, and the mirrored status.

use mongodb::bson::{Bson, DateTime, Document, doc, serialize_to_bson};
use serde::{Deserialize, Serialize};

use super::{RecordError, Records};
use crate::api::image_batch::{Compression, Failure, ImageBatch};
use crate::api::labels;
use crate::api::progress::Counts;
use crate::manifest::problem::Problem;

pub(super) const REQUESTS: &str = "requests";

/// Where a batch came from; written once.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// The ImageBatch's name, the request id.
    pub name: String,
    /// The ImageBatch's namespace.
    pub namespace: String,
    /// Who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The source's SHA-256, where it was uploaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_sha256: Option<String>,
    /// `spec.compression` as it was asked for.
    pub compression: Compression,
}

impl Origin {
    /// Returns where an ImageBatch came from.
    #[must_use]
    pub fn of(batch: &ImageBatch) -> Self {
        let upload = batch.spec.source.upload.as_ref();
        Self {
            name: batch.metadata.name.clone().unwrap_or_default(),
            namespace: batch.metadata.namespace.clone().unwrap_or_default(),
            owner: batch.metadata.annotations.as_ref().and_then(|it| it.get(labels::OWNER).cloned()),
            source_sha256: upload.map(|it| it.sha256.clone()),
            compression: batch.spec.compression.clone(),
        }
    }
}

/// What ingest found.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct IngestResult {
    /// Whether the source can be worked on.
    pub accepted: bool,
    /// Rows of the source.
    pub rows: i64,
    /// Images of the source.
    pub images: i64,
    /// Shards of the manifest.
    pub shards: i32,
    /// The first problems.
    pub problems: Vec<Problem>,
    /// How many problems there are.
    pub problem_count: i64,
}

/// What the report added up to: the batch's final figures.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ReportResult {
    /// Rows written.
    pub rows: i64,
    /// Counts of all images.
    pub counts: Counts,
    /// The first failures.
    pub failures: Vec<Failure>,
}

/// A batch's document.
#[derive(Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RequestRecord {
    /// The batch's uid.
    #[serde(rename = "_id")]
    pub id: String,
    /// Where it came from.
    #[serde(flatten)]
    pub origin: Option<Origin>,
    /// What ingest found.
    #[serde(default)]
    pub ingest: Option<IngestResult>,
    /// What the report added up to.
    #[serde(default)]
    pub report: Option<ReportResult>,
    /// The ImageBatch's status.
    #[serde(default)]
    pub status: Option<Document>,
}

impl Records {
    /// Creates the batch's document, or completes one that a stage made before.
    pub async fn upsert_origin(&self, uid: &str, origin: &Origin) -> Result<(), RecordError> {
        let origin = bson(origin, "record a request")?;
        let mut fields = origin.as_document().cloned().unwrap_or_default();
        fields.insert("createdAt", DateTime::now());
        self.upsert("record a request", uid, doc! { "$setOnInsert": fields }).await
    }

    /// Writes down what ingest found.
    pub async fn set_ingest(&self, uid: &str, result: &IngestResult) -> Result<(), RecordError> {
        let result = bson(result, "record ingest's result")?;
        self.upsert("record ingest's result", uid, doc! { "$set": { "ingest": result } }).await
    }

    /// Writes down what the report added up to.
    pub async fn set_report(&self, uid: &str, result: &ReportResult) -> Result<(), RecordError> {
        let result = bson(result, "record the report's result")?;
        self.upsert("record the report's result", uid, doc! { "$set": { "report": result } }).await
    }

    /// Mirrors the ImageBatch's status.
    pub async fn mirror_status(&self, uid: &str, status: &impl Serialize) -> Result<(), RecordError> {
        let status = bson(status, "mirror the status")?;
        self.upsert("mirror the status", uid, doc! { "$set": { "status": status } }).await
    }

    /// Returns a batch's document.
    pub async fn request(&self, uid: &str) -> Result<Option<RequestRecord>, RecordError> {
        let requests = self.collection::<RequestRecord>(REQUESTS);
        self.run("read a request", || async { requests.find_one(doc! { "_id": uid }).await }).await
    }

    /// Returns the youngest batch of that name, also when its ImageBatch is gone.
    pub async fn request_named(&self, namespace: &str, name: &str) -> Result<Option<RequestRecord>, RecordError> {
        let requests = self.collection::<RequestRecord>(REQUESTS);
        let filter = doc! { "namespace": namespace, "name": name };
        self.run("read a request", || async {
            requests.find_one(filter.clone()).sort(doc! { "createdAt": -1 }).await
        })
        .await
    }

    async fn upsert(&self, action: &'static str, uid: &str, update: Document) -> Result<(), RecordError> {
        let requests = self.collection::<Document>(REQUESTS);
        self.run(action, || async {
            requests.update_one(doc! { "_id": uid }, update.clone()).upsert(true).await.map(drop)
        })
        .await
    }
}

fn bson(value: &impl Serialize, action: &'static str) -> Result<Bson, RecordError> {
    serialize_to_bson(value).map_err(|source| RecordError::Command { action, source: source.into() })
}
