//! The `ImageBatch` custom resource: what a user asks for (`spec`) and what became of it (`status`).
//!
//! The CRD in `crds/` and in the chart is generated from these types (`make crds`). Everything that
//! can be checked from the object alone is checked by the API server with the bounds and CEL rules
//! below, so there is no admission webhook. A field stands here only when it is honoured.

#![allow(unreachable_pub, reason = "the schema derive repeats these types inside of functions")]

use kube::{CustomResource, CustomResourceExt, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::compression::Compression;
use super::source::{Source, Validation};
use super::status::ImageBatchStatus;
use super::webhook::Webhook;

/// What a user asks for. Everything but `suspend`, `cancel`, `parallelism`, `ttlSecondsAfterFinished` and
/// `deletionPolicy` is immutable: another source or quality is another batch.
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
    validation = Rule::new("!has(self.spec.source.failedOf) || self.spec.source.failedOf.name != self.metadata.name").message("spec.source.failedOf must be another ImageBatch"),
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
    validation = Rule::new("!has(self.source.failedOf) || (self.validation.onInvalidRow == 'Reject' && self.validation.onDuplicateSerialNumber == 'Warn')").message("spec.validation has no meaning beside spec.source.failedOf: its rows are validated already"),
    validation = Rule::new("self.source == oldSelf.source").message("spec.source is immutable: create another ImageBatch"),
    validation = Rule::new("self.validation == oldSelf.validation").message("spec.validation is immutable: create another ImageBatch"),
    validation = Rule::new("self.compression == oldSelf.compression").message("spec.compression is immutable: create another ImageBatch"),
    validation = Rule::new("self.report == oldSelf.report").message("spec.report is immutable: create another ImageBatch"),
    validation = Rule::new("has(self.webhook) == has(oldSelf.webhook) && (!has(self.webhook) || self.webhook == oldSelf.webhook)").message("spec.webhook is immutable: create another ImageBatch"),
    validation = Rule::new("self.activeDeadlineSeconds == oldSelf.activeDeadlineSeconds").message("spec.activeDeadlineSeconds is immutable: create another ImageBatch"),
    validation = Rule::new("has(self.maxFailedPercent) == has(oldSelf.maxFailedPercent) && (!has(self.maxFailedPercent) || self.maxFailedPercent == oldSelf.maxFailedPercent)").message("spec.maxFailedPercent is immutable: create another ImageBatch"),
    validation = Rule::new("!has(oldSelf.cancel) || (has(self.cancel) && self.cancel == oldSelf.cancel)").message("spec.cancel may be set once, and is neither changed nor unset: retry the batch instead"),
    validation = Rule::new("!has(self.ttlSecondsAfterFinished) || self.deletionPolicy == 'Retain'").message("spec.ttlSecondsAfterFinished is refused beside deletionPolicy Delete: expiry would delete images that are in use; they go only when somebody deletes the ImageBatch"),
    validation = Rule::new("has(self.queueName) == has(oldSelf.queueName) && (!has(self.queueName) || self.queueName == oldSelf.queueName)").message("spec.queueName is immutable: create another ImageBatch"),
    validation = Rule::new("has(self.minParallelism) == has(oldSelf.minParallelism) && (!has(self.minParallelism) || self.minParallelism == oldSelf.minParallelism)").message("spec.minParallelism is immutable: create another ImageBatch"),
    validation = Rule::new("has(self.workloadPriorityClassName) == has(oldSelf.workloadPriorityClassName) && (!has(self.workloadPriorityClassName) || self.workloadPriorityClassName == oldSelf.workloadPriorityClassName)").message("spec.workloadPriorityClassName is immutable: create another ImageBatch"),
    validation = Rule::new("has(self.priorityClassName) == has(oldSelf.priorityClassName) && (!has(self.priorityClassName) || self.priorityClassName == oldSelf.priorityClassName)").message("spec.priorityClassName is immutable: create another ImageBatch"),
    validation = Rule::new("!has(self.queueName) || self.parallelism == oldSelf.parallelism").message("spec.parallelism cannot change while spec.queueName is set: Kueue has counted this many pods"),
    validation = Rule::new("has(self.queueName) || (!has(self.minParallelism) && !has(self.workloadPriorityClassName))").message("spec.minParallelism and spec.workloadPriorityClassName have no meaning without spec.queueName"),
    validation = Rule::new("!has(self.minParallelism) || self.minParallelism <= self.parallelism").message("spec.minParallelism must not be more than spec.parallelism"),
    validation = Rule::new("!has(self.priorityClassName) || !self.priorityClassName.startsWith('system-')").message("spec.priorityClassName must not be one of Kubernetes' own")
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
    /// `kubectl scale`, unless it has a `queueName`. Batches of at most a few hundred images run in one
    /// pod whatever is set here.
    #[serde(default = "default_parallelism")]
    #[schemars(range(min = 1, max = 1000))]
    pub parallelism: i32,

    /// Whether the batch is held: nothing of it runs or starts until this is false again. What is done stays
    /// done. May be changed at any time.
    #[serde(default)]
    pub suspend: bool,

    /// Stops the batch for good: what is done is kept and reported, the other images are reported as
    /// `NotProcessed`. May be set once, also while the batch is suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<Cancel>,

    /// The LocalQueue of Kueue that the batch's Jobs wait in, in the ImageBatch's namespace. Kueue then
    /// decides when they run, and may interrupt them for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub queue_name: Option<String>,

    /// With a `queueName`: how many of the `parallelism` pods are enough to begin, where there is no
    /// room for all of them. Their number stays as it is then. Without it Kueue waits until all fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_parallelism: Option<i32>,

    /// With a `queueName`: Kueue's WorkloadPriorityClass, which decides the order in the queue. Without it
    /// the pods' PriorityClass does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub workload_priority_class_name: Option<String>,

    /// PriorityClass of the pods, instead of the installation's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub priority_class_name: Option<String>,

    /// Seconds from the start after which the batch is stopped; time that it was suspended does not count.
    /// Images that were not reached by then are reported as `NotProcessed`.
    #[serde(default = "default_deadline")]
    #[schemars(range(min = 60, max = 2_592_000))]
    pub active_deadline_seconds: i64,

    /// The batch is stopped once more than this share of all its images has failed, in per cent. With 0 the
    /// first failure stops it; without it none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub max_failed_percent: Option<i32>,

    /// Seconds after its end at which the ImageBatch is deleted; images, reports and records stay. Without it
    /// the ImageBatch stays too. May be changed at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 315_360_000))]
    pub ttl_seconds_after_finished: Option<i64>,

    /// Whether deleting the ImageBatch also deletes its images, reports and records.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,

    /// Who is told of the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
}

/// That a batch is to be stopped, and why.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// A sentence for people.
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
}

/// What the reports hold.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether `output.csv` says of each image how large it was, how large it is and what that saves.
    #[serde(default)]
    pub sizes: bool,
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
