//! A stage's Job. Pure: the same batch and settings always give the same Job.

use clap::Args;
use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, EnvFromSource, EnvVar, KeyToPath, PodSecurityContext, PodSpec,
    PodTemplateSpec, SeccompProfile, SecretEnvSource, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};

use super::kueue;
use super::plan::Step;
use super::worker_pod::{WorkerPod, WorkerPodError};
use crate::api::image_batch::ImageBatch;
use crate::api::labels;
use crate::api::source::ConfigMapKey;
use crate::api::stage::{
    AUTHORITIES_MOUNT, INTERRUPTED_EXIT_CODE, PERMANENT_EXIT_CODE, SOURCE_MOUNT, STAGE_INPUT_ENV, Stage, StageInput,
};
use crate::manifest::image_limits::ImageLimitArgs;
use crate::manifest::limits::LimitArgs;

/// How the pods of Jobs are made.
#[derive(Args, Debug, Clone)]
pub struct WorkerArgs {
    /// Image with the compressor.
    #[arg(long, env = "IMAGEBATCH_WORKER_IMAGE")]
    pub worker_image: String,
    /// Its pull policy.
    #[arg(long, env = "IMAGEBATCH_WORKER_IMAGE_PULL_POLICY", default_value = "IfNotPresent", value_parser = ["Always", "IfNotPresent", "Never"])]
    pub worker_image_pull_policy: String,
    /// Resources, scheduling, environment, labels and annotations of a pod as JSON: the chart's value `worker`.
    #[arg(long, env = "IMAGEBATCH_WORKER_POD", default_value = "{}")]
    pub worker_pod: WorkerPod,
    /// Log filter of a pod.
    #[arg(long, env = "IMAGEBATCH_WORKER_LOG", default_value = "info")]
    pub worker_log: String,
    /// Bounds of a CSV, for the pods that read one.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Bounds of an image, for the pods that compress.
    #[command(flatten)]
    pub image_limits: ImageLimitArgs,
}

impl WorkerArgs {
    /// Refuses settings of the pods that would contradict those of the Jobs.
    pub(super) fn check(&self) -> Result<(), WorkerPodError> {
        self.worker_pod.check_variables(self.variables("").iter().map(|it| it.name.as_str()))
    }

    /// Returns the variables that each pod gets.
    fn variables(&self, input: &str) -> Vec<EnvVar> {
        let own = [(STAGE_INPUT_ENV, input.to_owned()), ("IMAGEBATCH_LOG", self.worker_log.clone())];
        let limits = self.limits.variables().into_iter().chain(self.image_limits.variables());
        let variable =
            |(name, value): (&str, String)| EnvVar { name: name.to_owned(), value: Some(value), value_from: None };
        own.into_iter().chain(limits).map(variable).collect()
    }
}

/// Failures of an index, or of a Job with one pod, before it is given up. Kubernetes waits 10 s before
/// the second try and twice as long before each further one.
const BACKOFF_LIMIT: i32 = 6;
/// A finished Job and its pods' logs stay this long; results do not depend on them.
const JOB_TTL_SECONDS: i32 = 3_600;
const NON_ROOT: i64 = 65_532;

/// Returns the Job of a planned start, or `None` for other steps.
pub fn job(batch: &ImageBatch, step: &Step, settings: &WorkerArgs) -> Result<Option<Job>, serde_json::Error> {
    let &Step::Start { stage, completions, parallelism, deadline_seconds, cause } = step else { return Ok(None) };
    let (uid, name) = (batch.uid().unwrap_or_default(), batch.name_any());
    let mut labels = labels::for_batch(&uid, &name, stage.as_str());
    let input = StageInput {
        uid,
        name: name.clone(),
        namespace: batch.namespace().unwrap_or_default(),
        source: batch.spec.source.clone(),
        validation: batch.spec.validation,
        compression: batch.spec.compression.clone(),
        report: batch.spec.report,
        retry: batch.status.as_ref().and_then(|it| it.retry.clone()),
        request_id: labels::request_id(batch.annotations()).map(str::to_owned),
        traceparent: batch.annotations().get(labels::TRACEPARENT).cloned(),
        unprocessed_because: cause,
    };
    let indexed = stage == Stage::Compress;
    let mut template = PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels.clone()), ..ObjectMeta::default() }),
        spec: Some(pod(batch, stage, &serde_json::to_string(&input)?, settings)),
    };
    settings.worker_pod.dress(&mut template);
    if let (Some(class), Some(pod)) = (&batch.spec.priority_class_name, &mut template.spec) {
        pod.priority_class_name = Some(class.clone());
    }
    labels.extend(kueue::job_labels(&batch.spec));
    let spec = JobSpec {
        completions: Some(completions),
        parallelism: Some(parallelism),
        completion_mode: indexed.then(|| "Indexed".to_owned()),
        backoff_limit: (!indexed).then_some(BACKOFF_LIMIT),
        backoff_limit_per_index: indexed.then_some(BACKOFF_LIMIT),
        active_deadline_seconds: deadline_seconds,
        ttl_seconds_after_finished: Some(JOB_TTL_SECONDS),
        pod_failure_policy: Some(failure_policy(indexed)),
        // Two pods never work on one index at the same time.
        pod_replacement_policy: Some("Failed".to_owned()),
        // Kueue starts what is in a queue. Without one, the field is nobody's.
        suspend: batch.spec.queue_name.as_ref().map(|_| true),
        template,
        ..JobSpec::default()
    };
    let metadata = ObjectMeta {
        name: Some(stage.job_name(&name)),
        namespace: batch.namespace(),
        labels: Some(labels),
        annotations: kueue::job_annotations(&batch.spec, parallelism),
        owner_references: batch.controller_owner_ref(&()).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    };
    Ok(Some(Job { metadata, spec: Some(spec), status: None }))
}

/// A pod that was evicted, or ended because its Job was suspended, has not failed; a failure that no further try
/// can mend ends at once.
fn failure_policy(indexed: bool) -> PodFailurePolicy {
    let exit_code = |action: &str, code: u8| PodFailurePolicyRule {
        action: action.to_owned(),
        on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
            operator: "In".to_owned(),
            values: vec![code.into()],
            ..PodFailurePolicyOnExitCodesRequirement::default()
        }),
        ..PodFailurePolicyRule::default()
    };
    let disruption = PodFailurePolicyRule {
        action: "Ignore".to_owned(),
        on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
            type_: "DisruptionTarget".to_owned(),
            status: "True".to_owned(),
        }]),
        ..PodFailurePolicyRule::default()
    };
    let interrupted = exit_code("Ignore", INTERRUPTED_EXIT_CODE);
    let permanent = exit_code(if indexed { "FailIndex" } else { "FailJob" }, PERMANENT_EXIT_CODE);
    PodFailurePolicy { rules: vec![disruption, interrupted, permanent] }
}

fn pod(batch: &ImageBatch, stage: Stage, input: &str, settings: &WorkerArgs) -> PodSpec {
    let config_map =
        batch.spec.source.config_map_key_ref.as_ref().filter(|_| matches!(stage, Stage::Run | Stage::Ingest));
    let mut volumes = vec![authorities()];
    volumes.extend(config_map.map(source));
    let container = Container {
        name: "compressor".to_owned(),
        image: Some(settings.worker_image.clone()),
        image_pull_policy: Some(settings.worker_image_pull_policy.clone()),
        command: Some(vec!["/usr/local/bin/compressor".to_owned(), stage.as_str().to_owned()]),
        env: Some(settings.variables(input)),
        env_from: Some(vec![EnvFromSource {
            secret_ref: Some(SecretEnvSource { name: labels::WORKER.to_owned(), optional: None }),
            ..EnvFromSource::default()
        }]),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(volumes.iter().map(|(_, mount)| mount.clone()).collect()),
        ..Container::default()
    };
    PodSpec {
        containers: vec![container],
        restart_policy: Some("Never".to_owned()),
        service_account_name: Some(labels::WORKER.to_owned()),
        automount_service_account_token: Some(false),
        // Variables of Services would reach the compressor's configuration.
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(NON_ROOT),
            run_as_group: Some(NON_ROOT),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        volumes: Some(volumes.into_iter().map(|(volume, _)| volume).collect()),
        ..PodSpec::default()
    }
}

/// The certificate authorities of storage and MongoDB. Without any, the folder is empty.
fn authorities() -> (Volume, VolumeMount) {
    let source =
        ConfigMapVolumeSource { name: labels::AUTHORITIES.to_owned(), optional: Some(true), ..Default::default() };
    volume("ca", AUTHORITIES_MOUNT, source)
}

/// The CSV that a batch names in a ConfigMap.
fn source(reference: &ConfigMapKey) -> (Volume, VolumeMount) {
    let item = KeyToPath { key: reference.key.clone(), path: reference.key.clone(), mode: None };
    let source = ConfigMapVolumeSource { name: reference.name.clone(), items: Some(vec![item]), ..Default::default() };
    volume("source", SOURCE_MOUNT, source)
}

fn volume(name: &str, path: &str, source: ConfigMapVolumeSource) -> (Volume, VolumeMount) {
    let (name, path) = (name.to_owned(), path.to_owned());
    let mount = VolumeMount { name: name.clone(), mount_path: path, read_only: Some(true), ..VolumeMount::default() };
    (Volume { name, config_map: Some(source), ..Volume::default() }, mount)
}
