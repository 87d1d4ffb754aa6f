//! The formats that are read and written.

use std::fmt;

/// A format that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// JPEG, baseline or progressive.
    Jpeg,
    /// PNG.
    Png,
}

impl Format {
    /// Returns the media type, for the `Content-Type` header.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
        }
    }

    /// Returns the usual file extension, without a dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
        })
    }
}

/// A format that can be asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum TargetFormat {
    /// The source's own.
    #[default]
    Keep,
    /// JPEG; transparent pictures are put on white.
    Jpeg,
    /// PNG.
    Png,
}

impl TargetFormat {
    /// Returns the format that a source of format `source` becomes.
    pub(crate) fn of(self, source: Format) -> Format {
        match self {
            Self::Keep => source,
            Self::Jpeg => Format::Jpeg,
            Self::Png => Format::Png,
        }
    }
}
