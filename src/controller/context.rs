//! Clients and settings of the controller, and when each batch's status was last written.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};

use super::job::WorkerArgs;
use super::tally::Tally;
use crate::api::labels;
use crate::egress::{Egress, EgressArgs};
use crate::metrics::controller::ControllerMetrics;
use crate::records::{Patience, Records, RecordsArgs};
use crate::storage::{Storage, StorageArgs};

/// A batch's status is written at most this often while only its counts change.
pub(super) const STATUS_INTERVAL: Duration = Duration::from_secs(2);

/// Runs the controller.
#[derive(Args, Debug)]
pub struct ControllerArgs {
    /// Namespaces in which ImageBatches are worked on.
    #[arg(long, env = "IMAGEBATCH_NAMESPACES", value_delimiter = ',', required = true)]
    pub namespaces: Vec<String>,
    /// Address of /livez, /readyz and /metrics.
    #[arg(long, env = "IMAGEBATCH_OPS_LISTEN", default_value = "127.0.0.1:8081")]
    pub ops_listen: std::net::SocketAddr,
    /// Seconds after which an uploaded CSV that no ImageBatch claims is removed.
    #[arg(long, env = "IMAGEBATCH_UPLOAD_GRACE_SECONDS", default_value_t = 3_600, value_parser = clap::value_parser!(u64).range(600..=2_592_000))]
    pub upload_grace_seconds: u64,
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
    /// What Prometheus reads.
    pub metrics: Arc<ControllerMetrics>,
    pub(super) tally: Tally,
    /// When the status of a batch was last written, to hold back mere progress.
    written: Mutex<HashMap<String, Instant>>,
}

impl Context {
    /// Connects to MongoDB and object storage, both lazily.
    pub async fn new(client: Client, args: &ControllerArgs) -> anyhow::Result<Self> {
        let metrics = Arc::new(ControllerMetrics::default());
        let reporter = Reporter { controller: labels::CONTROLLER.to_owned(), instance: std::env::var("HOSTNAME").ok() };
        Ok(Self {
            records: Records::new(&args.records, Patience::Short).await?,
            storage: Storage::new(&args.storage)?,
            egress: Egress::new(&args.egress)?,
            namespaces: args.namespaces.iter().cloned().collect(),
            worker: args.worker.clone(),
            recorder: Recorder::new(client.clone(), reporter),
            written: Mutex::default(),
            tally: Tally::new(Arc::clone(&metrics)),
            metrics,
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
