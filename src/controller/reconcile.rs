//! One reconcile: what is the case, what follows from it, and what is said of it.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::Api;
use kube::runtime::controller::Action;
use kube::runtime::finalizer::{Error as FinalizerError, Event, finalizer};
use tracing::Instrument;

use super::context::{Context, OWN_WRITE, STATUS_INTERVAL};
use super::error::{RECONCILE_TIMEOUT, ReconcileError};
use super::observe::{Observed, Retried, observe};
use super::plan::{End, Phase, Plan, Step, Subject, plan};
use super::progress::Seen;
use super::{
    apply, census, cleanup, events, expire, lineage, queue, spans, status, stop, tally, trouble, webhook, workers,
};
use crate::api::condition::set_condition;
use crate::api::image_batch::ImageBatch;
use crate::api::labels;
use crate::api::status::ImageBatchStatus;
use crate::failpoint;
use crate::records::request::Origin;

/// Retry of a source that is not there.
const SOURCE_INTERVAL: Duration = Duration::from_secs(5);
/// While more batches come than can be reconciled, their first status waits for so long at most.
const FIRST_STATUS: Duration = Duration::from_secs(60);
const FIRST_STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// A batch whose Job works changes by events; this is for what no event tells.
const RUNNING_INTERVAL: Duration = Duration::from_secs(10);

/// Brings one batch a step further.
pub async fn reconcile(batch: Arc<ImageBatch>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let metered = tally::Reconcile::start(&context.metrics);
    let _reconciling = context.reconciling();
    let span = spans::of_batch(&batch);
    let uid = batch.uid().unwrap_or_default();
    let reconcile = async {
        let reconciled = reconcile_batch(Arc::clone(&batch), &context);
        let result = tokio::time::timeout(RECONCILE_TIMEOUT, reconciled).await.unwrap_or(Err(ReconcileError::Timeout));
        match &result {
            Ok(_) => context.backoff.forget(&uid),
            Err(error) => trouble::report(&context, &batch, error, context.backoff.note_failure(&uid)).await,
        }
        result
    };
    let result = reconcile.instrument(span).await;
    metered.end(result.as_ref().err());
    result
}

async fn reconcile_batch(batch: Arc<ImageBatch>, context: &Context) -> Result<Action, ReconcileError> {
    let namespace = batch.namespace().unwrap_or_default();
    let uid = batch.uid().unwrap_or_default();
    if context.is_behind(&uid, batch.metadata.resource_version.as_deref()) {
        return Ok(Action::requeue(OWN_WRITE));
    }
    let is_wanted = batch.metadata.deletion_timestamp.is_none();
    if is_wanted && !context.is_enabled(&namespace) {
        return advance(&batch, context).await;
    }
    let api = Api::<ImageBatch>::namespaced(context.client.clone(), &namespace);
    if is_wanted && !apply::has_finalizer(&batch) {
        let Some(batch) = apply::add_finalizer(&api, &batch).await? else { return Ok(Action::await_change()) };
        context.note_written(&uid, batch.metadata.resource_version.as_deref());
        return advance(&batch, context).await;
    }
    finalizer(&api, labels::FINALIZER, batch, |event| async {
        match event {
            Event::Apply(batch) => advance(&batch, context).await,
            Event::Cleanup(batch) => {
                let now = Time(Timestamp::now());
                failpoint::around("batch.cleanup", cleanup::clean_up(context, &batch, now)).await?;
                context.forget(&uid);
                Ok(Action::await_change())
            }
        }
    })
    .await
    .map_err(|error| match error {
        FinalizerError::ApplyFailed(error) | FinalizerError::CleanupFailed(error) => error,
        error => ReconcileError::Finalizer(Box::new(error)),
    })
}

async fn advance(batch: &ImageBatch, context: &Context) -> Result<Action, ReconcileError> {
    let before = batch.status.clone().unwrap_or_default();
    if before.is_finished() {
        context.forget(&batch.uid().unwrap_or_default());
        return expire::expire(context, batch, Timestamp::now()).await;
    }
    let (uid, namespace) = (batch.uid().unwrap_or_default(), batch.namespace().unwrap_or_default());
    let enabled = context.is_enabled(&namespace);
    let mut observed = if enabled { observe(context, batch).await? } else { Observed::default() };
    // What the status says already is not taken back, also when the shards' counts are gone.
    observed.progress = observed.progress.max(before.counts());
    let workers = workers::observe(context, batch, &observed.jobs).await;
    let now = Time(Timestamp::now());
    let deadline = stop::deadline(batch, now.0);
    let retry = before.retry.as_ref();
    let plan = plan(Subject { spec: &batch.spec, retry, enabled, deadline }, &observed, now.0);
    let plan = queue::take_turn(context, batch, &observed, plan).await;
    if let Some(Retried::Ready(retry)) = &observed.retried {
        lineage::note_retry(context, batch, retry).await?;
    }
    let stepped = match &plan.step {
        Some(step) => take_step(context, batch, step, &observed).await,
        None => Ok(()),
    };
    let is_first = before.start_time.is_none();
    if is_first && context.is_saturated() && census::age(batch, now.0) < FIRST_STATUS {
        // The Jobs of those that wait come before what is said of this one, which is then said once with its pod.
        return stepped.map(|()| Action::requeue(FIRST_STATUS_INTERVAL));
    }
    let created = plan.step.as_ref().filter(|_| stepped.is_ok()).and_then(|step| match step {
        Step::Start { stage, .. } => Some(*stage),
        _ => None,
    });
    for stage in created.into_iter().chain(observed.jobs.keys().copied().filter(|_| is_first)) {
        events::publish_job(&context.recorder, batch, stage).await;
    }
    let keys = context.storage.keys().batch_or_retry(&namespace, &uid, retry);
    let mut status = status::compute_status(batch, &keys, &observed, &plan, &now);
    // A step that failed is told of after this; what is known of the batch is written all the same.
    let recovery = trouble::recovery(&before).filter(|_| stepped.is_ok());
    let of_workers = workers.iter().flat_map(|it| workers::statements(&before, it, context.stuck_after));
    for statement in of_workers.chain(recovery) {
        set_condition(&mut status.conditions, statement, batch.metadata.generation, &now);
    }
    if status != before {
        if let Some(wait) = context.hold_back(&uid).filter(|_| is_mere_progress(&before, &status)) {
            return stepped.map(|()| Action::requeue(wait));
        }
        if status.is_finished() {
            failpoint::around("progress.delete", context.records.delete_progress(&uid)).await?;
            if let Some(event) = webhook::event(batch, &status, now.0).filter(|_| !is_unsigned(&plan)) {
                failpoint::around("outbox.insert", context.records.insert_delivery(&event)).await?;
            }
        }
        // The mirror first: once the ImageBatch says Finished, nobody comes back to repair it.
        let origin = Origin::of(batch);
        failpoint::around("status.mirror", context.records.mirror_status(&uid, &origin, &status)).await?;
        // Events before the status, so that who waits for Finished finds them all.
        events::publish_changes(&context.recorder, batch, &status).await;
        let version = apply::apply_status(&context.client, batch, &status).await?;
        context.tally.note_status(batch, &status);
        context.note_written(&uid, version.as_deref());
    }
    stepped.map(|()| next(context, batch, &plan, &observed))
}

/// Carries out a step, and remembers what its Job is since.
async fn take_step(
    context: &Context,
    batch: &ImageBatch,
    step: &Step,
    observed: &Observed,
) -> Result<(), ReconcileError> {
    if let Some(job) = apply::apply_step(context, batch, step).await? {
        context.jobs.note(&job);
        context.note_begun();
        context.progress.begin(batch, Seen { ingest: observed.ingest.clone(), counts: observed.progress });
    }
    context.tally.note_step(batch, step);
    Ok(())
}

/// Whether the batch ended because its events cannot be signed.
fn is_unsigned(plan: &Plan) -> bool {
    matches!(plan.phase, Phase::Ended(End::WebhookRefused(_)))
}

fn is_mere_progress(before: &ImageBatchStatus, after: &ImageBatchStatus) -> bool {
    before.conditions == after.conditions && before.observed_generation == after.observed_generation
}

/// When to look again by itself; before that, a change of the ImageBatch, its Jobs or its progress comes.
fn next(context: &Context, batch: &ImageBatch, plan: &Plan, observed: &Observed) -> Action {
    // Pods that do not start or do not end.
    let is_odd = observed.jobs.values().any(workers::looks_wrong);
    let runs = plan.step.is_some() || observed.jobs.values().any(|job| job.ended.is_none());
    match &plan.phase {
        Phase::Queued { reason, position, .. } => Action::requeue(queue::interval(reason, *position)),
        Phase::WaitingForSource { .. } => Action::requeue(SOURCE_INTERVAL),
        _ if is_odd => Action::requeue(context.looks.next(&batch.uid().unwrap_or_default())),
        Phase::Ended(_) | Phase::Suspended => Action::await_change(),
        _ if runs => Action::requeue(RUNNING_INTERVAL),
        _ => Action::requeue(STATUS_INTERVAL),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the controller hands it over like this")]
pub(super) fn error_policy(batch: Arc<ImageBatch>, error: &ReconcileError, context: Arc<Context>) -> Action {
    let _in = spans::of_batch(&batch).entered();
    let wait = context.backoff.delay(&batch.uid().unwrap_or_default(), trouble::ceiling(error));
    if matches!(error, ReconcileError::JobsRemain(_) | ReconcileError::ObjectsRemain) {
        tracing::debug!(%error, "a deleted batch is not gone yet");
        return Action::requeue(wait);
    }
    if matches!(error, ReconcileError::Outdated(_)) {
        tracing::debug!("the batch changed while it was reconciled");
        return Action::requeue(Duration::from_secs(1));
    }
    let error = error as &dyn std::error::Error;
    tracing::warn!(error, ?wait, "reconcile failed");
    Action::requeue(wait)
}
