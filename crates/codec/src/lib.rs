//! Image compression to a share of the source's own quality, within hard limits.
//!
//! ```text
//! bytes -> sniff -> limits (header only) -> transcode -----------------> smaller than the source?
//!          Jpeg | Png                       decode -> turn -> encode --^  yes: Some(bytes)  no: None
//! ```
//!
//! [`compress`] is the only step a caller needs. It is a pure function of its arguments, uses one
//! thread, and expects hostile input: the content is told by its first bytes, dimensions are
//! checked in the header before a pixel is allocated, and every failure is an [`Error`] with a
//! stable [`code`](Error::code). The crate knows nothing of batches, networks or storage.
//!
//! What survives: the picture as displayed (the EXIF orientation is applied or kept), the colour
//! profile, and transparency. EXIF, GPS positions, XMP, comments, thumbnails and trailing data do not.
//!
//! **JPEG** keeps its format. The source's quality is estimated from its quantization tables. Grey
//! and YCbCr pictures stay in the DCT: their coefficients are divided by coarser steps, never by
//! finer ones, and coded anew; below quality 90 chroma becomes 4:2:0. [`Effort::Small`] gives
//! progressive files whose coefficients are chosen by what they cost, and tables of its own that
//! look about as good as libjpeg's at that quality; [`Effort::Fast`] gives sequential files with
//! libjpeg's tables but for a finer DC step. The orientation is kept as the only EXIF tag there. Other pictures (RGB, CMYK)
//! are decoded, turned, and encoded as progressive JPEG; CMYK becomes sRGB, through its profile if
//! it has one. When the wanted quality is not below the source's, the coefficients stay untouched
//! and only metadata is removed, so a second run at the same absolute quality changes nothing; so do
//! those of RGB that is sequential in several scans, which its decoder reads wrong.
//!
//! **PNG** keeps its format and counts as quality 100. At 100 it is only recompressed without loss.
//! Below, samples of 16 bits become 8 bits (unless the image is HDR), and the smaller of two
//! candidates is taken: the image recompressed without loss, and the image with a dithered palette
//! of `clamp(quality * 256 / 50, 16, 256)` colours, so 256 from quality 50 upwards. The palette
//! counts only if it is good enough for the quality: its peak signal-to-noise ratio must reach
//! `24 + quality / 6` dB, about what a JPEG of that quality has. Pixels that are fully transparent
//! or fully opaque stay exactly so. Animated PNG is kept as it is.

mod error;
mod jpeg;
mod limits;
mod orientation;
mod png;
mod quality;
mod sniff;

use std::fmt;

pub use crate::{error::Error, jpeg::jpeg_quality, limits::Limits};

/// A format that is read and written.
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

/// The wanted quality, on the scale of libjpeg. Values beyond 1 to 100 count as the nearest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    /// Per cent of the source's own quality: 50 makes 45 of a source of quality 90.
    Relative(u8),
    /// The quality itself; a source of lower quality keeps its own.
    Absolute(u8),
}

/// How much to spend on a small result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Effort {
    /// A quarter smaller, for a little more time: coefficients are chosen by what they cost, and
    /// the result is progressive.
    #[default]
    Small,
    /// As fast as possible: sequential JPEG.
    Fast,
}

/// How to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The wanted quality.
    pub quality: Quality,
    /// The lowest quality a relative one may lead to; a source below it keeps its own.
    pub min_quality: u8,
    /// How much to spend on JPEG; other formats know one effort only.
    pub effort: Effort,
}

impl Default for Options {
    /// Half the source's quality, not below 30.
    fn default() -> Self {
        Self { quality: Quality::Relative(50), min_quality: 30, effort: Effort::Small }
    }
}

/// The outcome of a compression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compressed {
    /// Format of the source and of the result, which is the same.
    pub format: Format,
    /// Width in pixels, as displayed.
    pub width: u32,
    /// Height in pixels, as displayed.
    pub height: u32,
    /// The source's quality, 1 to 100: estimated for JPEG, 100 for PNG.
    pub source_quality: u8,
    /// Quality of what is to be stored: the source's own where nothing was lost.
    pub quality: u8,
    /// Whether [`Options::min_quality`] held the wanted quality up.
    pub quality_floor: bool,
    /// The result, smaller than the source; `None` means that compression did not help and the
    /// original is to be stored.
    pub bytes: Option<Vec<u8>>,
}

/// Compresses one image.
pub fn compress(source: &[u8], options: &Options, limits: &Limits) -> Result<Compressed, Error> {
    limits.check_bytes(source.len())?;
    match sniff::sniff(source)? {
        Format::Jpeg => jpeg::compress(source, *options, limits),
        Format::Png => png::compress(source, *options, limits),
    }
}
