//! What an installation says of its worker pods: where they run, what they may take, what they carry.
//!
//! It comes as JSON, the chart's value `worker`, and is read once, at the start. Only what is named here can
//! be said: nothing of it reaches the identity, the security context, the volumes or the command of a pod,
//! so that the Pod Security standard `restricted` holds whatever is written.

use std::collections::{BTreeMap, HashSet};
use std::str::FromStr;

use k8s_openapi::api::core::v1::{
    Affinity, EnvVar, PodTemplateSpec, ResourceRequirements, Toleration, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::api::labels;

/// Settings of all worker pods.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WorkerPod {
    /// What the pod's one container asks for and may take.
    pub resources: Resources,
    /// Further environment variables.
    pub extra_env: Vec<EnvVar>,
    /// Further labels of the pod.
    pub pod_labels: BTreeMap<String, String>,
    /// Annotations of the pod.
    pub pod_annotations: BTreeMap<String, String>,
    /// Node labels the pod demands.
    pub node_selector: BTreeMap<String, String>,
    /// Taints the pod tolerates.
    pub tolerations: Vec<Toleration>,
    /// Affinity of the pod.
    pub affinity: Affinity,
    /// How pods are spread; without a selector, those of one batch.
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// PriorityClass of the pod; a batch may name another.
    pub priority_class_name: String,
    /// RuntimeClass of the pod.
    pub runtime_class_name: String,
}

/// What a container asks for and may take.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// What the scheduler, and Kueue, count.
    #[serde(default, deserialize_with = "quantities")]
    pub requests: BTreeMap<String, Quantity>,
    /// The limits; that of memory decides how many images are compressed at the same time.
    #[serde(deserialize_with = "quantities")]
    pub limits: BTreeMap<String, Quantity>,
}

/// Reads quantities as the API server does: 0.5 is one as well.
fn quantities<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Quantity>, D::Error> {
    let values = BTreeMap::<String, Value>::deserialize(deserializer)?;
    let quantity = |(name, value)| match value {
        Value::String(text) => Ok((name, Quantity(text))),
        Value::Number(number) => Ok((name, Quantity(number.to_string()))),
        other => Err(D::Error::custom(format!("{name} is {other}: a quantity is a number or a text such as 500m"))),
    };
    values.into_iter().map(quantity).collect()
}

impl Default for Resources {
    fn default() -> Self {
        let quantities = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), Quantity((*value).to_owned()))).collect()
        };
        Self { requests: quantities(&[("cpu", "500m"), ("memory", "256Mi")]), limits: quantities(&[("memory", "2Gi")]) }
    }
}

/// Why the settings of the worker pods cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WorkerPodError {
    /// It is not JSON, or a value has the wrong type.
    #[error("it cannot be read")]
    Read(#[from] serde_json::Error),
    /// A field that Kubernetes does not know, or that cannot be said here.
    #[error("{0} is not known")]
    UnknownField(String),
    /// The memory limit is missing.
    #[error("resources.limits.memory is missing: it decides how many images are compressed at the same time")]
    NoMemoryLimit,
    /// A variable that has another place.
    #[error("extraEnv: {0} is given twice, or is set by the installation itself")]
    ReservedVariable(String),
    /// A label that has a meaning to the operator or to Kubernetes.
    #[error("podLabels: {0} is set by the operator or by Kubernetes")]
    ReservedLabel(String),
    /// An annotation that would weaken the pod.
    #[error("podAnnotations: {0} would override the pod's security profile")]
    ReservedAnnotation(String),
}

/// Variables of the pod's Secret that say where it may go and what it may open.
const RESERVED_VARIABLES: [&str; 6] = [
    "IMAGEBATCH_AZURE_",
    "IMAGEBATCH_EGRESS_",
    "IMAGEBATCH_GCS_",
    "IMAGEBATCH_MONGODB_",
    "IMAGEBATCH_S3_",
    "IMAGEBATCH_STORAGE_",
];
/// Labels of the operator, of Jobs and of Kueue.
const RESERVED_LABELS: [&str; 3] = ["imagebatch.io/", "batch.kubernetes.io/", "kueue.x-k8s.io/"];
/// Older forms of fields of the security context, which admission still reads.
const RESERVED_ANNOTATIONS: [&str; 2] = ["container.apparmor.security.beta.kubernetes.io/", "seccomp.security.alpha."];

impl FromStr for WorkerPod {
    type Err = WorkerPodError;

    fn from_str(text: &str) -> Result<Self, WorkerPodError> {
        let pod: Self = serde_json::from_str(text)?;
        // The types of Kubernetes pass over fields that they do not know; those are not in what was kept.
        if let Some(path) = unknown_field(&serde_json::from_str(text)?, &serde_json::to_value(&pod)?, "") {
            return Err(WorkerPodError::UnknownField(path));
        }
        if !pod.resources.limits.contains_key("memory") {
            return Err(WorkerPodError::NoMemoryLimit);
        }
        let reserved = |key: &&String, prefixes: &[&str]| prefixes.iter().any(|prefix| key.starts_with(prefix));
        let legacy = ["job-name", "controller-uid"];
        let own = labels::for_batch("", "", "");
        let is_own = |key: &&String| own.contains_key(*key) || legacy.contains(&key.as_str());
        if let Some(key) = pod.pod_labels.keys().find(|key| is_own(key) || reserved(key, &RESERVED_LABELS)) {
            return Err(WorkerPodError::ReservedLabel(key.clone()));
        }
        if let Some(key) = pod.pod_annotations.keys().find(|key| reserved(key, &RESERVED_ANNOTATIONS)) {
            return Err(WorkerPodError::ReservedAnnotation(key.clone()));
        }
        Ok(pod)
    }
}

impl WorkerPod {
    /// Refuses further variables that the Job sets itself, or that decide where a pod may go.
    pub(super) fn check_variables<'a>(&self, set: impl Iterator<Item = &'a str>) -> Result<(), WorkerPodError> {
        let mut seen: HashSet<&str> = set.chain(["JOB_COMPLETION_INDEX"]).collect();
        let is_reserved = |name: &str| RESERVED_VARIABLES.iter().any(|prefix| name.starts_with(prefix));
        match self.extra_env.iter().find(|it| is_reserved(&it.name) || !seen.insert(&it.name)) {
            Some(variable) => Err(WorkerPodError::ReservedVariable(variable.name.clone())),
            None => Ok(()),
        }
    }

    /// Puts all of it into a batch's pod template, which has its labels and its one container already.
    pub(super) fn dress(&self, template: &mut PodTemplateSpec) {
        let metadata = template.metadata.get_or_insert_default();
        let labels = metadata.labels.get_or_insert_default();
        let batch = labels.get_key_value(labels::BATCH_UID).map(|(key, uid)| [(key.clone(), uid.clone())].into());
        labels.extend(self.pod_labels.clone());
        metadata.annotations.get_or_insert_default().extend(self.pod_annotations.clone());
        let spec = template.spec.get_or_insert_default();
        spec.node_selector = filled(&self.node_selector);
        spec.tolerations = filled(&self.tolerations);
        spec.affinity = filled(&self.affinity);
        spec.priority_class_name = filled(&self.priority_class_name);
        spec.runtime_class_name = filled(&self.runtime_class_name);
        let mut constraints = self.topology_spread_constraints.clone();
        for constraint in &mut constraints {
            // A constraint that selects nothing would be silently without effect.
            constraint
                .label_selector
                .get_or_insert_with(|| LabelSelector { match_labels: batch.clone(), ..Default::default() });
        }
        spec.topology_spread_constraints = filled(&constraints);
        for container in &mut spec.containers {
            container.env.get_or_insert_default().extend(self.extra_env.clone());
            container.resources = Some(ResourceRequirements {
                requests: filled(&self.resources.requests),
                limits: filled(&self.resources.limits),
                claims: None,
            });
        }
    }
}

/// What says nothing is left out of the pod.
fn filled<T: Clone + Default + PartialEq>(value: &T) -> Option<T> {
    (*value != T::default()).then(|| value.clone())
}

fn unknown_field(given: &Value, kept: &Value, path: &str) -> Option<String> {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => given.iter().find_map(|(key, value)| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match kept.get(key) {
                Some(kept) => unknown_field(value, kept, &path),
                None => (!value.is_null()).then_some(path),
            }
        }),
        (Value::Array(given), Value::Array(kept)) => {
            let mut pairs = given.iter().zip(kept).enumerate();
            pairs.find_map(|(index, (given, kept))| unknown_field(given, kept, &format!("{path}[{index}]")))
        }
        // A struct may be written as the list of its fields, which nobody means.
        (Value::Array(_), Value::Object(_)) => Some(format!("the list {path}")),
        _ => None,
    }
}
