//! Why an image was refused.
//!
//! The reasons are shown to the person who supplied the image, so each message says what was found
//! and, where a limit applies, both the number and the limit.

use thiserror::Error;

/// Why an image cannot be compressed. No reason is transient: the same bytes fail again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// The bytes are no image at all; holds what they look like, for example `HTML`.
    #[error("not an image: the content looks like {0}")]
    NotAnImage(&'static str),
    /// The bytes are an image of a format, or of a variant of a format, that is not handled.
    #[error("unsupported image format: {0}")]
    UnsupportedFormat(String),
    /// The image ends before its last pixel; holds what is missing.
    #[error("image is truncated: {0}")]
    ImageTruncated(String),
    /// The image breaks the rules of its format; holds what is wrong.
    #[error("image is corrupt: {0}")]
    ImageCorrupt(String),
    /// The image exceeds one of the [`Limits`](crate::Limits).
    #[error("image is too large: {actual} {what}, the limit is {limit}")]
    ImageTooLarge {
        /// What is counted, with its unit: `bytes`, `pixels`, `pixels a side`, ...
        what: &'static str,
        /// The image's number.
        actual: u64,
        /// The limit it exceeds.
        limit: u64,
    },
    /// The image was read, but the result could not be written; holds the encoder's message.
    #[error("failed to encode the image: {0}")]
    EncodeFailed(String),
}

impl Error {
    /// Returns the stable word for the reason, the same one in every report.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAnImage(_) => "NotAnImage",
            Self::UnsupportedFormat(_) => "UnsupportedFormat",
            Self::ImageTruncated(_) => "ImageTruncated",
            Self::ImageCorrupt(_) => "ImageCorrupt",
            Self::ImageTooLarge { .. } => "ImageTooLarge",
            Self::EncodeFailed(_) => "EncodeFailed",
        }
    }

    pub(crate) fn truncated(detail: impl Into<String>) -> Self {
        Self::ImageTruncated(detail.into())
    }

    pub(crate) fn corrupt(detail: impl Into<String>) -> Self {
        Self::ImageCorrupt(detail.into())
    }

    pub(crate) fn unsupported(name: impl Into<String>) -> Self {
        Self::UnsupportedFormat(name.into())
    }
}
