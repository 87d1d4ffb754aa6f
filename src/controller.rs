//! The controller: brings ImageBatches to their end by Jobs, and says in their status where they are.
//!
//! ```text
//! ImageBatch -> observe (client) -> plan (pure) -> apply (client) -> status (pure, then client)
//!                  ^ Jobs, records                    Jobs, Events     CR and its mirror in records
//! ```
//!
//! Beside it `deliver` tells webhooks of batches' ends, and `collect` removes uploads that nobody claims.
//!
//! It never parses user data and never handles image bytes. Any reconcile may be repeated or stopped
//! anywhere: names are deterministic, and results are read from the records, not remembered.

pub mod apply;
pub mod batches;
pub mod cleanup;
pub mod client;
pub mod collect;
pub mod context;
pub mod deliver;
pub mod error;
pub mod health;
pub mod job;
pub mod jobs;
pub mod lineage;
pub mod list;
pub mod observe;
pub mod plan;
pub mod progress;
pub mod status;
pub mod webhook;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::Api;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::controller::{Action, Config, Controller, Error as ControllerError};
use kube::runtime::finalizer::{Error as FinalizerError, Event, finalizer};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::api::image_batch::ImageBatch;
use crate::api::labels;
use crate::api::status::ImageBatchStatus;
use crate::failpoint;
use crate::records::request::Origin;
use crate::telemetry;
use context::{Context, ControllerArgs, OWN_WRITE, STATUS_INTERVAL};
use error::{RECONCILE_TIMEOUT, ReconcileError};
use observe::{Observed, Retried, observe};
use plan::{End, Phase, Plan, Step, Subject, plan};
use progress::Seen;

/// Retry of a source that is not there.
const SOURCE_INTERVAL: Duration = Duration::from_secs(5);
/// While more batches come than can be reconciled, their first status waits for so long at most.
const FIRST_STATUS: SignedDuration = SignedDuration::from_secs(30);
const FIRST_STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// A batch whose Job works changes by events; this is for what no event tells, such as a deadline.
const RUNNING_INTERVAL: Duration = Duration::from_secs(10);

/// Connects, makes the indexes, and runs until SIGTERM.
pub async fn serve(args: &ControllerArgs) -> anyhow::Result<()> {
    let client = client::connect().await?;
    let context = Arc::new(Context::new(client, args).await?);
    let (ready, is_ready) = watch::channel(false);
    let stop = CancellationToken::new();
    let health = tokio::spawn(health::serve(args.ops_listen, is_ready, stop.clone().cancelled_owned()));
    let work = async {
        while let Err(error) = context.records.ensure_indexes().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "MongoDB is not ready, trying again");
            tokio::time::sleep(SOURCE_INTERVAL).await;
        }
        ready.send_replace(true);
        tracing::info!(namespaces = ?context.namespaces, "controller started");
        let batches = [Api::all(context.client.clone())];
        let grace = Duration::from_secs(args.upload_grace_seconds);
        tokio::select! {
            () = run(&batches, Arc::clone(&context), stop.clone().cancelled_owned()) => {}
            () = collect_again_and_again(&context, grace) => {}
            () = deliver::run(&context) => {}
        }
    };
    let mut work = std::pin::pin!(work);
    tokio::select! {
        () = &mut work => {}
        () = telemetry::shutdown() => {
            stop.cancel();
            work.await;
        }
    }
    stop.cancel();
    Ok(health.await??)
}

async fn collect_again_and_again(context: &Context, grace: Duration) {
    loop {
        if let Err(error) = collect::collect_uploads(context, grace).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "failed to collect unclaimed uploads");
        }
        tokio::time::sleep(collect::INTERVAL).await;
    }
}

/// Brings these ImageBatches to their end until `shutdown`, then lets reconciles in progress end. Once for a
/// context.
pub async fn run(
    batches: &[Api<ImageBatch>],
    context: Arc<Context>,
    shutdown: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let (batches, unreadable) = batches::watch(&context, batches);
    let controller = Controller::for_stream(batches, context.batches.open())
        .with_config(Config::default().concurrency(context.concurrent_reconciles))
        .reconcile_on(jobs::watch(&context))
        .reconcile_on(progress::watch(&context))
        .graceful_shutdown_on(shutdown)
        .run(reconcile, error_policy, Arc::clone(&context))
        .for_each(|result| async move {
            // Errors of reconciles are logged by the policy, those of watches where they are watched.
            match result {
                Ok(_) | Err(ControllerError::ReconcilerFailed(..) | ControllerError::ObjectNotFound(_)) => {}
                Err(error) => tracing::error!(%error, "the controller's queue failed"),
            }
        });
    tokio::select! {
        () = controller => {}
        () = tell_of_unreadable(&context, unreadable) => {}
    }
}

async fn tell_of_unreadable(context: &Context, mut unreadable: mpsc::Receiver<InvalidObject>) {
    while let Some(invalid) = unreadable.recv().await {
        apply::publish_unreadable(&context.recorder, &invalid).await;
    }
    // Its sender goes with the watch, whose end is the controller's to tell.
    std::future::pending::<()>().await;
}

/// Brings one batch a step further.
pub async fn reconcile(batch: Arc<ImageBatch>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let _reconciling = context.reconciling();
    tokio::time::timeout(RECONCILE_TIMEOUT, reconcile_batch(batch, &context))
        .await
        .map_err(|_| ReconcileError::Timeout)?
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
        return Ok(Action::await_change());
    }
    let (uid, namespace) = (batch.uid().unwrap_or_default(), batch.namespace().unwrap_or_default());
    let enabled = context.is_enabled(&namespace);
    let observed = if enabled { observe(context, batch).await? } else { Observed::default() };
    let now = Time(Timestamp::now());
    let start = before.start_time.as_ref().map_or(now.0, |it| it.0);
    let deadline = start.saturating_add(SignedDuration::from_secs(batch.spec.active_deadline_seconds)).unwrap_or(start);
    let retry = before.retry.as_ref();
    let plan = plan(Subject { spec: &batch.spec, retry, enabled, deadline }, &observed, now.0);
    if let Some(Retried::Ready(retry)) = &observed.retried {
        lineage::note_retry(context, batch, retry).await?;
    }
    let mut created = None;
    if let Some(step) = &plan.step
        && let Some(job) = apply::apply_step(&context.client, &context.worker, batch, step).await?
    {
        context.jobs.note(&job);
        context.progress.begin(batch, Seen { ingest: observed.ingest.clone(), counts: observed.progress });
        created = if let &Step::Start { stage, .. } = step { Some(stage) } else { None };
    }
    let is_first = before.start_time.is_none();
    if is_first && context.is_saturated() && age(batch, now.0) < FIRST_STATUS {
        // The Jobs of those that wait come before what is said of this one, which is then said once with its pod.
        return Ok(Action::requeue(FIRST_STATUS_INTERVAL));
    }
    for stage in created.into_iter().chain(observed.jobs.keys().copied().filter(|_| is_first)) {
        apply::publish_job(&context.recorder, batch, stage).await;
    }
    let keys = context.storage.keys().batch_or_retry(&namespace, &uid, retry);
    let status = status::compute_status(batch, &keys, &observed, &plan, &now);
    if status != before {
        if let Some(wait) = context.hold_back(&uid).filter(|_| is_mere_progress(&before, &status)) {
            return Ok(Action::requeue(wait));
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
        apply::publish_changes(&context.recorder, batch, &status).await;
        let version = apply::apply_status(&context.client, batch, &status).await?;
        context.note_written(&uid, version.as_deref());
        if status.is_finished() {
            context.forget(&uid);
        }
    }
    Ok(next(&plan, &observed))
}

fn age(batch: &ImageBatch, now: Timestamp) -> SignedDuration {
    batch.creation_timestamp().map_or(SignedDuration::MAX, |created| now.duration_since(created.0))
}

/// Whether the batch ended because its events cannot be signed.
fn is_unsigned(plan: &Plan) -> bool {
    matches!(plan.phase, Phase::Ended(End::WebhookRefused(_)))
}

fn is_mere_progress(before: &ImageBatchStatus, after: &ImageBatchStatus) -> bool {
    before.conditions == after.conditions && before.observed_generation == after.observed_generation
}

/// When to look again by itself; before that, a change of the ImageBatch, its Jobs or its progress comes.
fn next(plan: &Plan, observed: &Observed) -> Action {
    match plan.phase {
        Phase::Ended(_) => Action::await_change(),
        Phase::WaitingForSource { .. } => Action::requeue(SOURCE_INTERVAL),
        _ if plan.step.is_some() || observed.jobs.values().any(|job| job.ended.is_none()) => {
            Action::requeue(RUNNING_INTERVAL)
        }
        _ => Action::requeue(STATUS_INTERVAL),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the controller hands it over like this")]
fn error_policy(batch: Arc<ImageBatch>, error: &ReconcileError, _: Arc<Context>) -> Action {
    if let ReconcileError::JobsRemain(jobs) = error {
        tracing::debug!(batch.name = batch.name_any(), jobs, "waiting for the Jobs of a deleted batch");
        return Action::requeue(Duration::from_secs(1));
    }
    let error = error as &dyn std::error::Error;
    tracing::warn!(batch.name = batch.name_any(), batch.namespace = batch.namespace(), error, "reconcile failed");
    Action::requeue(Duration::from_secs(5))
}
