//! What became of a batch: the status of its `ImageBatch`.

#![allow(unreachable_pub, reason = "the schema derive repeats these types inside of functions")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::progress::Counts;

/// What became of a batch. Written by the controller alone; counts never go back.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ImageBatchStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`, `Suspended`, `Succeeded`, `ReportReady`, `Finished` and `WebhookDelivered`; see `api::condition`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
    /// Rows of the source, the skipped ones included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<i64>,
    /// Rows that have a problem and were skipped; the report names them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped_rows: Option<i64>,
    /// Image URLs of the source; at the end `succeeded + failed` equals it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<i64>,
    /// Images stored, those with their original bytes and those taken over from an earlier batch included.
    #[serde(default)]
    pub succeeded: i64,
    /// Images without a stored result.
    #[serde(default)]
    pub failed: i64,
    /// Images stored with their original bytes because compression did not make them smaller.
    #[serde(default)]
    pub kept_original: i64,
    /// Of the succeeded, those whose result an earlier batch has stored; only a retry has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused: Option<i64>,
    /// Place in the installation's own queue, counted from 1; only while the batch waits there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<i32>,
    /// Pods of the batch that run now.
    #[serde(default)]
    pub active: i32,
    /// Label selector of the batch's pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Bytes downloaded for the images that succeeded.
    #[serde(default)]
    pub bytes_in: i64,
    /// Bytes stored for them.
    #[serde(default)]
    pub bytes_out: i64,
    /// How many bytes that saves; negative where another format made the images larger.
    #[serde(default)]
    pub bytes_saved: i64,
    /// Share of bytes saved, such as `62%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<String>,
    /// Share of images that have an outcome, such as `40%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<String>,
    /// Images worked on in a minute: recently while the batch runs, in the whole run at its end. Time that it
    /// was suspended does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images_per_minute: Option<i64>,
    /// When the last image is done at this speed; absent while that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_completion_time: Option<Time>,
    /// What the recent speed is counted from, while the batch runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub progress_marks: Vec<ProgressMark>,
    /// Time from start to completion, such as `12s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// When the batch began: when the controller first saw it, or when it no longer had to wait in a queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// Seconds that the batch was suspended, those of a suspension that lasts not included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_seconds: Option<i64>,
    /// When the batch finished, whatever the outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// Object key of the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Where the reports are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ReportLocation>,
    /// The first 20 failures; all of them are in `failed.csv`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub failures: Vec<Failure>,
    /// The batch whose failed images this one fetches again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// The batches that fetch this one's failed images again, the last 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub retried_by: Vec<String>,
}

/// What a retry builds on; fixed before its first pod starts.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// Name of the earlier batch.
    pub of: String,
    /// Its uid.
    pub uid: String,
    /// Uid of the batch that the chain of retries began with: the objects of all of them lie below it.
    pub root: String,
    /// Images of the earlier batch without a result, which are fetched again.
    pub images: i64,
}

/// Where the reports of a batch are: object keys, served by the gateway.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ReportLocation {
    /// The input's rows with the output URLs.
    pub output_csv_key: String,
    /// The rows with failed images only, in a form that can be uploaded again.
    pub failed_csv_key: String,
}

/// How far a batch was at some moment.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct ProgressMark {
    /// The moment.
    pub time: Time,
    /// Images that had an outcome then, without those that an earlier batch has stored.
    pub done: i64,
}

/// One failure in the status: a bad row of the source, or an image without a result.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Row of the source, counted from 1 without the header.
    pub row: i64,
    /// Position of the image in the row, counted from 1; absent when the row itself is bad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<i64>,
    /// The stable code.
    pub reason: String,
    /// At most 200 bytes of the URL, or the validator's message.
    pub detail: String,
}

impl ImageBatchStatus {
    /// Returns the condition of that type, if it is set.
    #[must_use]
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.type_ == type_)
    }

    /// Returns the counts of images and bytes.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let &Self { succeeded, failed, kept_original, bytes_in, bytes_out, .. } = self;
        Counts { succeeded, failed, kept_original, bytes_in, bytes_out }
    }

    /// Returns how many images of an ended batch a retry would fetch, or why there can be none.
    pub fn images_to_retry(&self) -> Result<i64, &'static str> {
        let (Some(images), true) = (self.images, self.manifest.is_some()) else {
            return Err("it ended before its images were known: create it again");
        };
        match images - self.succeeded {
            0 => Err("all of its images have a result"),
            missing => Ok(missing),
        }
    }

    /// Returns whether the batch reached its end: nothing of it changes any more.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.condition(super::condition::FINISHED).is_some_and(|it| it.status == "True")
    }
}

/// Conditions are a map keyed by type, so that server-side apply merges them one by one.
fn conditions_schema(generator: &mut schemars::generate::SchemaGenerator) -> schemars::Schema {
    let mut schema = generator.subschema_for::<Vec<Condition>>();
    schema.insert("x-kubernetes-list-type".to_owned(), "map".into());
    schema.insert("x-kubernetes-list-map-keys".to_owned(), serde_json::json!(["type"]));
    schema
}
