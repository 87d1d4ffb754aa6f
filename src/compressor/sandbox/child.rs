//! A codec child: confines itself, then compresses image after image until its input ends.

use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::fd::BorrowedFd;

use clap::Args;
use rustix::{io, stdio};

use super::confine::{ConfineError, confine};
use super::protocol::{Failure, LENGTHS, READY, Reply, read_header, read_lengths, start_frame};
use crate::api::compression::Compression;
use crate::compressor::terms::{codec_limits, codec_options};
use crate::manifest::image_limits::ImageLimitArgs;

/// What a child is told when it is started; its environment is empty.
#[derive(Args, Debug)]
pub struct CodecChildArgs {
    /// Most bytes of an image's file, and of its result.
    #[arg(long)]
    max_bytes: usize,
    #[command(flatten)]
    limits: ImageLimitArgs,
}

/// Why a child ended before its input did.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It cannot be confined, so it must not work.
    #[error("failed to confine the codec")]
    Confine(#[from] ConfineError),
    /// A pipe broke.
    #[error("failed to talk to the parent")]
    Talk(#[from] std::io::Error),
}

/// Runs the codec in this process until standard input ends.
pub fn run(args: &CodecChildArgs) -> Result<(), ChildError> {
    confine(args.limits.image_memory_bytes)?;
    let limits = codec_limits(&args.limits, args.max_bytes);
    serve(args.max_bytes, |source, options| {
        let compressed = codec::compress(source, &codec_options(options), &limits)?;
        let (actual, limit) = (compressed.bytes.as_ref().map_or(0, Vec::len) as u64, limits.max_bytes as u64);
        if actual > limit {
            return Err(codec::Error::ImageTooLarge { what: "bytes of the result", actual, limit });
        }
        Ok(compressed)
    })
}

/// Answers images of at most `max_bytes` with what `compress` makes of them until standard input ends. A
/// panic ends the process, by which the parent knows of it.
pub fn serve(
    max_bytes: usize,
    mut compress: impl FnMut(&[u8], &Compression) -> Result<codec::Compressed, codec::Error>,
) -> Result<(), ChildError> {
    let mut input = BufReader::new(Stream(stdio::stdin()));
    // A small frame leaves in one call, which wakes the parent once.
    let mut output = BufWriter::with_capacity(1 << 17, Stream(stdio::stdout()));
    output.write_all(&[READY])?;
    output.flush()?;
    let (mut header, mut source) = (Vec::new(), Vec::new());
    loop {
        let mut lengths = [0; LENGTHS];
        match input.read_exact(&mut lengths) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            result => result?,
        }
        let lengths = read_lengths(lengths, max_bytes)?;
        read_into(&mut input, &mut header, lengths.0)?;
        read_into(&mut input, &mut source, lengths.1)?;
        let (reply, bytes) = match compress(&source, &read_header(&header)?) {
            Ok(mut compressed) => {
                let bytes = compressed.bytes.take().unwrap_or_default();
                (Reply::Compressed(compressed), bytes)
            }
            Err(error) => (Reply::Failed(Failure::from(&error)), Vec::new()),
        };
        output.write_all(&start_frame(&reply, bytes.len())?)?;
        output.write_all(&bytes)?;
        output.flush()?;
    }
}

fn read_into(input: impl Read, buffer: &mut Vec<u8>, length: usize) -> std::io::Result<()> {
    buffer.clear();
    let read = input.take(length as u64).read_to_end(buffer)?;
    if read < length { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// A standard stream without the buffer and the lock of the standard library's.
struct Stream(BorrowedFd<'static>);

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        Ok(io::read(self.0, buffer)?)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(io::write(self.0, bytes)?)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
