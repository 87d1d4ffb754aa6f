//! What parent and child say to each other: frames of a JSON header and raw bytes, over pipes.
//!
//! ```text
//! header's length (4) | payload's length (8) | header | payload
//! ```
//!
//! The parent sends a [`Compression`](crate::api::compression::Compression) with the source, and gets a
//! [`Reply`] with the result, or with no payload where the original is to be kept. Each side checks the
//! lengths before it allocates: a child may be in a stranger's hands.

use std::io::{Error, ErrorKind, Result};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::compressor::terms::codec_reason;
use crate::manifest::outcome::FailureReason;

/// Most bytes of a header.
const MAX_HEADER: u32 = 1 << 16;
/// Bytes of the two lengths.
pub(super) const LENGTHS: usize = 12;
/// The byte by which a child says that it is confined and waits for images.
pub(super) const READY: u8 = b'!';

/// What became of an image.
#[derive(Serialize, Deserialize, Debug)]
pub(super) enum Reply {
    /// It was compressed.
    Compressed(codec::Compressed),
    /// It was not.
    Failed(Failure),
}

/// Why an image was not compressed.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The reason that is reported.
    pub reason: FailureReason,
    /// The failure in a sentence.
    pub message: String,
}

impl From<&codec::Error> for Failure {
    fn from(error: &codec::Error) -> Self {
        Self { reason: codec_reason(error), message: error.to_string() }
    }
}

/// Returns the lengths and the header of a frame, which its payload follows.
pub(super) fn start_frame(header: &impl Serialize, payload: usize) -> Result<Vec<u8>> {
    let mut start = vec![0; LENGTHS];
    serde_json::to_writer(&mut start, header)?;
    let length = u32::try_from(start.len() - LENGTHS).ok().filter(|length| *length <= MAX_HEADER);
    let length = length.ok_or_else(|| invalid("a header is too long"))?;
    start[..4].copy_from_slice(&length.to_le_bytes());
    start[4..LENGTHS].copy_from_slice(&(payload as u64).to_le_bytes());
    Ok(start)
}

/// Returns the lengths of header and payload.
pub(super) fn read_lengths(bytes: [u8; LENGTHS], max_payload: usize) -> Result<(usize, usize)> {
    let [a, b, c, d, payload @ ..] = bytes;
    let header = u32::from_le_bytes([a, b, c, d]);
    let payload = u64::from_le_bytes(payload);
    if header > MAX_HEADER || payload > max_payload as u64 {
        return Err(invalid("a frame is too long"));
    }
    Ok((header as usize, payload as usize))
}

/// Parses a header.
pub(super) fn read_header<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| Error::new(ErrorKind::InvalidData, error))
}

fn invalid(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}
