//! What is the case: the batch's Jobs, what its stages recorded, and whether its source (also the batch that
//! it retries) and its webhook's secret are there.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::api::Api;

use super::context::Context;
use super::error::ReconcileError;
use super::jobs::JobsOfBatch;
use super::progress::Seen;
use super::webhook;
use crate::api::image_batch::ImageBatch;
use crate::api::labels;
use crate::api::progress::Counts;
use crate::api::source::{ConfigMapKey, FailedOf};
use crate::api::stage::Stage;
use crate::api::status::{Failure, Retry};
use crate::api::webhook::SecretKey;
use crate::manifest::report::MAX_STATUS_FAILURES;
use crate::records::result::{IngestResult, ReportResult, Results};

/// Everything a plan is made from, besides the ImageBatch itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observed {
    /// The batch's Jobs that exist.
    pub jobs: BTreeMap<Stage, JobState>,
    /// The Job that works, as Kueue knows it.
    pub working_job: Option<WorkingJob>,
    /// What ingest found, once it has.
    pub ingest: Option<IngestResult>,
    /// The final figures, once the report is written.
    pub report: Option<ReportResult>,
    /// Counts while the batch runs.
    pub progress: Counts,
    /// The first images that failed; looked at only when more have than the status names.
    pub failures: Vec<Failure>,
    /// The ConfigMap source; looked at only as long as no Job reads it.
    pub config_map: Option<ConfigMapState>,
    /// The batch that this one retries; looked at only until it is decided what the retry builds on.
    pub retried: Option<Retried>,
    /// Why the webhook's events cannot be signed; looked at only as long as there is no Job.
    pub webhook_problem: Option<String>,
}

/// A Job as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobState {
    /// Pods that are pending or running.
    pub active: i32,
    /// Pods that run.
    pub ready: i32,
    /// Pods that were told to end and have not yet.
    pub terminating: i32,
    /// Pods that may run at the same time.
    pub parallelism: i32,
    /// How many pods have to complete.
    pub completions: i32,
    /// Whether its pods end and none is started.
    pub suspended: bool,
    /// Seconds until it is stopped.
    pub deadline_seconds: Option<i64>,
    /// Whether it goes once its pods are gone.
    pub deleting: bool,
    /// How it ended; absent while pods of it may still run.
    pub ended: Option<JobEnd>,
}

/// A Job that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkingJob {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Whether its pods may not run now.
    pub suspended: bool,
    /// Whether it names a queue of Kueue's.
    pub queued: bool,
}

/// How a Job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEnd {
    /// Every index completed.
    Complete,
    /// At least one index failed for good.
    Failed,
    /// `activeDeadlineSeconds` was reached.
    DeadlineExceeded,
}

/// A ConfigMap source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigMapState {
    /// It, or its key, does not exist; holds the message.
    Missing(String),
    /// The CSV's size in bytes.
    Present(usize),
}

/// The batch that is to be retried.
#[derive(Debug, Clone, PartialEq)]
pub enum Retried {
    /// It does not exist, or is being deleted; holds the message.
    Missing(String),
    /// It has not ended yet; holds the message.
    Unfinished(String),
    /// It cannot be retried; holds the message.
    Impossible(String),
    /// It can be.
    Ready(Retry),
}

/// Observes a batch; reads only. While a Job works, what its pods have found comes from the look at all running
/// batches, and nothing is read for this one alone.
pub(crate) async fn observe(context: &Context, batch: &ImageBatch) -> Result<Observed, ReconcileError> {
    let Context { client, records, .. } = context;
    let namespace = batch.namespace().unwrap_or_default();
    let uid = batch.uid().unwrap_or_default();
    let JobsOfBatch { states: jobs, working: working_job } = context.jobs.of(batch).await?;
    let (seen, report) = if jobs.is_empty() && batch.status.is_none() {
        // Nobody has begun. If somebody had, and was forgotten, the stage finds its result and does nothing.
        (Seen::default(), None)
    } else if jobs.values().any(|job| job.ended.is_none()) {
        (context.progress.of(records, batch).await?, None)
    } else {
        // Whoever works next has not begun, and who worked before has recorded what it found.
        let Results { ingest, report } = records.results(&uid).await?;
        let is_counted = ingest.is_some() && report.is_none();
        let counts = if is_counted { records.progress(&uid).await? } else { Counts::default() };
        (Seen { ingest, counts }, report)
    };
    let Seen { ingest, counts: progress } = seen;
    let known = batch.status.as_ref().map_or((0, 0), |it| (it.failed, it.failures.len()));
    let failures = if progress.failed > known.0 && known.1 < MAX_STATUS_FAILURES {
        records.first_failures(&uid).await?
    } else {
        Vec::new()
    };
    let config_map = match &batch.spec.source.config_map_key_ref {
        Some(reference) if jobs.is_empty() && ingest.is_none() => {
            Some(observe_config_map(&Api::namespaced(client.clone(), &namespace), reference).await?)
        }
        _ => None,
    };
    let retried = match &batch.spec.source.failed_of {
        Some(FailedOf { name }) if batch.status.as_ref().is_none_or(|it| it.retry.is_none()) => {
            let found = Api::<ImageBatch>::namespaced(client.clone(), &namespace).get_opt(name).await;
            Some(retried(name, found.map_err(ReconcileError::GetBatch)?.as_ref()))
        }
        _ => None,
    };
    let webhook_problem = match &batch.spec.webhook {
        Some(webhook) if jobs.is_empty() && ingest.is_none() => {
            let place = webhook::secret_place(webhook.secret_ref.as_ref());
            signers_at(&Api::namespaced(client.clone(), &namespace), &place).await?.err()
        }
        _ => None,
    };
    Ok(Observed { jobs, working_job, ingest, report, progress, failures, config_map, retried, webhook_problem })
}

fn retried(name: &str, found: Option<&ImageBatch>) -> Retried {
    let Some(earlier) = found.filter(|it| it.metadata.deletion_timestamp.is_none()) else {
        return Retried::Missing(format!("there is no ImageBatch {name:?} in this namespace"));
    };
    let status = earlier.status.clone().unwrap_or_default();
    if !status.is_finished() {
        return Retried::Unfinished(format!("ImageBatch {name:?} has not ended yet"));
    }
    let uid = earlier.uid().unwrap_or_default();
    match status.images_to_retry() {
        Err(problem) => Retried::Impossible(format!("ImageBatch {name:?} cannot be retried: {problem}")),
        Ok(images) => {
            let root = status.retry.map_or_else(|| uid.clone(), |it| it.root);
            Retried::Ready(Retry { of: name.to_owned(), uid, root, images })
        }
    }
}

async fn observe_config_map(api: &Api<ConfigMap>, reference: &ConfigMapKey) -> Result<ConfigMapState, ReconcileError> {
    let ConfigMapKey { name, key } = reference;
    let Some(found) = api.get_opt(name).await.map_err(ReconcileError::GetConfigMap)? else {
        return Ok(ConfigMapState::Missing(format!("there is no ConfigMap {name:?} in this namespace")));
    };
    let text = found.data.as_ref().and_then(|data| data.get(key)).map(String::len);
    let binary = found.binary_data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.len());
    Ok(match text.or(binary) {
        Some(size) => ConfigMapState::Present(size),
        None => ConfigMapState::Missing(format!("ConfigMap {name:?} has no key {key:?}")),
    })
}

/// Returns what signs a webhook's events; the inner error is the user's: no Secret, or no good one.
pub(super) async fn signers_at(
    api: &Api<Secret>,
    place: &SecretKey,
) -> Result<Result<Vec<standardwebhooks::Webhook>, String>, ReconcileError> {
    let SecretKey { name, key } = place;
    let Some(found) = api.get_opt(name).await.map_err(ReconcileError::GetSecret)? else {
        return Ok(Err(format!("there is no Secret {name:?} in this namespace")));
    };
    let Some(value) = found.data.as_ref().and_then(|data| data.get(key)) else {
        return Ok(Err(format!("Secret {name:?} has no key {key:?}")));
    };
    let value = String::from_utf8_lossy(&value.0);
    Ok(webhook::signers(&value).map_err(|error| format!("Secret {name:?}, key {key:?}: {error}")))
}

pub(super) fn stage_of(job: &Job) -> Option<Stage> {
    let label = job.labels().get(labels::STAGE)?;
    Stage::ALL.into_iter().find(|stage| stage.as_str() == label)
}

pub(super) fn state_of(job: &Job) -> JobState {
    let spec = job.spec.clone().unwrap_or_default();
    let status = job.status.clone().unwrap_or_default();
    // `Complete` and `Failed` are set only once no pod is left; what comes before does not count.
    let ended = status.conditions.unwrap_or_default().iter().filter(|it| it.status == "True").find_map(|it| {
        match (it.type_.as_str(), it.reason.as_deref()) {
            ("Complete", _) => Some(JobEnd::Complete),
            ("Failed", Some("DeadlineExceeded")) => Some(JobEnd::DeadlineExceeded),
            ("Failed", _) => Some(JobEnd::Failed),
            _ => None,
        }
    });
    JobState {
        active: status.active.unwrap_or_default(),
        ready: status.ready.unwrap_or_default(),
        terminating: status.terminating.unwrap_or_default(),
        parallelism: spec.parallelism.unwrap_or(1),
        completions: spec.completions.unwrap_or(1),
        suspended: spec.suspend.unwrap_or_default(),
        deadline_seconds: spec.active_deadline_seconds,
        deleting: job.metadata.deletion_timestamp.is_some(),
        ended,
    }
}
