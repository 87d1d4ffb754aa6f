//! A stage's Job. Pure: the same batch and settings always give the same Job.

use std::collections::BTreeMap;

use clap::Args;
use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, EnvFromSource, EnvVar, KeyToPath, PodSecurityContext, PodSpec,
    PodTemplateSpec, ResourceRequirements, SeccompProfile, SecretEnvSource, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};

use super::plan::Step;
use crate::api::image_batch::ImageBatch;
use crate::api::labels;
use crate::api::stage::{PERMANENT_EXIT_CODE, SOURCE_MOUNT, STAGE_INPUT_ENV, Stage, StageInput};
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
    /// CPU request of a pod.
    #[arg(long, env = "IMAGEBATCH_WORKER_CPU_REQUEST", default_value = "500m")]
    pub worker_cpu_request: String,
    /// Memory request of a pod.
    #[arg(long, env = "IMAGEBATCH_WORKER_MEMORY_REQUEST", default_value = "256Mi")]
    pub worker_memory_request: String,
    /// Memory limit of a pod. A pod that may need more, by what it is to do at once, does not start.
    #[arg(long, env = "IMAGEBATCH_WORKER_MEMORY_LIMIT", default_value = "2Gi")]
    pub worker_memory_limit: String,
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
    let labels = labels::for_batch(&uid, &name, stage.as_str());
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
        template: PodTemplateSpec {
            metadata: Some(ObjectMeta { labels: Some(labels.clone()), ..ObjectMeta::default() }),
            spec: Some(pod(batch, stage, &serde_json::to_string(&input)?, settings)),
        },
        ..JobSpec::default()
    };
    let metadata = ObjectMeta {
        name: Some(stage.job_name(&name)),
        namespace: batch.namespace(),
        labels: Some(labels),
        owner_references: batch.controller_owner_ref(&()).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    };
    Ok(Some(Job { metadata, spec: Some(spec), status: None }))
}

/// An evicted pod is no failure; a failure that no further try can mend ends at once.
fn failure_policy(indexed: bool) -> PodFailurePolicy {
    let disruption = PodFailurePolicyRule {
        action: "Ignore".to_owned(),
        on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
            type_: "DisruptionTarget".to_owned(),
            status: "True".to_owned(),
        }]),
        ..PodFailurePolicyRule::default()
    };
    let permanent = PodFailurePolicyRule {
        action: if indexed { "FailIndex" } else { "FailJob" }.to_owned(),
        on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
            operator: "In".to_owned(),
            values: vec![PERMANENT_EXIT_CODE.into()],
            ..PodFailurePolicyOnExitCodesRequirement::default()
        }),
        ..PodFailurePolicyRule::default()
    };
    PodFailurePolicy { rules: vec![disruption, permanent] }
}

fn pod(batch: &ImageBatch, stage: Stage, input: &str, settings: &WorkerArgs) -> PodSpec {
    let limits = settings.limits.variables().into_iter().chain(settings.image_limits.variables());
    let env =
        |name: &str, value: &str| EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None };
    let config_map =
        batch.spec.source.config_map_key_ref.as_ref().filter(|_| matches!(stage, Stage::Run | Stage::Ingest));
    let container = Container {
        name: "compressor".to_owned(),
        image: Some(settings.worker_image.clone()),
        image_pull_policy: Some(settings.worker_image_pull_policy.clone()),
        command: Some(vec!["/usr/local/bin/compressor".to_owned(), stage.as_str().to_owned()]),
        env: Some(
            [env(STAGE_INPUT_ENV, input), env("IMAGEBATCH_LOG", &settings.worker_log)]
                .into_iter()
                .chain(limits.map(|(name, value)| env(name, &value)))
                .collect(),
        ),
        env_from: Some(vec![EnvFromSource {
            secret_ref: Some(SecretEnvSource { name: labels::WORKER.to_owned(), optional: None }),
            ..EnvFromSource::default()
        }]),
        resources: Some(resources(settings)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: config_map.map(|_| {
            let (name, path) = ("source".to_owned(), SOURCE_MOUNT.to_owned());
            vec![VolumeMount { name, mount_path: path, read_only: Some(true), ..VolumeMount::default() }]
        }),
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
        volumes: config_map.map(|reference| {
            let item = KeyToPath { key: reference.key.clone(), path: reference.key.clone(), mode: None };
            let source =
                ConfigMapVolumeSource { name: reference.name.clone(), items: Some(vec![item]), ..Default::default() };
            vec![Volume { name: "source".to_owned(), config_map: Some(source), ..Volume::default() }]
        }),
        ..PodSpec::default()
    }
}

fn resources(settings: &WorkerArgs) -> ResourceRequirements {
    let quantities = |pairs: &[(&str, &String)]| -> BTreeMap<String, Quantity> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Quantity((*value).clone()))).collect()
    };
    ResourceRequirements {
        requests: Some(quantities(&[
            ("cpu", &settings.worker_cpu_request),
            ("memory", &settings.worker_memory_request),
        ])),
        limits: Some(quantities(&[("memory", &settings.worker_memory_limit)])),
        claims: None,
    }
}
