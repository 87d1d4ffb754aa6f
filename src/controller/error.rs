//! Why a reconcile stops before its end.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::{finalizer, watcher};

use crate::failpoint::Injected;
use crate::records::RecordError;
use crate::storage::StorageError;

/// A reconcile that takes longer is stopped and comes again.
pub(super) const RECONCILE_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a reconcile did not reach its end; it comes again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Jobs cannot be listed.
    #[error("failed to list Jobs")]
    ListJobs(#[source] kube::Error),
    /// A ConfigMap source cannot be read.
    #[error("failed to get the source's ConfigMap")]
    GetConfigMap(#[source] kube::Error),
    /// The ImageBatch that is to be retried cannot be read.
    #[error("failed to get the ImageBatch that is to be retried")]
    GetBatch(#[source] kube::Error),
    /// The ImageBatches of a chain of retries cannot be listed.
    #[error("failed to list ImageBatches")]
    ListBatches(#[source] kube::Error),
    /// The ImageBatch that is to be retried changed while this was noted in it.
    #[error("ImageBatch {0:?}, which is to be retried, changed meanwhile")]
    RetriedChanged(String),
    /// The webhook's Secret cannot be read.
    #[error("failed to get the webhook's Secret")]
    GetSecret(#[source] kube::Error),
    /// The stage's input cannot be written as JSON.
    #[error("failed to build a Job")]
    BuildJob(#[source] serde_json::Error),
    /// The watch of a namespace's Jobs has not been answered yet.
    #[error("the Jobs of namespace {namespace:?} are not known yet: their watch has not been answered")]
    JobsUnknown {
        /// The namespace.
        namespace: String,
        /// Why not, where the API server said it.
        #[source]
        cause: Option<Arc<watcher::Error>>,
    },
    /// A Job cannot be created or scaled.
    #[error("failed to apply a Job")]
    ApplyJob(#[source] kube::Error),
    /// The name of the batch's Job is taken.
    #[error("there is a Job {name:?} already, and it belongs to {owner}: it must go first")]
    JobNameTaken {
        /// The Job's name.
        name: String,
        /// Whose it is.
        owner: String,
    },
    /// A Workload of Kueue's cannot be switched on or off.
    #[error("failed to patch a Workload of Kueue's")]
    PatchWorkload(#[source] kube::Error),
    /// A Job cannot be deleted.
    #[error("failed to delete a Job")]
    DeleteJob(#[source] kube::Error),
    /// An ImageBatch whose time has come cannot be deleted.
    #[error("failed to delete the ImageBatch at its ttlSecondsAfterFinished")]
    DeleteBatch(#[source] kube::Error),
    /// Pods of a deleted batch have not ended yet.
    #[error("{0} Jobs of the deleted batch are not gone yet")]
    JobsRemain(usize),
    /// Not all objects of a deleted batch are deleted yet.
    #[error("not all objects of the deleted batch are gone yet")]
    ObjectsRemain,
    /// The status cannot be written.
    #[error("failed to patch the status")]
    PatchStatus(#[source] kube::Error),
    /// The ImageBatch is not what it was when the status was computed.
    #[error("the ImageBatch changed meanwhile")]
    Outdated(#[source] kube::Error),
    /// MongoDB failed.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// Object storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The finalizer cannot be set.
    #[error("failed to set the finalizer")]
    AddFinalizer(#[source] kube::Error),
    /// The finalizer could not be removed, or what it runs failed.
    #[error(transparent)]
    Finalizer(Box<finalizer::Error<Self>>),
    /// Something outside answered too slowly.
    #[error("not done within {} s", RECONCILE_TIMEOUT.as_secs())]
    Timeout,
}

impl ReconcileError {
    /// Returns the word for what failed, as the metrics count it, or `None` when it is no failure.
    pub(super) fn kind(&self) -> Option<&'static str> {
        Some(match self {
            Self::JobsRemain(_) | Self::ObjectsRemain | Self::Outdated(_) => return None,
            Self::Records(_) => "Records",
            Self::Storage(_) => "Storage",
            Self::Timeout => "Timeout",
            Self::JobNameTaken { .. } | Self::RetriedChanged(_) => "Conflict",
            Self::ListJobs(_)
            | Self::GetConfigMap(_)
            | Self::GetBatch(_)
            | Self::ListBatches(_)
            | Self::GetSecret(_)
            | Self::BuildJob(_)
            | Self::ApplyJob(_)
            | Self::PatchWorkload(_)
            | Self::DeleteJob(_)
            | Self::DeleteBatch(_)
            | Self::PatchStatus(_)
            | Self::AddFinalizer(_)
            | Self::JobsUnknown { .. }
            | Self::Finalizer(_) => "ApiServer",
        })
    }
}

impl From<Injected> for ReconcileError {
    fn from(injected: Injected) -> Self {
        Self::Records(injected.into())
    }
}

/// Why webhooks were not delivered; the next round tries again.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// An ImageBatch cannot be read.
    #[error("failed to get an ImageBatch")]
    GetBatch(#[source] kube::Error),
    /// An event cannot be signed.
    #[error("failed to sign an event")]
    Sign(#[from] standardwebhooks::WebhookError),
    /// A header cannot be written.
    #[error("failed to write an event's headers")]
    Header(#[from] http::header::InvalidHeaderValue),
    /// MongoDB failed.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// The API server failed.
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
}

impl From<Injected> for DeliverError {
    fn from(injected: Injected) -> Self {
        Self::Records(injected.into())
    }
}

/// Why unclaimed uploads were not collected; the next round tries again.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// ImageBatches cannot be listed.
    #[error("failed to list ImageBatches")]
    ListBatches(#[source] kube::Error),
    /// MongoDB failed.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// Object storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
