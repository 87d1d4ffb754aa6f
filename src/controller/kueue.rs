//! Kueue: what a Job carries so that it waits in a queue, and what its Workload says. Pure.
//!
//! Kueue makes a Workload for each Job that names a LocalQueue, and starts the Job once the Workload is
//! admitted. `suspend` and `parallelism` of such a Job are Kueue's, also where it was Kueue that put the Job
//! into a queue; all that is done here is to switch the Workload off and on.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::api::DynamicObject;
use serde::Deserialize;
use serde_json::json;

use crate::api::image_batch::ImageBatchSpec;
use crate::api::stage::Stage;

/// API group of Kueue's objects.
pub const GROUP: &str = "kueue.x-k8s.io";
/// Label of a Workload: the uid of its Job.
pub const JOB_UID: &str = "kueue.x-k8s.io/job-uid";
/// Field manager of what is changed in a Workload.
pub const MANAGER: &str = "imagebatch-controller-queue";
const QUEUE_NAME: &str = "kueue.x-k8s.io/queue-name";
const PRIORITY_CLASS: &str = "kueue.x-k8s.io/priority-class";
const MIN_PARALLELISM: &str = "kueue.x-k8s.io/job-min-parallelism";

/// Returns the labels of a Job that waits in a queue.
pub(super) fn job_labels(spec: &ImageBatchSpec) -> BTreeMap<String, String> {
    let labels = [(QUEUE_NAME, &spec.queue_name), (PRIORITY_CLASS, &spec.workload_priority_class_name)];
    labels.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))).collect()
}

/// Returns the annotations of a Job that may begin with fewer pods. Kueue demands that they are fewer.
pub(super) fn job_annotations(spec: &ImageBatchSpec, parallelism: i32) -> Option<BTreeMap<String, String>> {
    let least = spec.min_parallelism.filter(|least| *least < parallelism)?;
    Some([(MIN_PARALLELISM.to_owned(), least.to_string())].into())
}

/// Returns whether the Job names a queue. Kueue labels Jobs by itself where a namespace has a default queue.
pub(super) fn is_queued(job: &Job) -> bool {
    job.labels().contains_key(QUEUE_NAME)
}

/// A Job's Workload as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Its name.
    pub name: String,
    /// Whether it may be admitted.
    pub active: bool,
    /// Whether it was switched off here, and not by Kueue or by hand.
    pub is_ours: bool,
    /// What it waits for, for people.
    pub message: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Data {
    spec: Spec,
    status: Status,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Spec {
    active: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    conditions: Vec<Condition>,
    admission_checks: Vec<AdmissionCheck>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AdmissionCheck {
    name: String,
    state: String,
    message: String,
}

impl Workload {
    /// Reads a Workload, of whichever version.
    #[must_use]
    pub fn read(object: &DynamicObject) -> Self {
        let Data { spec, status } = serde_json::from_value(object.data.clone()).unwrap_or_default();
        let active = spec.active.unwrap_or(true);
        let is_ours = object.metadata.managed_fields.iter().flatten().any(|entry| {
            let fields = entry.fields_v1.as_ref().map(|it| &it.0);
            entry.manager.as_deref() == Some(MANAGER) && fields.is_some_and(|it| !it["f:spec"]["f:active"].is_null())
        });
        Self { name: object.name_any(), active, is_ours: !active && is_ours, message: status.message(active) }
    }
}

impl Status {
    /// Returns the condition's message when it has that status.
    fn said(&self, type_: &str, status: &str) -> Option<&str> {
        let found = self.conditions.iter().find(|it| it.type_ == type_ && it.status == status);
        found.map(|it| it.message.as_str())
    }

    fn message(&self, active: bool) -> String {
        if let Some(message) = self.said("Finished", "True") {
            return format!("Kueue has given the Job up: {message}");
        }
        if !active {
            let message = self.said("Evicted", "True").unwrap_or("spec.active is false");
            return format!("its Workload is switched off: {message}");
        }
        if self.said("QuotaReserved", "True").is_some() {
            let open = self.admission_checks.iter().filter(|it| it.state != "Ready");
            let open: Vec<String> = open.map(|it| format!("{} {} {}", it.name, it.state, it.message)).collect();
            return format!("there is room; admission checks: {}", open.join(", "));
        }
        match self.said("QuotaReserved", "False") {
            Some(message) => message.to_owned(),
            None => "Kueue has not considered it yet".to_owned(),
        }
    }
}

/// Leaves of a Workload only what is read here: its pod templates are large.
pub(super) fn prune(object: &mut DynamicObject) {
    let spec = json!({ "active": object.data["spec"]["active"] });
    let status = json!({
        "conditions": object.data["status"]["conditions"].as_array().cloned().unwrap_or_default(),
        "admissionChecks": object.data["status"]["admissionChecks"].as_array().cloned().unwrap_or_default(),
    });
    object.data = json!({ "spec": spec, "status": status });
    object.metadata.annotations = None;
    if let Some(managers) = &mut object.metadata.managed_fields {
        managers.retain(|it| it.manager.as_deref() == Some(MANAGER));
    }
}

/// Returns the name of the ImageBatch that a Workload's Job belongs to, if it is one of the operator's.
pub(super) fn batch_of(object: &DynamicObject) -> Option<&str> {
    let job = object.owner_references().iter().find(|it| it.kind == "Job" && it.controller == Some(true))?;
    Stage::ALL.into_iter().find_map(|stage| job.name.strip_suffix(stage.as_str())?.strip_suffix('-'))
}
