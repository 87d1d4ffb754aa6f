//! Clients and settings of the controller, what its watches know, and when each batch's status was last written.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use k8s_openapi::jiff::SignedDuration;
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};

use super::backoff::Backoff;
use super::batches::Batches;
use super::job::WorkerArgs;
use super::jobs::{Jobs, version_of};
use super::leader::LeaderArgs;
use super::places::Places;
use super::progress::Progress;
use super::tally::Tally;
use super::trouble::TroubleArgs;
use super::workers::Looks;
use super::workloads::Workloads;
use crate::api::labels;
use crate::egress::{Egress, EgressArgs};
use crate::metrics::controller::ControllerMetrics;
use crate::records::{Patience, Records, RecordsArgs};
use crate::storage::{Storage, StorageArgs};

/// A batch's status is written at most this often while only its counts change.
pub(super) const STATUS_INTERVAL: Duration = Duration::from_secs(2);
/// Storage is asked again for so long: a reconcile that waits for it keeps others from being reconciled, and
/// comes again.
const STORAGE_PATIENCE: Duration = Duration::from_secs(5);
/// So many Jobs that are created or changed in so short a time are a burst.
const BURST: usize = 16;
const BURST_TIME: Duration = Duration::from_secs(2);
/// The watch is waited for that long to show what was written.
pub(super) const OWN_WRITE: Duration = Duration::from_secs(2);

/// Runs the controller.
#[derive(Args, Debug)]
pub struct ControllerArgs {
    /// Namespaces in which ImageBatches are worked on.
    #[arg(long, env = "IMAGEBATCH_NAMESPACES", value_delimiter = ',', required = true)]
    pub namespaces: Vec<String>,
    /// Whether ImageBatches of all namespaces are watched, so that those elsewhere are told why nothing happens to
    /// them. Otherwise only those of the namespaces, which needs no right beyond them.
    #[arg(long, env = "IMAGEBATCH_CLUSTER_WIDE", default_value_t = true, action = clap::ArgAction::Set)]
    pub cluster_wide: bool,
    /// Which of several controllers works.
    #[command(flatten)]
    pub leader: LeaderArgs,
    /// Address of /livez, /readyz and /metrics.
    #[arg(long, env = "IMAGEBATCH_OPS_LISTEN", default_value = "127.0.0.1:8081")]
    pub ops_listen: std::net::SocketAddr,
    /// Seconds after which an uploaded CSV that no ImageBatch claims is removed.
    #[arg(long, env = "IMAGEBATCH_UPLOAD_GRACE_SECONDS", default_value_t = 3_600, value_parser = clap::value_parser!(u64).range(600..=2_592_000))]
    pub upload_grace_seconds: u64,
    /// What the controller puts up with, and for how long.
    #[command(flatten)]
    pub trouble: TroubleArgs,
    /// Most batches that are worked on at the same time, the oldest first; 0 means any number. Those in a queue
    /// of Kueue's do not count.
    #[arg(long, env = "IMAGEBATCH_MAX_ACTIVE_BATCHES", default_value_t = 0)]
    pub max_active_batches: usize,
    /// Serve batches in queues of Kueue's; needs the right to list, watch and patch its Workloads.
    #[arg(long, env = "IMAGEBATCH_KUEUE", action = clap::ArgAction::Set, default_value_t = false)]
    pub kueue: bool,
    /// ImageBatches that are reconciled at the same time.
    #[arg(long, env = "IMAGEBATCH_CONCURRENT_RECONCILES", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrent_reconciles: u16,
    /// How the pods of Jobs are made.
    #[command(flatten)]
    pub worker: WorkerArgs,
    /// Object storage, for clean-up.
    #[command(flatten)]
    pub storage: StorageArgs,
    /// MongoDB.
    #[command(flatten)]
    pub records: RecordsArgs,
    /// Outbound requests, to webhooks.
    #[command(flatten)]
    pub egress: EgressArgs,
}

/// Clients and settings of a reconcile.
pub struct Context {
    pub(crate) client: Client,
    pub(crate) records: Records,
    pub(crate) storage: Storage,
    pub(super) egress: Egress,
    pub(super) namespaces: BTreeSet<String>,
    pub(super) worker: WorkerArgs,
    pub(super) recorder: Recorder,
    /// How long a pod may be late before it is deleted by force; `None`: for ever.
    pub(super) stuck_after: Option<SignedDuration>,
    /// How long a clean-up may fail before it is given up; `None`: for ever.
    pub(super) give_up_after: Option<SignedDuration>,
    pub(super) backoff: Backoff,
    pub(super) looks: Looks,
    /// Who may be worked on at the same time.
    pub(super) places: Places,
    /// What Kueue says of the Jobs in its queues.
    pub(super) workloads: Workloads,
    /// What Prometheus reads.
    pub metrics: Arc<ControllerMetrics>,
    pub(super) tally: Tally,
    pub(super) concurrent_reconciles: u16,
    /// What the watch of ImageBatches knows.
    pub(super) batches: Arc<Batches>,
    /// What the watches of Jobs know.
    pub(super) jobs: Jobs,
    /// What the last look at the records saw of running batches.
    pub(super) progress: Progress,
    /// When Jobs were created or changed, in the last seconds.
    begun: Mutex<Vec<Instant>>,
    /// Reconciles that go on now.
    reconciling: AtomicUsize,
    /// When a batch was last written, to hold back mere progress, and the version it has since.
    written: Mutex<HashMap<String, (Instant, u64)>>,
}

impl Context {
    /// Connects to MongoDB and object storage, both lazily.
    pub async fn new(client: Client, args: &ControllerArgs) -> anyhow::Result<Self> {
        args.worker.check().context("the settings of the worker pods (the chart's value worker)")?;
        let metrics = Arc::new(ControllerMetrics::default());
        let reporter = Reporter { controller: labels::CONTROLLER.to_owned(), instance: std::env::var("HOSTNAME").ok() };
        Ok(Self {
            records: Records::new(&args.records, Patience::Short).await?,
            storage: Storage::with_retries(&args.storage, STORAGE_PATIENCE)?,
            egress: Egress::new(&args.egress)?,
            namespaces: args.namespaces.iter().cloned().collect(),
            worker: args.worker.clone(),
            recorder: Recorder::new(client.clone(), reporter),
            stuck_after: limit(args.trouble.stuck_pod_seconds),
            give_up_after: limit(args.trouble.cleanup_give_up_seconds),
            backoff: Backoff::default(),
            looks: Looks::default(),
            places: Places::new(args.max_active_batches),
            workloads: Workloads::new(args.kueue),
            concurrent_reconciles: args.concurrent_reconciles,
            batches: Arc::default(),
            jobs: Jobs::default(),
            progress: Progress::default(),
            begun: Mutex::default(),
            reconciling: AtomicUsize::new(0),
            written: Mutex::default(),
            tally: Tally::new(Arc::clone(&metrics)),
            metrics,
            client,
        })
    }

    pub(crate) fn is_enabled(&self, namespace: &str) -> bool {
        self.namespaces.contains(namespace)
    }

    /// Counts a reconcile as long as the guard is held.
    pub(super) fn reconciling(&self) -> Reconciling<'_> {
        self.reconciling.fetch_add(1, Ordering::Relaxed);
        Reconciling(&self.reconciling)
    }

    /// Whether batches wait for a place to be reconciled in, or so many have just begun that more are to be expected.
    pub(super) fn is_saturated(&self) -> bool {
        let has_burst = || self.begun().iter().filter(|at| at.elapsed() < BURST_TIME).count() >= BURST;
        self.reconciling.load(Ordering::Relaxed) >= usize::from(self.concurrent_reconciles) || has_burst()
    }

    /// Notes that a Job was created or changed.
    pub(super) fn note_begun(&self) {
        let mut begun = self.begun();
        begun.retain(|at| at.elapsed() < BURST_TIME);
        begun.push(Instant::now());
    }

    fn begun(&self) -> MutexGuard<'_, Vec<Instant>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how long mere progress of a batch has to wait, or `None` when it may be written now.
    pub(super) fn hold_back(&self, uid: &str) -> Option<Duration> {
        STATUS_INTERVAL.checked_sub(self.written().get(uid)?.0.elapsed())
    }

    /// Whether the watch has not shown yet what this controller last wrote into a batch. Who goes on all the same
    /// writes it a second time, with its Events.
    pub(super) fn is_behind(&self, uid: &str, resource_version: Option<&str>) -> bool {
        let written = self.written();
        written
            .get(uid)
            .is_some_and(|(at, version)| at.elapsed() < OWN_WRITE && version_of(resource_version) < *version)
    }

    /// Notes that a batch was written, and the resource version it has since.
    pub(super) fn note_written(&self, uid: &str, resource_version: Option<&str>) {
        self.written().insert(uid.to_owned(), (Instant::now(), version_of(resource_version)));
    }

    /// Forgets a batch that has ended, as the watch shows.
    pub(super) fn forget(&self, uid: &str) {
        self.written().remove(uid);
        self.progress.forget(uid);
        self.looks.forget(uid);
        self.backoff.forget(uid);
        self.tally.forget(uid);
        self.places.leave(uid);
    }

    fn written(&self) -> MutexGuard<'_, HashMap<String, (Instant, u64)>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reconcile that goes on.
pub(super) struct Reconciling<'a>(&'a AtomicUsize);

impl Drop for Reconciling<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// 0 is no limit.
fn limit(seconds: u32) -> Option<SignedDuration> {
    (seconds > 0).then(|| SignedDuration::from_secs(seconds.into()))
}
