//! A batch as a row of a table, whether it comes from the cluster or from the gateway's records.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use serde::Deserialize;

use super::End;
use super::print::{Table, age, span};
use crate::api::condition::{
    ACCEPTED, CLEANED_UP, RECONCILED, SUCCEEDED, WORKER_STUCK, WORKERS_READY, is_problem, reason,
};
use crate::api::image_batch::ImageBatch;
use crate::api::status::ImageBatchStatus;

/// What a table shows of a batch.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    #[serde(rename = "id")]
    pub(super) name: String,
    pub(super) namespace: String,
    #[serde(rename = "status")]
    pub(super) state: String,
    created_time: Option<Timestamp>,
    start_time: Option<Timestamp>,
    completion_time: Option<Timestamp>,
    images: Option<i64>,
    succeeded: i64,
    failed: i64,
    saved: Option<String>,
    percent: Option<String>,
    bytes_out: i64,
    display_name: Option<String>,
}

impl From<&ImageBatch> for Line {
    fn from(batch: &ImageBatch) -> Self {
        let status = batch.status.clone().unwrap_or_default();
        Self {
            name: batch.name_any(),
            namespace: batch.namespace().unwrap_or_default(),
            state: state_of(batch).to_owned(),
            created_time: batch.metadata.creation_timestamp.as_ref().map(|it| it.0),
            start_time: status.start_time.map(|it| it.0),
            completion_time: status.completion_time.map(|it| it.0),
            images: status.images.or_else(|| batch.spec.source.upload.as_ref().map(|it| it.images)),
            succeeded: status.succeeded,
            failed: status.failed,
            saved: status.saved,
            percent: status.percent,
            bytes_out: status.bytes_out,
            display_name: batch.annotations().get(crate::api::labels::DISPLAY_NAME).cloned(),
        }
    }
}

/// Returns the word for a batch's state.
pub(super) fn state_of(batch: &ImageBatch) -> &str {
    let condition = batch.status.as_ref().and_then(|it| it.condition(SUCCEEDED));
    condition.map_or(reason::PENDING, |it| it.reason.as_str())
}

/// Conditions that hold a batch up where they say that something is wrong. The others are False on the way.
const HOLDING_UP: [&str; 5] = [ACCEPTED, RECONCILED, WORKERS_READY, WORKER_STUCK, CLEANED_UP];

/// Returns the conditions of a batch that say what is wrong.
pub(super) fn problems(status: &ImageBatchStatus) -> impl Iterator<Item = &Condition> {
    let conditions = status.conditions.iter();
    conditions.filter(|it| HOLDING_UP.contains(&it.type_.as_str()) && is_problem(&it.type_, &it.status))
}

/// Returns how a batch that has ended did so.
pub(super) fn end_of(batch: &ImageBatch) -> End {
    let condition = batch.status.as_ref().and_then(|it| it.condition(SUCCEEDED));
    match condition {
        Some(it) if it.status == "True" => End::Done,
        Some(it) if it.reason == reason::IMAGES_FAILED => End::Partial,
        _ => End::Failed,
    }
}

/// Returns the name that kubectl prints.
pub(super) fn full_name(name: &str) -> String {
    format!("imagebatch.imagebatch.io/{name}")
}

/// Which columns a table of batches has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns {
    pub(super) namespace: bool,
    pub(super) wide: bool,
}

impl Columns {
    /// Returns a table with these columns' headings.
    pub(super) fn table(self) -> Table {
        let mut headings = if self.namespace { vec!["NAMESPACE"] } else { Vec::new() };
        headings.extend(["NAME", "STATE", "IMAGES", "DONE", "FAILED", "SAVED", "AGE"]);
        if self.wide {
            headings.extend(["PERCENT", "DURATION", "BYTES", "DISPLAY NAME"]);
        }
        Table::new(&headings)
    }

    /// Returns a batch's cells.
    pub(super) fn cells(self, line: &Line, now: Timestamp) -> Vec<String> {
        let mut cells = if self.namespace { vec![line.namespace.clone()] } else { Vec::new() };
        cells.extend([
            line.name.clone(),
            line.state.clone(),
            line.images.map(|it| it.to_string()).unwrap_or_default(),
            line.succeeded.to_string(),
            line.failed.to_string(),
            line.saved.clone().unwrap_or_default(),
            line.created_time.map(|it| age(it, now)).unwrap_or_default(),
        ]);
        if self.wide {
            let end = line.completion_time.unwrap_or(now);
            cells.extend([
                line.percent.clone().unwrap_or_default(),
                line.start_time.map(|it| span(end.duration_since(it).as_secs().max(0))).unwrap_or_default(),
                line.bytes_out.to_string(),
                line.display_name.clone().unwrap_or_default(),
            ]);
        }
        cells
    }
}
