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
pub mod batches;
mod census;
pub mod cleanup;
pub mod client;
pub mod collect;
pub mod context;
pub mod deliver;
pub mod error;
mod events;
pub mod expire;
pub mod health;
pub mod job;
pub mod jobs;
pub mod kueue;
pub mod leader;
pub mod lineage;
pub mod list;
mod mode;
pub mod observe;
pub mod places;
pub mod plan;
pub mod pods;
pub mod probe;
pub mod progress;
pub mod queue;
mod reconcile;
mod spans;
pub mod status;
pub mod stop;
mod stuck;
mod tally;
mod throughput;
pub mod trouble;
pub mod webhook;
pub mod worker_pod;
mod workers;
pub mod workloads;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::api::Api;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::controller::{Config, Controller, Error as ControllerError};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::api::image_batch::ImageBatch;
use crate::telemetry;
use context::{Context, ControllerArgs};
use leader::Candidate;
use reconcile::error_policy;
pub use reconcile::reconcile;

/// Time until MongoDB is asked for its indexes again.
const INDEXES_INTERVAL: Duration = Duration::from_secs(5);
/// Longest wait at SIGTERM for reconciles in progress; the kubelet waits 30 s by default.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

/// Connects, makes the indexes, waits until this process is the leader, and works until SIGTERM. Fails, and has
/// stopped everything, when the Lease is lost.
pub async fn serve(args: &ControllerArgs) -> anyhow::Result<()> {
    let client = client::connect().await?;
    let context = Arc::new(Context::new(client, args).await?);
    probe::check_worker_pod(&context).await?;
    let candidate = Candidate::new(&args.leader, &context.metrics.leader).await?;
    let (ready, is_ready) = watch::channel(false);
    let stop = CancellationToken::new();
    tokio::spawn(cancel_at_shutdown(stop.clone()));
    let metrics = Arc::clone(&context.metrics);
    let health = tokio::spawn(health::serve(args.ops_listen, is_ready, metrics, stop.clone().cancelled_owned()));
    tokio::select! {
        () = make_indexes(&context) => {}
        () = stop.cancelled() => return Ok(health.await??),
    }
    ready.send_replace(true);
    let identity = candidate.identity().to_owned();
    tracing::info!(namespaces = ?context.namespaces, cluster_wide = args.cluster_wide, identity, "standing by");
    if let Some(leadership) = candidate.acquire(&stop).await {
        tracing::info!(identity, "leading: work starts");
        let result = leadership.during(Box::pin(work(args, &context, &stop))).await;
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
        tokio::time::sleep(INDEXES_INTERVAL).await;
    }
}

/// What the leader does until `stop`; fails when reconciles do not end then.
async fn work(args: &ControllerArgs, context: &Arc<Context>, stop: &CancellationToken) -> anyhow::Result<()> {
    let grace = Duration::from_secs(args.upload_grace_seconds);
    let batches = watched(args, context);
    tokio::select! {
        () = run(&batches, Arc::clone(context), stop.clone().cancelled_owned()) => Ok(()),
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

/// Brings these ImageBatches to their end until `shutdown`, then lets reconciles in progress end. Once for a
/// context.
pub async fn run(
    batches: &[Api<ImageBatch>],
    context: Arc<Context>,
    shutdown: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let known = Arc::clone(&context.batches);
    context.metrics.count_batches_by(move || census::census_of(&known));
    let (batches, unreadable) = batches::watch(&context, batches);
    let controller = Controller::for_stream(batches, context.batches.open())
        .with_config(Config::default().concurrency(context.concurrent_reconciles))
        .reconcile_on(jobs::watch(&context))
        .reconcile_on(progress::watch(&context))
        .reconcile_on(context.places.open(context.batches.open()))
        .reconcile_on(context.workloads.changes())
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
        let span = spans::of_object(&invalid.metadata);
        events::publish_unreadable(&context.recorder, &invalid).instrument(span).await;
    }
    // Its sender goes with the watch, whose end is the controller's to tell.
    std::future::pending::<()>().await;
}
