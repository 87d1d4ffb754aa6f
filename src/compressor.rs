//! The worker: runs the stages of one batch inside of Jobs, and compresses local files.
//!
//! ```text
//! ingest:   source -> rows -> shards and product records; a retry's rows are those of the earlier batch
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
pub mod sandbox;

mod memory;
mod retry;
mod source;
mod terms;

use std::sync::Arc;

use clap::{Args, Parser, Subcommand};

pub use crate::api::stage::PERMANENT_EXIT_CODE;
use crate::api::stage::{SOURCE_MOUNT, StageInput};
use crate::egress::{Egress, EgressArgs, SetupError};
use crate::manifest::image_limits::ImageLimitArgs;
use crate::manifest::limits::LimitArgs;
use crate::manifest::shard::Manifest;
use crate::manifest::source::Rules;
use crate::records::{Patience, RecordError, Records, RecordsArgs};
use crate::storage::{Storage, StorageArgs, StorageError};
use crate::telemetry::LogArgs;
use memory::{Demand, MemoryError};
use sandbox::Sandbox;
use sandbox::child::CodecChildArgs;

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

/// What the compressor's process does.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Work that has a runtime.
    #[command(flatten)]
    Work(Work),
    /// Compress what comes by standard input, confined; the other subcommands start it.
    #[command(hide = true)]
    CodecChild(CodecChildArgs),
}

/// What the compressor does.
#[derive(Subcommand, Debug)]
pub enum Work {
    /// Run all stages of a small batch.
    Run(Box<StageArgs>),
    /// Split the source into shards and record its products.
    Ingest(Box<StageArgs>),
    /// Fetch, compress and store the images of one part of the batch.
    Compress {
        /// What every stage needs.
        #[command(flatten)]
        stage: Box<StageArgs>,
        /// The part: a shard, or some of a retry; an Indexed Job sets it.
        #[arg(long, env = "JOB_COMPLETION_INDEX")]
        index: u32,
    },
    /// Write the reports.
    Report(Box<StageArgs>),
    /// Compress local files.
    CompressFile(local::CompressFileArgs),
}

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
    #[command(flatten)]
    image_limits: ImageLimitArgs,
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
    /// Images that are compressed at the same time, each in a codec child; by default one a CPU, at most
    /// two, and not more than fit into the memory limit.
    #[arg(long, env = "IMAGEBATCH_CODEC_THREADS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    codec_threads: Option<u16>,
    /// Memory the stage may take, codec children included, in bytes; by default the limit of its control
    /// group, which is that of its container. A stage that may need more does not start.
    #[arg(long, env = "IMAGEBATCH_MEMORY_LIMIT_BYTES")]
    memory_limit_bytes: Option<u64>,
}

/// Why a stage ended without its result.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The environment does not describe a batch.
    #[error("failed to read the stage's input")]
    ReadInput(#[source] serde_json::Error),
    /// The stage may need more memory than it may take.
    #[error("failed to plan the memory")]
    PlanMemory(#[from] MemoryError),
    /// The codec's sandbox cannot be set up.
    #[error("failed to set up the codec's sandbox")]
    StartCodec(#[from] sandbox::StartError),
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
    /// Returns whether running the stage again cannot help. An object that is missing may be there again: a store
    /// that has just started answers 404 for what it has not found yet.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::ReadInput(_) | Self::PlanMemory(_))
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
    pub(crate) sandbox: Arc<Sandbox>,
}

impl Worker {
    async fn new(args: &StageArgs) -> Result<Self, StageError> {
        let input: StageInput = serde_json::from_str(&args.stage_input).map_err(StageError::ReadInput)?;
        let ConcurrencyArgs { images_in_flight, codec_threads, memory_limit_bytes } = args.concurrency;
        let body = args.egress.fetch_max_bytes;
        let demand =
            Demand { child: args.image_limits.image_memory_bytes, images_in_flight: images_in_flight.into(), body };
        let threads =
            demand.codec_threads(codec_threads.map(usize::from), memory_limit_bytes.or_else(memory::limit))?;
        let codec = sandbox::Settings::of_this_executable(&args.image_limits, body as usize, threads);
        Ok(Self {
            storage: Storage::new(&args.storage)?,
            records: Records::new(&args.records, Patience::Long).await?,
            egress: Egress::new(&args.egress).map_err(StageError::ConfigureEgress)?,
            rules: Rules { limits: args.limits.limits(), validation: input.validation },
            input,
            source_dir: args.source_dir.clone(),
            images_in_flight: images_in_flight.into(),
            sandbox: Arc::new(Sandbox::new(codec)),
        })
    }

    /// Returns the keys of the batch's objects.
    pub(crate) fn keys(&self) -> crate::storage::key::BatchKeys {
        let StageInput { namespace, uid, retry, .. } = &self.input;
        self.storage.keys().batch_or_retry(namespace, uid, retry.as_ref())
    }

    /// Returns the batch's manifest, which ingest has written.
    pub(crate) async fn manifest(&self) -> Result<Manifest, StageError> {
        self.read_manifest(self.keys().manifest()).await
    }

    async fn read_manifest(&self, key: String) -> Result<Manifest, StageError> {
        let bytes = self.storage.read(&key).await?.ok_or_else(|| StageError::MissingObject(key.clone()))?;
        serde_json::from_slice(&bytes).map_err(|source| StageError::ParseObject { key, source })
    }
}

/// Runs a subcommand to its end.
pub async fn run(work: Work) -> Result<(), StageError> {
    match work {
        Work::Ingest(args) => stage(&args, async |worker| ingest::ingest(worker).await.map(drop)).await,
        Work::Compress { stage: args, index } => {
            let shards =
                async |worker: &Worker| compress_shards(worker, worker.manifest().await?.shards_of(index)).await;
            stage(&args, shards).await
        }
        Work::Report(args) => stage(&args, async |worker| report::report(worker).await).await,
        Work::Run(args) => stage(&args, async |worker| run_all(worker).await).await,
        Work::CompressFile(args) => local::compress_files(&args).await,
    }
}

async fn stage(args: &StageArgs, work: impl AsyncFnOnce(&Worker) -> Result<(), StageError>) -> Result<(), StageError> {
    let worker = Worker::new(args).await?;
    let result = work(&worker).await;
    worker.sandbox.end().await;
    result
}

async fn run_all(worker: &Worker) -> Result<(), StageError> {
    let Some(manifest) = ingest::ingest(worker).await? else { return Ok(()) };
    compress_shards(worker, 0..manifest.shards).await?;
    report::report(worker).await
}

async fn compress_shards(worker: &Worker, shards: std::ops::Range<u32>) -> Result<(), StageError> {
    for shard in shards {
        compress::compress_shard(worker, shard).await?;
    }
    Ok(())
}
