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
//!
//! **WebP** keeps its format. Lossless counts as quality 100; of a lossy one the quality on libwebp's
//! scale is estimated from its quantizers. Where the wanted quality is lower by more than the error
//! of that estimate it is encoded anew, as lossy WebP; elsewhere only metadata is removed. Animated
//! WebP only loses its metadata.
//!
//! **AVIF** keeps its format, and is decoded to 8 bits a sample. Its quality is estimated from the
//! first quantizer of the stream, on the scale of sharp. As with WebP it is encoded anew where the
//! wanted quality is lower by more than the error of that estimate, and elsewhere only loses its
//! metadata. Below quality 85 chroma is coarser than luma; more than 9 megapixels become a grid of
//! tiles. [`Effort::Small`] takes five times as long for a tenth fewer bytes, up to 4 megapixels.
//! High dynamic range only loses its metadata and is not converted. Animated AVIF is refused.
//!
//! **GIF, TIFF and BMP** count as quality 100 and become PNG, as that loses nothing that they have,
//! where that is smaller; otherwise the original is kept. An animated GIF stays one and loses its
//! metadata, a TIFF of several pages stays as it is.
//!
//! **Another format** ([`Options::format`]) or a smaller size ([`Options::max_width`]) go through
//! pixels, and the result is delivered also where it is larger than the source. Transparent pictures
//! become JPEG on white. The colour profile goes along, and code points where both formats have them;
//! colours that the format cannot describe (gamma, primaries, code points) become sRGB. JPEG and WebP have 8 bits a sample, so high dynamic range is
//! refused there, as it is by AVIF's encoder. WebP is lossy at the wanted quality, and lossless where
//! the source is and quality 100 is wanted; AVIF is always lossy. An animated GIF becomes an animated WebP; as a still format an animation or a file
//! of several pages is its first picture. Downscaling keeps the aspect, never enlarges, and works in
//! linear light with Lanczos3.
//!
//! **Refused** by name: HEIC, JPEG XL, JPEG 2000, SVG, PSD, camera raw, and others.

mod avif;
mod bmp;
mod color;
mod convert;
mod error;
mod format;
mod gif;
mod jpeg;
mod limits;
mod orientation;
mod picture;
mod png;
mod quality;
mod raster;
mod resize;
mod sniff;
mod tiff;
mod webp;

use serde::{Deserialize, Serialize};

pub use crate::{
    error::Error,
    format::{Format, TargetFormat},
    jpeg::jpeg_quality,
    limits::Limits,
};

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
    /// JPEG a quarter smaller, for a little more time: coefficients are chosen by what they cost,
    /// and the result is progressive. AVIF a tenth smaller, for five times as much.
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
    /// How much to spend on JPEG and AVIF; other formats know one effort only.
    pub effort: Effort,
    /// The wanted format. With a format other than the source's, the result is always delivered,
    /// also where it is larger: it was asked for.
    pub format: TargetFormat,
    /// The result is not wider than this, in pixels as displayed: a larger picture is scaled down
    /// with its aspect kept, and then always delivered; a smaller one is never scaled up. Zero
    /// counts as one. Animations and files of several pages keep their size.
    pub max_width: Option<u32>,
    /// The same for the height.
    pub max_height: Option<u32>,
}

impl Default for Options {
    /// Half the source's quality, not below 30, in the source's format and size.
    fn default() -> Self {
        Self {
            quality: Quality::Relative(50),
            min_quality: 30,
            effort: Effort::Small,
            format: TargetFormat::Keep,
            max_width: None,
            max_height: None,
        }
    }
}

/// The outcome of a compression. Serialized it has no [`bytes`](Self::bytes): they are sent beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compressed {
    /// Format of what is to be stored.
    pub format: Format,
    /// Format of the source.
    pub source_format: Format,
    /// Width in pixels, as displayed.
    pub width: u32,
    /// Height in pixels, as displayed.
    pub height: u32,
    /// The source's quality, 1 to 100: estimated for JPEG, lossy WebP and AVIF, 100 for others.
    pub source_quality: u8,
    /// Quality of what is to be stored: the source's own where nothing was lost.
    pub quality: u8,
    /// Whether [`Options::min_quality`] held the wanted quality up.
    pub quality_floor: bool,
    /// The result; `None` means that compression did not help and the original is to be stored. It
    /// is smaller than the source, unless another format or a smaller picture was asked for.
    #[serde(skip)]
    pub bytes: Option<Vec<u8>>,
}

/// Compresses one image.
pub fn compress(source: &[u8], options: &Options, limits: &Limits) -> Result<Compressed, Error> {
    limits.check_bytes(source.len())?;
    convert::compress(source, sniff::sniff(source)?, options, limits)
}
