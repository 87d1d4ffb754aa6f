//! The controller: brings ImageBatches to their end by Jobs, and says in their status where they are.
//!
//! ```text
//! ImageBatch -> observe (client) -> plan (pure) -> apply (client) -> status (pure, then client)
//!                  ^ Jobs, records                    Jobs, Events     CR and its mirror in records
//! ```
//!
//! Beside it `deliver` tells webhooks of batches' ends, and `collect` removes uploads that nobody claims.
//!
//! Of several controllers one, the leader, does all of this; the others stand by (`leader`).
//!
//! It never parses user data and never handles image bytes. Any reconcile may be repeated or stopped
//! anywhere: names are deterministic, and results are read from the records, not remembered.

pub mod apply;
mod backoff;
pub mod cleanup;
pub mod collect;
pub mod context;
pub mod deliver;
pub mod error;
pub mod expire;
pub mod health;
pub mod job;
pub mod kueue;
pub mod leader;
pub mod lineage;
mod mode;
pub mod observe;
pub mod places;
pub mod plan;
pub mod pods;
pub mod probe;
pub mod queue;
pub mod status;
pub mod stop;
mod stuck;
mod throughput;
pub mod trouble;
pub mod webhook;
pub mod worker_pod;
mod workers;
pub mod workloads;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::Api;
use kube::runtime::controller::{Action, Config, Controller, Error as ControllerError};
use kube::runtime::finalizer::{Error as FinalizerError, Event, finalizer};
use kube::runtime::watcher;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api::condition::set_condition;
use crate::api::image_batch::ImageBatch;
use crate::api::labels;
use crate::api::status::ImageBatchStatus;
use crate::failpoint;
use crate::records::request::Origin;
use crate::telemetry;
use context::{Context, ControllerArgs, STATUS_INTERVAL};
use error::{RECONCILE_TIMEOUT, ReconcileError};
use leader::Candidate;
use observe::{Observed, Retried, observe};
use plan::{End, Phase, Plan, Subject, plan};

/// Retry of a source that is not there.
const SOURCE_INTERVAL: Duration = Duration::from_secs(5);
const CONCURRENT_RECONCILES: u16 = 8;
/// Longest wait at SIGTERM for reconciles in progress; the kubelet waits 30 s by default.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

/// Connects, makes the indexes, waits until this process is the leader, and works until SIGTERM. Fails, and has
/// stopped everything, when the Lease is lost.
pub async fn serve(args: &ControllerArgs) -> anyhow::Result<()> {
    let client = kube::Client::try_default().await?;
    let context = Arc::new(Context::new(client, args).await?);
    probe::check_worker_pod(&context).await?;
    let candidate = Candidate::new(&args.leader).await?;
    let (ready, is_ready) = watch::channel(false);
    let stop = CancellationToken::new();
    tokio::spawn(cancel_at_shutdown(stop.clone()));
    let health = tokio::spawn(health::serve(args.ops_listen, is_ready, stop.clone().cancelled_owned()));
    tokio::select! {
        () = make_indexes(&context) => {}
        () = stop.cancelled() => return Ok(health.await??),
    }
    ready.send_replace(true);
    let identity = candidate.identity().to_owned();
    tracing::info!(namespaces = ?context.namespaces, cluster_wide = args.cluster_wide, identity, "standing by");
    if let Some(leadership) = candidate.acquire(&stop).await {
        tracing::info!(identity, "leading: work starts");
        let result = leadership.during(work(args, &context, &stop)).await;
        tracing::info!(identity, "work has stopped");
        result?;
    }
    Ok(health.await??)
}

async fn cancel_at_shutdown(stop: CancellationToken) {
    telemetry::shutdown().await;
    stop.cancel();
}

async fn make_indexes(context: &Context) {
    while let Err(error) = context.records.ensure_indexes().await {
        tracing::warn!(error = &error as &dyn std::error::Error, "MongoDB is not ready, trying again");
        tokio::time::sleep(SOURCE_INTERVAL).await;
    }
}

/// What the leader does until `stop`; fails when reconciles do not end then.
async fn work(args: &ControllerArgs, context: &Arc<Context>, stop: &CancellationToken) -> anyhow::Result<()> {
    let grace = Duration::from_secs(args.upload_grace_seconds);
    let reconciles = watched(args, context).into_iter();
    let reconciles = reconciles.map(|it| run(it, Arc::clone(context), stop.clone().cancelled_owned()));
    tokio::select! {
        _ = join_all(reconciles) => Ok(()),
        () = collect_again_and_again(context, grace) => Ok(()),
        () = deliver::run(context) => Ok(()),
        () = workloads::run(context) => Ok(()),
        () = async {
            stop.cancelled().await;
            tokio::time::sleep(DRAIN_TIMEOUT).await;
        } => anyhow::bail!("reconciles did not end within {} s after SIGTERM", DRAIN_TIMEOUT.as_secs()),
    }
}

/// Returns the ImageBatches to watch: all, or those of each namespace where there is no right to more.
fn watched(args: &ControllerArgs, context: &Context) -> Vec<Api<ImageBatch>> {
    let client = || context.client.clone();
    if args.cluster_wide {
        return vec![Api::all(client())];
    }
    context.namespaces.iter().map(|namespace| Api::namespaced(client(), namespace)).collect()
}

async fn collect_again_and_again(context: &Context, grace: Duration) {
    loop {
        if let Err(error) = collect::collect_uploads(context, grace).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "failed to collect unclaimed uploads");
        }
        tokio::time::sleep(collect::INTERVAL).await;
    }
}

/// Brings these ImageBatches to their end until `shutdown`, then lets reconciles in progress end.
pub async fn run(
    batches: Api<ImageBatch>,
    context: Arc<Context>,
    shutdown: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let watched = batches.namespace().map(str::to_owned);
    let mut controller = Controller::new(batches, watcher::Config::default())
        .with_config(Config::default().concurrency(CONCURRENT_RECONCILES))
        .graceful_shutdown_on(shutdown);
    let managed = format!("app.kubernetes.io/managed-by={}", labels::CONTROLLER);
    // Those of the batches that are watched.
    for namespace in context.namespaces.iter().filter(|it| watched.as_ref().is_none_or(|watched| watched == *it)) {
        let jobs = Api::<Job>::namespaced(context.client.clone(), namespace);
        controller = controller.owns(jobs, watcher::Config::default().labels(&managed));
    }
    let turns = context.places.open(controller.store());
    let changes = context.workloads.changes();
    let work = controller
        .reconcile_on(turns)
        .reconcile_on(changes)
        .run(reconcile, error_policy, Arc::clone(&context))
        .for_each(|result| async move {
            // Errors of reconciles are logged by the policy; these are the watches'.
            match result {
                Ok(_) | Err(ControllerError::ReconcilerFailed(..) | ControllerError::ObjectNotFound(_)) => {}
                Err(error) => tracing::warn!(%error, "a watch failed, it starts again"),
            }
        });
    work.await;
}

/// Brings one batch a step further.
pub async fn reconcile(batch: Arc<ImageBatch>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let uid = batch.uid().unwrap_or_default();
    let reconciled = reconcile_batch(Arc::clone(&batch), Arc::clone(&context));
    let result = tokio::time::timeout(RECONCILE_TIMEOUT, reconciled).await.unwrap_or(Err(ReconcileError::Timeout));
    match &result {
        Ok(_) => context.backoff.forget(&uid),
        Err(error) => trouble::report(&context, &batch, error, context.backoff.note_failure(&uid)).await,
    }
    result
}

async fn reconcile_batch(batch: Arc<ImageBatch>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let namespace = batch.namespace().unwrap_or_default();
    if !context.is_enabled(&namespace) && batch.metadata.deletion_timestamp.is_none() {
        return advance(&batch, &context).await;
    }
    let api = Api::<ImageBatch>::namespaced(context.client.clone(), &namespace);
    finalizer(&api, labels::FINALIZER, batch, |event| async {
        match event {
            Event::Apply(batch) => advance(&batch, &context).await,
            Event::Cleanup(batch) => {
                let now = Time(Timestamp::now());
                failpoint::around("batch.cleanup", cleanup::clean_up(&context, &batch, now)).await?;
                let uid = batch.uid().unwrap_or_default();
                context.note_written(&uid, true);
                context.looks.forget(&uid);
                context.places.leave(&uid);
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
        context.places.leave(&batch.uid().unwrap_or_default());
        return expire::expire(context, batch, Timestamp::now()).await;
    }
    let (uid, namespace) = (batch.uid().unwrap_or_default(), batch.namespace().unwrap_or_default());
    let enabled = context.is_enabled(&namespace);
    let mut observed =
        if enabled { observe(&context.client, &context.records, batch).await? } else { Observed::default() };
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
        Some(step) => apply::apply_step(context, batch, step).await,
        None => Ok(()),
    };
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
        apply::publish_changes(&context.recorder, batch, &status).await;
        apply::apply_status(&context.client, batch, &status).await?;
        context.note_written(&uid, status.is_finished());
    }
    stepped.map(|()| next(&plan, &observed))
}

/// Whether the batch ended because its events cannot be signed.
fn is_unsigned(plan: &Plan) -> bool {
    matches!(plan.phase, Phase::Ended(End::WebhookRefused(_)))
}

fn is_mere_progress(before: &ImageBatchStatus, after: &ImageBatchStatus) -> bool {
    before.conditions == after.conditions && before.observed_generation == after.observed_generation
}

fn next(plan: &Plan, observed: &Observed) -> Action {
    match &plan.phase {
        // Pods that do not end.
        Phase::Suspended if observed.jobs.values().any(workers::looks_wrong) => Action::requeue(STATUS_INTERVAL),
        Phase::Ended(_) | Phase::Suspended => Action::await_change(),
        Phase::Queued { reason, position, .. } => Action::requeue(queue::interval(reason, *position)),
        Phase::WaitingForSource { .. } => Action::requeue(SOURCE_INTERVAL),
        _ => Action::requeue(STATUS_INTERVAL),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the controller hands it over like this")]
fn error_policy(batch: Arc<ImageBatch>, error: &ReconcileError, context: Arc<Context>) -> Action {
    let wait = context.backoff.delay(&batch.uid().unwrap_or_default(), trouble::ceiling(error));
    let (name, namespace) = (batch.name_any(), batch.namespace());
    if matches!(error, ReconcileError::JobsRemain(_) | ReconcileError::ObjectsRemain) {
        tracing::debug!(batch.name = name, batch.namespace = namespace, %error, "a deleted batch is not gone yet");
        return Action::requeue(wait);
    }
    if matches!(error, ReconcileError::Outdated(_)) {
        tracing::debug!(batch.name = batch.name_any(), "the batch changed while it was reconciled");
        return Action::requeue(Duration::from_secs(1));
    }
    let error = error as &dyn std::error::Error;
    tracing::warn!(batch.name = name, batch.namespace = namespace, error, ?wait, "reconcile failed");
    Action::requeue(wait)
}
