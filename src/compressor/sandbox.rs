//! The codec's sandbox: strangers' images are decoded in child processes that have nothing to lose.
//!
//! ```text
//! Sandbox::compress -- options, source --> child: confined before it reads its first byte
//!     |                <- result, error --    no network, no files, no credentials, bounded memory
//!     '-- too late: killed; ended: replaced. It costs the one image that it was working on.
//! ```
//!
//! A child is this executable's own `codec-child` with an empty environment. There are at most as many as
//! codec threads; each works on one image at a time and is kept for the next. `docs/sandbox.md` says what
//! this closes and what it does not.

pub mod child;
pub mod confine;

mod filter;
mod process;
mod protocol;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::api::compression::Compression;
use crate::manifest::image_limits::ImageLimitArgs;
use crate::manifest::outcome::FailureReason;
use process::Process;
pub use protocol::Failure;
use protocol::Reply;

/// What children run, and their bounds.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The executable of a child.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Most children at the same time.
    pub threads: usize,
    /// Longest time for an image; then its child is killed.
    pub timeout: Duration,
    /// Most bytes of a source, and of a result.
    pub max_bytes: usize,
}

impl Settings {
    /// Returns the settings of children that run this very executable.
    #[must_use]
    pub fn of_this_executable(limits: &ImageLimitArgs, max_bytes: usize, threads: usize) -> Self {
        let arguments = [
            "codec-child".to_owned(),
            format!("--max-bytes={max_bytes}"),
            format!("--image-max-pixels={}", limits.image_max_pixels),
            format!("--image-max-side={}", limits.image_max_side),
            format!("--image-memory-bytes={}", limits.image_memory_bytes),
        ];
        Self {
            // Also when the file has been replaced: parent and child speak the same version.
            program: "/proc/self/exe".into(),
            arguments: arguments.to_vec(),
            threads,
            timeout: Duration::from_secs(limits.image_timeout_seconds),
            max_bytes,
        }
    }
}

/// Why there is no codec child: no image is to blame.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system cannot start a process.
    #[error("failed to start a codec child")]
    Spawn(#[source] std::io::Error),
    /// The child ended, or did not become confined in time.
    #[error("the codec child is not confined ({status}): {errors}")]
    NotReady {
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it wrote to standard error.
        errors: String,
    },
}

/// A pool of codec children, which are started when they are needed.
#[derive(Debug)]
pub struct Sandbox {
    settings: Settings,
    turns: Semaphore,
    idle: Mutex<Vec<Process>>,
}

impl Sandbox {
    /// Returns a pool without children.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { turns: Semaphore::new(settings.threads), idle: Mutex::default(), settings }
    }

    /// Compresses an image in a child, once it is its turn. The inner error is the image's own; the outer
    /// one means that there is no sandbox.
    ///
    /// When this future is dropped its child is killed.
    pub async fn compress(
        &self,
        source: &[u8],
        options: &Compression,
    ) -> Result<Result<codec::Compressed, Failure>, StartError> {
        let (actual, limit) = (source.len() as u64, self.settings.max_bytes as u64);
        if actual > limit {
            return Ok(Err(Failure::from(&codec::Error::ImageTooLarge { what: "bytes", actual, limit })));
        }
        // Never closed, so an error cannot happen.
        let _turn = self.turns.acquire().await.ok();
        if let Some(process) = self.take_idle() {
            match self.attempt(process, source, options).await {
                // Earlier images leave holes in a child's memory: only a new one can tell.
                Err(Failure { reason: FailureReason::CodecOutOfMemory, .. }) => {}
                result => return Ok(result),
            }
        }
        let process = Process::start(&self.settings).await?;
        Ok(self.attempt(process, source, options).await)
    }

    /// Ends the children that wait for images, and waits until they are gone.
    pub async fn end(&self) {
        while let Some(process) = self.take_idle() {
            if let Err(error) = process.end().await {
                tracing::warn!(%error, "failed to end a codec child");
            }
        }
    }

    async fn attempt(
        &self,
        mut process: Process,
        source: &[u8],
        options: &Compression,
    ) -> Result<codec::Compressed, Failure> {
        let exchange = process.exchange(source, options, self.settings.max_bytes);
        let error = match tokio::time::timeout(self.settings.timeout, exchange).await {
            Ok(Ok(reply)) => {
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(process);
                return match reply {
                    Reply::Compressed(compressed) => Ok(compressed),
                    Reply::Failed(failure) => Err(failure),
                };
            }
            Ok(Err(error)) => Some(error),
            Err(_elapsed) => None,
        };
        let end = process.end().await;
        tracing::warn!(?error, ?end, "a codec child ended");
        Err(match (error, end) {
            (None, _) => Failure {
                reason: FailureReason::CodecTimeout,
                message: format!("the codec was ended after {} s", self.settings.timeout.as_secs()),
            },
            (Some(error), Ok(end)) if error.kind() != ErrorKind::InvalidData => end.failure(),
            (Some(error), _) => Failure {
                reason: FailureReason::CodecCrashed,
                message: format!("the codec's answer cannot be read: {error}"),
            },
        })
    }

    /// Returns a child that waits for an image.
    fn take_idle(&self) -> Option<Process> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| idle.pop()).find_map(|mut process| (!process.has_ended()).then_some(process))
    }
}
