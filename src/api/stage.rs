//! The stages of a batch, and the message that a stage's Job carries to its pods.
//!
//! The pods have no Kubernetes credentials: everything they need to know of the batch is in this
//! message, which the controller writes and the compressor reads.

use serde::{Deserialize, Serialize};

use super::compression::Compression;
use super::image_batch::Report;
use super::source::{Source, Validation};
use super::status::Retry;

/// Environment variable of the pods that holds a [`StageInput`] as JSON.
pub const STAGE_INPUT_ENV: &str = "IMAGEBATCH_STAGE_INPUT";
/// Folder where a `configMapKeyRef` source is mounted.
pub const SOURCE_MOUNT: &str = "/etc/imagebatch/source";
/// Folder where the certificate authorities of storage and MongoDB are mounted, as the connection's settings name
/// them.
pub const AUTHORITIES_MOUNT: &str = "/etc/imagebatch/ca";
/// Exit code of a pod that failed in a way that no further try can mend.
pub const PERMANENT_EXIT_CODE: u8 = 64;
/// Exit code of a pod that ended because it was asked to: no failure, however often it happens.
pub const INTERRUPTED_EXIT_CODE: u8 = 75;
/// A batch of at most this many images runs all stages in one pod: one pod start, not three.
pub const FUSED_MAX_IMAGES: i64 = 300;
/// The same for a CSV whose images are not counted yet.
pub const FUSED_MAX_BYTES: usize = 32 * 1024;

/// One step of a batch, run by one Job.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// All stages in one pod, for small batches.
    Run,
    /// Source -> manifest shards and product records.
    Ingest,
    /// Shards -> stored images and outcomes.
    Compress,
    /// Outcomes -> `output.csv` and `failed.csv`.
    Report,
}

impl Stage {
    /// Every stage, in the order of the path.
    pub const ALL: [Self; 4] = [Self::Run, Self::Ingest, Self::Compress, Self::Report];

    /// Returns the word used in names, labels and as the compressor's subcommand.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Ingest => "ingest",
            Self::Compress => "compress",
            Self::Report => "report",
        }
    }

    /// Returns the name of the stage's Job: one batch has one Job a stage.
    #[must_use]
    pub fn job_name(self, batch: &str) -> String {
        format!("{batch}-{}", self.as_str())
    }
}

/// What a pod is told about its batch.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct StageInput {
    /// The ImageBatch's uid: the key of records and objects.
    pub uid: String,
    /// The ImageBatch's name.
    pub name: String,
    /// The ImageBatch's namespace.
    pub namespace: String,
    /// Where the products come from.
    pub source: Source,
    /// What a valid row is.
    #[serde(default)]
    pub validation: Validation,
    /// How images are compressed.
    pub compression: Compression,
    /// What the reports hold.
    #[serde(default)]
    pub report: Report,
    /// What a retry builds on; absent for other batches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Id of the request that the batch came by, for the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The trace that the stage is part of, as W3C Trace Context writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Why images without an outcome were not processed; the report writes it down.
    pub unprocessed_because: UnprocessedCause,
}

/// Why an image of an ended batch has no outcome of its own.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnprocessedCause {
    /// Its shard's pods failed too often.
    ShardFailed,
    /// `activeDeadlineSeconds` was reached.
    DeadlineExceeded,
    /// The batch was cancelled.
    Cancelled,
    /// More images failed than `maxFailedPercent` allows.
    TooManyFailures,
}
