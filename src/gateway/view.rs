//! A batch as clients see it: in full, and as a line of a list.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::Serialize;

use super::batch::Batch;
use super::state::Settings;
use crate::api::condition::REPORT_READY;
use crate::api::status::Failure;

/// A batch.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Batch")]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchView {
    /// The request id, which is the ImageBatch's name.
    id: String,
    namespace: String,
    /// Its name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    /// One word: Pending, Queued, Ingesting, Running, Reporting, Completed, `ImagesFailed`, Cancelled, ...
    status: String,
    /// Whether nothing of it changes any more.
    finished: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<i64>,
    succeeded: i64,
    failed: i64,
    /// Of the succeeded, those that compression did not make smaller.
    kept_original: i64,
    /// Of the succeeded, those that an earlier batch has stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    reused: Option<i64>,
    /// Pods that run now.
    active: i32,
    /// Share of images that have an outcome, such as `40%`.
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<String>,
    /// Share of bytes saved, such as `62%`.
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
    /// The batch whose failed images this one fetches again.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_of: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    retried_by: Vec<String>,
    conditions: Vec<Condition>,
    /// The first 20 failures.
    failures: Vec<Failure>,
    /// Where the reports are, once they are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<Links>,
}

/// Where the reports are.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Links {
    output_csv: String,
    failed_csv: String,
}

impl BatchView {
    pub(crate) fn of(settings: &Settings, batch: Batch) -> Self {
        let ready = batch.status.condition(REPORT_READY).is_some_and(|it| it.status == "True");
        let path = |below: &str| settings.batch_path(&batch.namespace, &batch.name, below);
        let links = ready.then(|| Links { output_csv: path("/output.csv"), failed_csv: path("/failed.csv") });
        let word = batch.state().to_owned();
        let Batch { name, namespace, status, retry_of, display_name, created, .. } = batch;
        Self {
            id: name,
            namespace,
            display_name,
            status: word,
            finished: status.is_finished(),
            created_time: created.map(Time),
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

/// A batch in a list.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    id: String,
    namespace: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    status: String,
    finished: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<i64>,
    succeeded: i64,
    failed: i64,
    kept_original: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    saved: Option<String>,
    bytes_in: i64,
    bytes_out: i64,
    bytes_saved: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_of: Option<String>,
}

impl From<Batch> for Summary {
    fn from(batch: Batch) -> Self {
        let word = batch.state().to_owned();
        let Batch { name, namespace, status, retry_of, display_name, created, .. } = batch;
        Self {
            id: name,
            namespace,
            display_name,
            status: word,
            finished: status.is_finished(),
            created_time: created.map(Time),
            start_time: status.start_time,
            completion_time: status.completion_time,
            rows: status.rows,
            images: status.images,
            succeeded: status.succeeded,
            failed: status.failed,
            kept_original: status.kept_original,
            percent: status.percent,
            saved: status.saved,
            bytes_in: status.bytes_in,
            bytes_out: status.bytes_out,
            bytes_saved: status.bytes_saved,
            retry_of,
        }
    }
}
