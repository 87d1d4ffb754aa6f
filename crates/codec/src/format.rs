//! The formats that are read and written.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A format that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Format {
    /// JPEG, baseline or progressive.
    Jpeg,
    /// PNG.
    Png,
    /// WebP, lossy or lossless, still or animated.
    WebP,
    /// GIF; read only, but an animation is kept as it is.
    Gif,
    /// TIFF; read only, but a file of several pages is kept as it is.
    Tiff,
    /// BMP; read only.
    Bmp,
    /// AVIF, still.
    Avif,
}

impl Format {
    /// Returns the media type, for the `Content-Type` header.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
            Self::Gif => "image/gif",
            Self::Tiff => "image/tiff",
            Self::Bmp => "image/bmp",
            Self::Avif => "image/avif",
        }
    }

    /// Returns the usual file extension, without a dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Gif => "gif",
            Self::Tiff => "tif",
            Self::Bmp => "bmp",
            Self::Avif => "avif",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
            Self::Tiff => "TIFF",
            Self::Bmp => "BMP",
            Self::Avif => "AVIF",
        })
    }
}

/// A format that can be asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum TargetFormat {
    /// The source's own; PNG for GIF, TIFF and BMP, where that is smaller.
    #[default]
    Keep,
    /// JPEG; transparent pictures are put on white.
    Jpeg,
    /// PNG.
    Png,
    /// WebP, lossy; without loss where the source is and quality 100 is wanted.
    WebP,
    /// AVIF, always lossy.
    Avif,
}

impl TargetFormat {
    /// Returns the format that a source of format `source` becomes.
    pub(crate) fn of(self, source: Format) -> Format {
        match self {
            Self::Keep => match source {
                Format::Jpeg | Format::Png | Format::WebP | Format::Avif => source,
                Format::Gif | Format::Tiff | Format::Bmp => Format::Png,
            },
            Self::Jpeg => Format::Jpeg,
            Self::Png => Format::Png,
            Self::WebP => Format::WebP,
            Self::Avif => Format::Avif,
        }
    }
}
