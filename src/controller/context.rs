//! Clients and settings of the controller, and when each batch's status was last written.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use k8s_openapi::jiff::SignedDuration;
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};

use super::backoff::Backoff;
use super::job::WorkerArgs;
use super::leader::LeaderArgs;
use super::places::Places;
use super::trouble::TroubleArgs;
use super::workers::Looks;
use super::workloads::Workloads;
use crate::api::labels;
use crate::egress::{Egress, EgressArgs};
use crate::records::{Patience, Records, RecordsArgs};
use crate::storage::{Storage, StorageArgs};

/// A batch's status is written at most this often while only its counts change.
pub(super) const STATUS_INTERVAL: Duration = Duration::from_secs(2);
/// Storage is asked again for so long: a reconcile that waits for it keeps others from being reconciled, and
/// comes again.
const STORAGE_PATIENCE: Duration = Duration::from_secs(5);

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
    /// Address of /livez and /readyz.
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
    /// When the status of a batch was last written, to hold back mere progress.
    written: Mutex<HashMap<String, Instant>>,
}

impl Context {
    /// Connects to MongoDB and object storage, both lazily.
    pub async fn new(client: Client, args: &ControllerArgs) -> anyhow::Result<Self> {
        args.worker.check().context("the settings of the worker pods (the chart's value worker)")?;
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
            written: Mutex::default(),
            client,
        })
    }

    pub(crate) fn is_enabled(&self, namespace: &str) -> bool {
        self.namespaces.contains(namespace)
    }

    /// Returns how long mere progress of a batch has to wait, or `None` when it may be written now.
    pub(super) fn hold_back(&self, uid: &str) -> Option<Duration> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        STATUS_INTERVAL.checked_sub(written.get(uid)?.elapsed())
    }

    pub(super) fn note_written(&self, uid: &str, finished: bool) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if finished {
            written.remove(uid);
        } else {
            written.insert(uid.to_owned(), Instant::now());
        }
    }
}

/// 0 is no limit.
fn limit(seconds: u32) -> Option<SignedDuration> {
    (seconds > 0).then(|| SignedDuration::from_secs(seconds.into()))
}
