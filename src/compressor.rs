//! The worker: runs the stages of one batch inside of Jobs, and compresses local files.
//!
//! ```text
//! ingest:   source -> rows -> shards and product records
//! compress: shard -> fetch -> codec -> store -> record -> part
//! report:   parts and records -> output.csv, failed.csv
//! run:      the three in one pod, for small batches
//! ```
//!
//! Each stage may be killed and started again at any point: objects are created once, records are
//! inserted once, and a stage that finds its result does nothing. The pods have no Kubernetes
//! credentials; what they know of their batch is in the environment ([`StageInput`]).

pub mod compress;
pub mod image;
pub mod ingest;
pub mod local;
pub mod queue;
pub mod recorder;
pub mod report;

mod source;

use clap::{Args, Parser, Subcommand};

pub use crate::api::stage::PERMANENT_EXIT_CODE;
use crate::api::stage::{SOURCE_MOUNT, StageInput};
use crate::egress::{Egress, EgressArgs, SetupError};
use crate::manifest::limits::LimitArgs;
use crate::manifest::source::Rules;
use crate::records::{Patience, RecordError, Records, RecordsArgs};
use crate::storage::{Storage, StorageArgs, StorageError};
use crate::telemetry::LogArgs;

/// Runs one stage of a batch, or compresses local files.
#[derive(Parser, Debug)]
#[command(name = "compressor", version)]
pub struct CompressorArgs {
    /// How logs are written.
    #[command(flatten)]
    pub log: LogArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the compressor does.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run all stages of a small batch.
    Run(Box<StageArgs>),
    /// Split the source into shards and record its products.
    Ingest(Box<StageArgs>),
    /// Fetch, compress and store the images of one shard.
    Compress {
        /// What every stage needs.
        #[command(flatten)]
        stage: Box<StageArgs>,
        /// The shard; an Indexed Job sets it.
        #[arg(long, env = "JOB_COMPLETION_INDEX")]
        index: u32,
    },
    /// Write the reports.
    Report(Box<StageArgs>),
    /// Compress local files.
    CompressFile(local::CompressFileArgs),
}

/// More CPUs are used by more pods: the memory of a pod is what bounds it.
const MAX_CODEC_THREADS: usize = 2;

/// What every stage needs.
#[derive(Args, Debug)]
pub struct StageArgs {
    #[command(flatten)]
    storage: StorageArgs,
    #[command(flatten)]
    records: RecordsArgs,
    #[command(flatten)]
    egress: EgressArgs,
    #[command(flatten)]
    concurrency: ConcurrencyArgs,
    #[command(flatten)]
    limits: LimitArgs,
    /// The batch and its options as JSON; the controller writes it.
    #[arg(long, env = crate::api::stage::STAGE_INPUT_ENV)]
    stage_input: String,
    /// Folder where a ConfigMap source is mounted.
    #[arg(long, env = "IMAGEBATCH_SOURCE_DIR", default_value = SOURCE_MOUNT)]
    source_dir: std::path::PathBuf,
}

/// How much a pod does at once.
#[derive(Args, Debug, Clone)]
pub(crate) struct ConcurrencyArgs {
    /// Images that are fetched, waiting or compressed at the same time; each may hold one body in memory.
    #[arg(long, env = "IMAGEBATCH_IMAGES_IN_FLIGHT", default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=256))]
    images_in_flight: u16,
    /// Images that are compressed at the same time; by default one a CPU, at most two, as each may
    /// need half a gigabyte of memory.
    #[arg(long, env = "IMAGEBATCH_CODEC_THREADS")]
    codec_threads: Option<usize>,
}

/// Why a stage ended without its result.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The environment does not describe a batch.
    #[error("failed to read the stage's input")]
    ReadInput(#[source] serde_json::Error),
    /// The HTTP client cannot be built.
    #[error("failed to set up the HTTP client")]
    ConfigureEgress(#[source] SetupError),
    /// Object storage failed, also after retries.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// MongoDB failed, also after retries.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// An object that an earlier stage wrote is not there.
    #[error("object {0:?} does not exist: its stage has not run")]
    MissingObject(String),
    /// An object that an earlier stage wrote cannot be understood.
    #[error("failed to parse object {key:?}")]
    ParseObject {
        /// The object's key.
        key: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Reading or writing a stream failed.
    #[error("failed to {action}")]
    Stream {
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A thread of the stage panicked.
    #[error("a part of the stage panicked")]
    Panicked(#[source] tokio::task::JoinError),
    /// The pod was asked to end; what is done is recorded.
    #[error("interrupted by a signal")]
    Interrupted,
}

impl StageError {
    /// Returns whether running the stage again cannot help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::ReadInput(_) | Self::MissingObject(_) | Self::ParseObject { .. })
    }
}

/// Clients and input of a stage.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    pub(crate) storage: Storage,
    pub(crate) records: Records,
    pub(crate) egress: Egress,
    pub(crate) input: StageInput,
    pub(crate) rules: Rules,
    pub(crate) source_dir: std::path::PathBuf,
    pub(crate) images_in_flight: usize,
    pub(crate) codec_threads: usize,
}

impl Worker {
    async fn new(args: &StageArgs) -> Result<Self, StageError> {
        let threads = || std::thread::available_parallelism().map_or(1, usize::from).min(MAX_CODEC_THREADS);
        let input: StageInput = serde_json::from_str(&args.stage_input).map_err(StageError::ReadInput)?;
        Ok(Self {
            storage: Storage::new(&args.storage)?,
            records: Records::new(&args.records, Patience::Long).await?,
            egress: Egress::new(&args.egress).map_err(StageError::ConfigureEgress)?,
            rules: Rules { limits: args.limits.limits(), validation: input.validation },
            input,
            source_dir: args.source_dir.clone(),
            images_in_flight: args.concurrency.images_in_flight.into(),
            codec_threads: args.concurrency.codec_threads.unwrap_or_else(threads).max(1),
        })
    }

    /// Returns the keys of the batch's objects.
    pub(crate) fn keys(&self) -> crate::storage::key::BatchKeys {
        self.storage.keys().batch(&self.input.namespace, &self.input.uid)
    }
}

/// Runs a subcommand to its end.
pub async fn run(command: Command) -> Result<(), StageError> {
    match command {
        Command::Ingest(args) => ingest::ingest(&Worker::new(&args).await?).await.map(drop),
        Command::Compress { stage, index } => compress::compress_shard(&Worker::new(&stage).await?, index).await,
        Command::Report(args) => report::report(&Worker::new(&args).await?).await,
        Command::Run(args) => run_all(&Worker::new(&args).await?).await,
        Command::CompressFile(args) => {
            local::compress_files(&args).map_err(|source| StageError::Stream { action: "compress local files", source })
        }
    }
}

async fn run_all(worker: &Worker) -> Result<(), StageError> {
    let Some(manifest) = ingest::ingest(worker).await? else { return Ok(()) };
    for index in 0..manifest.shards {
        compress::compress_shard(worker, index).await?;
    }
    report::report(worker).await
}
