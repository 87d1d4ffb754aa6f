//! The `ImageBatch` custom resource: what a user asks for (`spec`) and what became of it (`status`).
//!
//! The CRD in `crds/` and in the chart is generated from these types (`make crds`). Everything that
//! can be checked from the object alone is checked by the API server with the bounds and CEL rules
//! below, so there is no admission webhook. A field stands here only when it is honoured.

#![allow(unreachable_pub, reason = "the schema derive repeats these types inside of functions")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, CustomResourceExt, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most bytes that the JSON of inline products may have: they travel in a Job's environment.
pub const MAX_INLINE_BYTES: usize = 8 * 1024;

/// What a user asks for. Everything but `parallelism` and `deletionPolicy` is immutable:
/// another source or quality is another batch.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "imagebatch.io",
    version = "v1alpha1",
    kind = "ImageBatch",
    plural = "imagebatches",
    shortname = "ib",
    category = "imagebatch",
    namespaced,
    status = "ImageBatchStatus",
    derive = "PartialEq",
    doc = "A list of products whose images are downloaded, compressed and stored, with a report in the input's order.",
    validation = Rule::new("self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name must be a DNS label of at most 40 characters: names of Jobs and pods are derived from it"),
    scale(
        spec_replicas_path = ".spec.parallelism",
        status_replicas_path = ".status.active",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "State", type_ = "string", json_path = ".status.conditions[?(@.type==\"Succeeded\")].reason"),
    printcolumn(name = "Images", type_ = "integer", json_path = ".status.images"),
    printcolumn(name = "Done", type_ = "integer", json_path = ".status.succeeded"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.failed"),
    printcolumn(name = "Saved", type_ = "string", json_path = ".status.saved"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Percent", type_ = "string", json_path = ".status.percent", priority = 1),
    printcolumn(name = "Duration", type_ = "string", json_path = ".status.duration", priority = 1),
    printcolumn(name = "Bytes", type_ = "integer", json_path = ".status.bytesOut", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.source == oldSelf.source").message("spec.source is immutable: create another ImageBatch"),
    validation = Rule::new("self.validation == oldSelf.validation").message("spec.validation is immutable: create another ImageBatch"),
    validation = Rule::new("self.compression == oldSelf.compression").message("spec.compression is immutable: create another ImageBatch"),
    validation = Rule::new("self.report == oldSelf.report").message("spec.report is immutable: create another ImageBatch"),
    validation = Rule::new("has(self.webhook) == has(oldSelf.webhook) && (!has(self.webhook) || self.webhook == oldSelf.webhook)").message("spec.webhook is immutable: create another ImageBatch"),
    validation = Rule::new("self.activeDeadlineSeconds == oldSelf.activeDeadlineSeconds").message("spec.activeDeadlineSeconds is immutable: create another ImageBatch")
)]
pub struct ImageBatchSpec {
    /// Where the products come from.
    pub source: Source,

    /// What a valid row is, and what happens to the others.
    #[serde(default)]
    pub validation: Validation,

    /// How images are compressed.
    #[serde(default)]
    pub compression: Compression,

    /// What the reports hold.
    #[serde(default)]
    pub report: Report,

    /// How many pods compress at the same time. May be changed while the batch runs, also by
    /// `kubectl scale`. Batches of at most a few hundred images run in one pod whatever is set here.
    #[serde(default = "default_parallelism")]
    #[schemars(range(min = 1, max = 1000))]
    pub parallelism: i32,

    /// Seconds from the start after which the batch is stopped. Images that were not reached by
    /// then are reported as `NotProcessed`.
    #[serde(default = "default_deadline")]
    #[schemars(range(min = 60, max = 2_592_000))]
    pub active_deadline_seconds: i64,

    /// Whether deleting the ImageBatch also deletes its images, reports and records.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,

    /// Who is told of the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
}

/// Where the products come from: exactly one of the fields.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.products) ? 1 : 0) + (has(self.configMapKeyRef) ? 1 : 0) + (has(self.url) ? 1 : 0) + (has(self.upload) ? 1 : 0) == 1").message("exactly one of products, configMapKeyRef, url and upload must be set")
)]
pub struct Source {
    /// Inline rows, for small batches: at most 50 products and 8 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    pub products: Option<Vec<Product>>,

    /// A CSV in a ConfigMap of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<ConfigMapKey>,

    /// The http(s) URL of a CSV. It is fetched once, by the same guarded client as the images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^https?://"))]
    pub url: Option<String>,

    /// A CSV in object storage, written there by the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<Upload>,
}

/// One product of an inline source.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Product {
    /// The row's serial number, kept as it is written.
    #[schemars(length(min = 1, max = 64))]
    pub serial_number: String,
    /// The product's name.
    #[schemars(length(min = 1, max = 512))]
    pub name: String,
    /// The http(s) URLs of the product's images.
    #[schemars(length(min = 1, max = 100), inner(length(min = 1, max = 2048)))]
    pub image_urls: Vec<String>,
}

/// A key of a ConfigMap in the ImageBatch's namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct ConfigMapKey {
    /// The ConfigMap's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key whose value is the CSV.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// A CSV that the gateway stored and validated.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct Upload {
    /// The object's key; it must lie below this namespace's prefix.
    #[schemars(length(min = 1, max = 512))]
    pub key: String,
    /// The content's SHA-256 in lower-case hex; ingest refuses other content.
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: String,
    /// Rows that the validator counted, the skipped ones included.
    #[schemars(range(min = 1))]
    pub rows: i64,
    /// Image URLs that the validator counted.
    #[schemars(range(min = 1))]
    pub images: i64,
}

/// How images are compressed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("type(self.quality) == int ? (self.quality >= 1 && self.quality <= 100) : self.quality.matches('^([1-9][0-9]?|100)%$')").message("quality must be an integer from 1 to 100, or per cent of the source's own quality such as \"50%\"")
)]
pub struct Compression {
    /// `"50%"` is half of the source's own quality; an integer from 1 to 100 is absolute.
    #[serde(default = "default_quality")]
    #[schemars(schema_with = "quality_schema")]
    pub quality: IntOrString,

    /// Relative quality does not go below this; a source that is below it keeps its own.
    #[serde(default = "default_min_quality")]
    #[schemars(range(min = 1, max = 100))]
    pub min_quality: i32,

    /// How much to spend on a small result.
    #[serde(default)]
    pub effort: Effort,
}

impl Default for Compression {
    fn default() -> Self {
        Self { quality: default_quality(), min_quality: default_min_quality(), effort: Effort::default() }
    }
}

/// What the reports hold.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether `output.csv` says of each image how large it was, how large it is and what that saves.
    #[serde(default)]
    pub sizes: bool,
}

/// An HTTP endpoint that is told of the batch's end, as Standard Webhooks 1.0.0 has it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// The endpoint's http(s) URL. It is reached by the same guarded client as the images.
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^https?://"))]
    pub url: String,
    /// The secret that signs the events: one or two of `whsec_...`, separated by a space. By default it is
    /// the key `secret` of the namespace's Secret `imagebatch-webhook`. Without one the batch is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKey>,
}

/// A key of a Secret in the ImageBatch's namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct SecretKey {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key of its data.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// How much to spend on a small result.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Effort {
    /// A quarter smaller, for a little more time.
    #[default]
    Small,
    /// As fast as possible.
    Fast,
}

/// Whether deleting an ImageBatch deletes what it stored.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DeletionPolicy {
    /// Images, reports and records stay.
    #[default]
    Retain,
    /// Images, reports and records go with the ImageBatch.
    Delete,
}

/// What a valid row is, and what happens to the others.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Validation {
    /// Whether a row with a problem refuses the source or is skipped.
    #[serde(default)]
    pub on_invalid_row: OnInvalidRow,

    /// Whether a serial number that an earlier row has is a warning or a problem.
    #[serde(default)]
    pub on_duplicate_serial_number: OnDuplicate,
}

/// What a row with a problem does to its source.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnInvalidRow {
    /// The source is refused, with every problem listed.
    #[default]
    Reject,
    /// The row is skipped and reported; the other rows are worked on.
    Skip,
}

/// What a serial number is that an earlier row has.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnDuplicate {
    /// A warning: the row is worked on.
    #[default]
    Warn,
    /// A problem of the row.
    Reject,
}

/// What became of a batch. Written by the controller alone; counts never go back.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ImageBatchStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`, `Succeeded`, `ReportReady`, `Finished` and `WebhookDelivered`; see `api::condition`.
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
    /// Images stored, those with their original bytes included.
    #[serde(default)]
    pub succeeded: i64,
    /// Images without a stored result.
    #[serde(default)]
    pub failed: i64,
    /// Images stored with their original bytes because compression did not make them smaller.
    #[serde(default)]
    pub kept_original: i64,
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
    /// Share of bytes saved, such as `62%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<String>,
    /// Share of images that have an outcome, such as `40%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<String>,
    /// Time from start to completion, such as `12s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// When the controller first saw the batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
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

    /// Returns whether the batch reached its end: nothing of it changes any more.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.condition(super::condition::FINISHED).is_some_and(|it| it.status == "True")
    }
}

/// Returns the CustomResourceDefinition as it stands in `crds/`.
pub fn crd_yaml() -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(&ImageBatch::crd())
}

fn default_parallelism() -> i32 {
    2
}

fn default_deadline() -> i64 {
    86_400
}

fn default_quality() -> IntOrString {
    IntOrString::String("50%".to_owned())
}

fn default_min_quality() -> i32 {
    30
}

fn quality_schema(_: &mut schemars::generate::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "x-kubernetes-int-or-string": true, "default": "50%" })
}

/// Conditions are a map keyed by type, so that server-side apply merges them one by one.
fn conditions_schema(generator: &mut schemars::generate::SchemaGenerator) -> schemars::Schema {
    let mut schema = generator.subschema_for::<Vec<Condition>>();
    schema.insert("x-kubernetes-list-type".to_owned(), "map".into());
    schema.insert("x-kubernetes-list-map-keys".to_owned(), serde_json::json!(["type"]));
    schema
}
