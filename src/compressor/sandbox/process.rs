//! The parent's side of one codec child.

use std::io::{ErrorKind, Result};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::pipe::fcntl_setpipe_size;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use super::protocol::{Failure, LENGTHS, READY, Reply, read_header, read_lengths, start_frame};
use super::{Settings, StartError};
use crate::api::compression::Compression;
use crate::manifest::outcome::FailureReason;

/// Longest time until a child has confined itself.
const START: Duration = Duration::from_secs(20);
/// Size of the pipes for images: what fits is handed over in one piece. It is the most that the kernel
/// grants everybody by default.
const PIPE: usize = 1 << 20;
/// Most bytes kept of a child's standard error.
const MAX_ERRORS: u64 = 4_096;
/// What the standard library writes before it aborts for want of memory.
const ALLOCATION_FAILED: &str = "memory allocation of ";

/// A child that is confined and works on one image at a time. It is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    errors: ChildStderr,
}

/// How a child ended, and what it wrote to standard error.
#[derive(Debug)]
pub(super) struct End {
    pub(super) status: ExitStatus,
    pub(super) errors: String,
}

impl Process {
    /// Starts a child and waits until it is confined.
    pub(super) async fn start(settings: &Settings) -> std::result::Result<Self, StartError> {
        let mut command = Command::new(&settings.program);
        command.arg0("compressor").args(&settings.arguments).env_clear().kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(StartError::Spawn)?;
        let (Some(input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(StartError::Spawn(ErrorKind::BrokenPipe.into()));
        };
        // Only speed depends on it: a user that has many large pipes gets small ones.
        let _ = fcntl_setpipe_size(&input, PIPE);
        let _ = fcntl_setpipe_size(&output, PIPE);
        let mut process = Self { child, input, output, errors };
        if let Ok(Ok(READY)) = tokio::time::timeout(START, process.output.read_u8()).await {
            return Ok(process);
        }
        let End { status, errors } = process.end().await.map_err(StartError::Spawn)?;
        Err(StartError::NotReady { status, errors })
    }

    /// Returns whether the child ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Hands over an image and waits for what becomes of it. A child that was left before the answer is
    /// of no further use.
    pub(super) async fn exchange(&mut self, source: &[u8], options: &Compression, max_bytes: usize) -> Result<Reply> {
        self.input.write_all(&start_frame(options, source.len())?).await?;
        self.input.write_all(source).await?;
        let mut lengths = [0; LENGTHS];
        self.output.read_exact(&mut lengths).await?;
        let (header, payload) = read_lengths(lengths, max_bytes)?;
        let mut reply = read_header(&read(&mut self.output, header).await?)?;
        let bytes = read(&mut self.output, payload).await?;
        if let Reply::Compressed(compressed) = &mut reply {
            compressed.bytes = Some(bytes).filter(|bytes| !bytes.is_empty());
        }
        Ok(reply)
    }

    /// Kills what is left of the child and returns how it ended.
    pub(super) async fn end(mut self) -> Result<End> {
        // One that is ending already keeps its status.
        self.child.start_kill()?;
        let status = self.child.wait().await?;
        let mut errors = Vec::new();
        self.errors.take(MAX_ERRORS).read_to_end(&mut errors).await?;
        Ok(End { status, errors: String::from_utf8_lossy(&errors).trim().to_owned() })
    }
}

async fn read(input: impl AsyncRead + Unpin, length: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length);
    let read = input.take(length as u64).read_to_end(&mut bytes).await?;
    if read < length { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

impl End {
    /// Returns the failure of the image that the child was working on.
    pub(super) fn failure(&self) -> Failure {
        let (reason, message) = if self.status.signal() == Some(libc::SIGSYS) {
            (FailureReason::CodecCrashed, "the codec was ended for a system call that it must not make".to_owned())
        } else if self.errors.contains(ALLOCATION_FAILED) {
            (FailureReason::CodecOutOfMemory, "the codec needed more memory than it may have".to_owned())
        } else {
            (FailureReason::CodecCrashed, format!("the codec crashed: {}", self.status))
        };
        Failure { reason, message }
    }
}
