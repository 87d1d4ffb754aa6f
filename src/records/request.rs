//! One document a batch: where it came from, and the mirrored status.
//!
//! Inserted by the gateway or the controller, whoever is first; updated by the controller alone.

use futures::TryStreamExt;
use mongodb::bson::{DateTime, Document, deserialize_from_document, doc, serialize_to_document};
use serde::{Deserialize, Serialize};

use super::{RecordError, Records, is_duplicate};
use crate::api::compression::Compression;
use crate::api::condition::reason;
use crate::api::image_batch::ImageBatch;
use crate::api::labels;
use crate::api::status::ImageBatchStatus;

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
    /// The source's key in object storage, where it was uploaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_key: Option<String>,
    /// The batch's name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// `spec.compression` as it was asked for.
    pub compression: Compression,
    /// When the ImageBatch was created; read back as the record's own `created_at`.
    #[serde(skip)]
    pub created_at: Option<DateTime>,
}

impl Origin {
    /// Returns where an ImageBatch came from.
    #[must_use]
    pub fn of(batch: &ImageBatch) -> Self {
        let upload = batch.spec.source.upload.as_ref();
        let created = batch.metadata.creation_timestamp.as_ref();
        let annotation = |name: &str| batch.metadata.annotations.as_ref().and_then(|it| it.get(name).cloned());
        Self {
            name: batch.metadata.name.clone().unwrap_or_default(),
            namespace: batch.metadata.namespace.clone().unwrap_or_default(),
            owner: annotation(labels::OWNER),
            source_sha256: upload.map(|it| it.sha256.clone()),
            source_key: upload.map(|it| it.key.clone()),
            display_name: annotation(labels::DISPLAY_NAME),
            compression: batch.spec.compression.clone(),
            created_at: created.map(|it| DateTime::from_millis(it.0.as_millisecond())),
        }
    }
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
    /// When the batch was created, or recorded where that is not known.
    #[serde(default)]
    pub created_at: Option<DateTime>,
    /// The ImageBatch's status.
    #[serde(default)]
    pub status: Option<Document>,
}

impl RequestRecord {
    /// Returns the mirrored status; that of a batch without one is empty.
    pub fn read_status(&self) -> Result<ImageBatchStatus, RecordError> {
        let status = self.status.clone().map(deserialize_from_document).transpose();
        Ok(status.map_err(RecordError::deserialize)?.unwrap_or_default())
    }
}

impl Records {
    /// Records where a batch came from, unless that is recorded already.
    pub async fn insert_request(&self, uid: &str, origin: &Origin) -> Result<(), RecordError> {
        let mut fields = fields(origin)?;
        fields.insert("_id", uid);
        self.insert(REQUESTS, "record a request", &[fields]).await.map(drop)
    }

    /// Mirrors the ImageBatch's status; the controller is the only one that updates these documents.
    ///
    /// That of a batch that is complete stays, whoever comes late with an earlier one: nobody would repair it.
    pub async fn mirror_status(&self, uid: &str, origin: &Origin, status: &impl Serialize) -> Result<(), RecordError> {
        let status = serialize_to_document(status).map_err(RecordError::serialize)?;
        let complete = |is: bool| doc! { "_id": uid, "status.completionTime": { "$exists": is } };
        let filter = if status.contains_key("completionTime") {
            doc! { "_id": uid }
        } else {
            complete(false)
        };
        let update = doc! { "$set": { "status": status }, "$setOnInsert": fields(origin)? };
        let requests = self.collection::<Document>(REQUESTS);
        self.run("mirror the status", || async {
            match requests.update_one(filter.clone(), update.clone()).upsert(true).await {
                // It exists and did not match; or somebody inserted it just now, and the next try finds it.
                Err(error) if is_duplicate(&error) => requests.find_one(complete(true)).await?.map(drop).ok_or(error),
                updated => updated.map(drop),
            }
        })
        .await
    }

    /// Returns a batch's document.
    pub async fn request(&self, uid: &str) -> Result<Option<RequestRecord>, RecordError> {
        let requests = self.collection::<RequestRecord>(REQUESTS);
        self.run("read a request", || async { requests.find_one(doc! { "_id": uid }).await }).await
    }

    /// Returns whether a batch of that name was made from an upload; its ImageBatch may be gone.
    pub async fn has_source(&self, namespace: &str, name: &str, key: &str) -> Result<bool, RecordError> {
        let requests = self.collection::<Document>(REQUESTS);
        let filter = doc! { "namespace": namespace, "name": name, "sourceKey": key };
        let found = self.run("look for a source", || async { requests.find_one(filter.clone()).await }).await?;
        Ok(found.is_some())
    }

    /// Returns batches, the youngest first.
    pub async fn list_requests(&self, query: &RequestQuery) -> Result<Vec<RequestRecord>, RecordError> {
        let requests = self.collection::<RequestRecord>(REQUESTS);
        let (filter, limit) = (query.filter(), query.limit as i64);
        self.run("list requests", || async {
            let found = requests.find(filter.clone()).sort(doc! { "createdAt": -1, "_id": -1 }).limit(limit);
            found.await?.try_collect().await
        })
        .await
    }

    /// Returns the youngest batch of that name, also when its ImageBatch is gone.
    pub async fn request_named(&self, namespace: &str, name: &str) -> Result<Option<RequestRecord>, RecordError> {
        let requests = self.collection::<RequestRecord>(REQUESTS);
        let filter = doc! { "namespace": namespace, "name": name };
        self.run("read a request", || async { requests.find_one(filter.clone()).sort(doc! { "createdAt": -1 }).await })
            .await
    }
}

/// Which batches are listed.
#[derive(Debug, Clone, Default)]
pub struct RequestQuery {
    /// Their namespace.
    pub namespace: String,
    /// What name or display name begins with, whatever its case.
    pub name: Option<String>,
    /// The reasons that one of their conditions has; any where there is none. Servers that speak MongoDB's protocol
    /// cannot ask for the reason of one condition, so there may be others among them.
    pub states: Vec<String>,
    /// Whether they have ended.
    pub finished: Option<bool>,
    /// The earliest that they were created, in milliseconds.
    pub created_since: Option<i64>,
    /// Time of creation in milliseconds and uid of the one before the first.
    pub after: Option<(i64, String)>,
    /// How many at most.
    pub limit: usize,
}

impl RequestQuery {
    fn filter(&self) -> Document {
        let mut all = vec![doc! { "namespace": &self.namespace }];
        if let Some(name) = &self.name {
            let pattern = doc! { "$regex": format!("^{}", escape(name)), "$options": "i" };
            all.push(doc! { "$or": [{ "name": pattern.clone() }, { "displayName": pattern }] });
        }
        if !self.states.is_empty() {
            let mut any = vec![doc! { "status.conditions.reason": { "$in": &self.states } }];
            if self.states.iter().any(|it| it == reason::PENDING) {
                any.push(doc! { "status.conditions": { "$exists": false } });
            }
            all.push(doc! { "$or": any });
        }
        if let Some(finished) = self.finished {
            all.push(doc! { "status.completionTime": { "$exists": finished } });
        }
        if let Some(since) = self.created_since {
            all.push(doc! { "createdAt": { "$gte": DateTime::from_millis(since) } });
        }
        if let Some((created, uid)) = &self.after {
            let created = DateTime::from_millis(*created);
            let older = doc! { "createdAt": { "$lt": created } };
            all.push(doc! { "$or": [older, { "createdAt": created, "_id": { "$lt": uid } }] });
        }
        doc! { "$and": all }
    }
}

/// Returns a pattern that matches a text as it is.
fn escape(text: &str) -> String {
    let mut pattern = String::new();
    for character in text.chars() {
        if character.is_ascii_punctuation() {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

fn fields(origin: &Origin) -> Result<Document, RecordError> {
    let mut fields = serialize_to_document(origin).map_err(RecordError::serialize)?;
    fields.insert("createdAt", origin.created_at.unwrap_or_else(DateTime::now));
    Ok(fields)
}
