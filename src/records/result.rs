//! What the stages of a batch found: one document a stage, inserted once by the stage's pod.
//!
//! Documents of their own, since a document has one writer: servers that speak MongoDB's protocol may
//! lose one of two updates of the same document (FerretDB 1.24 does, measured).

use std::collections::HashMap;

use futures::TryStreamExt;
use mongodb::bson::doc;
use serde::{Deserialize, Serialize};

use super::{RecordError, Records};
use crate::api::progress::Counts;
use crate::api::stage::UnprocessedCause;
use crate::api::status::Failure;
use crate::manifest::problem::Problem;

pub(super) const RESULTS: &str = "results";

/// What ingest found.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct IngestResult {
    /// Whether the source can be worked on.
    pub accepted: bool,
    /// Rows of the source, the skipped ones included.
    pub rows: i64,
    /// Rows that have a problem and were skipped.
    #[serde(default)]
    pub skipped: i64,
    /// Images of the source.
    pub images: i64,
    /// Parts of the work, one for each index of the compress Job.
    pub shards: i32,
    /// Of the images, those whose result an earlier batch has stored; only a retry has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused: Option<i64>,
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
    /// Of the failed images, those that were never processed; older releases did not count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unprocessed: Option<Unprocessed>,
}

/// The images of a batch that were never processed.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Unprocessed {
    /// How many they are.
    pub images: i64,
    /// Why.
    pub cause: UnprocessedCause,
}

/// What the stages of a batch have found so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Results {
    /// Ingest's result.
    pub ingest: Option<IngestResult>,
    /// The report's.
    pub report: Option<ReportResult>,
}

#[derive(Serialize, Deserialize)]
struct ResultRecord {
    #[serde(rename = "_id")]
    id: String,
    batch: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ingest: Option<IngestResult>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    report: Option<ReportResult>,
}

impl Records {
    /// Records what ingest found; a stage that runs again finds the same.
    pub async fn insert_ingest(&self, batch: &str, result: &IngestResult) -> Result<(), RecordError> {
        let id = format!("{batch}:ingest");
        let record = ResultRecord { id, batch: batch.to_owned(), ingest: Some(result.clone()), report: None };
        self.insert(RESULTS, "record ingest's result", &[record]).await.map(drop)
    }

    /// Records what the report added up to.
    pub async fn insert_report(&self, batch: &str, result: &ReportResult) -> Result<(), RecordError> {
        let id = format!("{batch}:report");
        let record = ResultRecord { id, batch: batch.to_owned(), ingest: None, report: Some(result.clone()) };
        self.insert(RESULTS, "record the report's result", &[record]).await.map(drop)
    }

    /// Returns what the batch's stages have found so far.
    pub async fn results(&self, batch: &str) -> Result<Results, RecordError> {
        let collection = self.collection::<ResultRecord>(RESULTS);
        let records: Vec<ResultRecord> = self
            .run("read results", || async { collection.find(doc! { "batch": batch }).await?.try_collect().await })
            .await?;
        let mut results = Results::default();
        for record in records {
            results.ingest = results.ingest.or(record.ingest);
            results.report = results.report.or(record.report);
        }
        Ok(results)
    }

    /// Returns what ingest found in each of these batches, by batch; none where it has not ended.
    pub async fn ingests_of(&self, batches: &[String]) -> Result<HashMap<String, IngestResult>, RecordError> {
        if batches.is_empty() {
            return Ok(HashMap::new());
        }
        let collection = self.collection::<ResultRecord>(RESULTS);
        let filter = doc! { "batch": { "$in": batches } };
        let records: Vec<ResultRecord> = self
            .run("read ingest's results", || async { collection.find(filter.clone()).await?.try_collect().await })
            .await?;
        Ok(records.into_iter().filter_map(|it| Some((it.batch, it.ingest?))).collect())
    }
}
