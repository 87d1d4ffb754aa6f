//! Limits on what an image may cost, checked before it costs anything.
//!
//! Everything here is decided from the file's size and its header, so that a few bytes that claim
//! a gigantic image are refused without a pixel being allocated.

use crate::Error;

/// Scans of one JPEG. Encoders write about ten; each one is a pass over the whole image, so
/// thousands of them are an attack on the CPU.
const MAX_SCANS: u64 = 100;

/// Frames of an animation, or pages of a file. Each is decoded or at least walked.
const MAX_FRAMES: u64 = 1_000;

/// Size of a colour profile in bytes. Real ones have a few kilobytes, rarely some hundred.
const MAX_PROFILE: u64 = 1 << 20;

/// Size in bytes of the header of an AVIF, which lists its parts. Real ones have some hundred, and
/// forty for each tile.
const MAX_HEADER: u64 = 1 << 20;

/// Limits on one image. An image that exceeds one fails with [`Error::ImageTooLarge`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Size of the source in bytes; 25 MiB by default.
    pub max_bytes: usize,
    /// Width times height, summed over the frames of an animation; 50 megapixels by default.
    pub max_pixels: u64,
    /// Width and height, each, in pixels; 16,384 by default.
    pub max_side: u32,
    /// Memory a decoder may take for pixels and coefficients, in bytes; 256 MiB by default.
    /// Baseline JPEG needs a few rows, progressive JPEG three to seven bytes a pixel (JPEG of other
    /// colours, or decoded for another size or format, three to nine), PNG one to eight, WebP five to
    /// eleven, AVIF 20 to 44 (so that the default is 13 megapixels of 8 bits). Encoding comes on top,
    /// with at most about as much again; WebP takes six, AVIF 28 for at most 9 megapixels at a time.
    pub max_alloc: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 25 << 20, max_pixels: 50_000_000, max_side: 16_384, max_alloc: 256 << 20 }
    }
}

impl Limits {
    pub(crate) fn check_bytes(&self, length: usize) -> Result<(), Error> {
        check("bytes", length as u64, self.max_bytes as u64)
    }

    pub(crate) fn check_dimensions(&self, width: u32, height: u32) -> Result<(), Error> {
        if width == 0 || height == 0 {
            return Err(Error::corrupt(format!("its size is {width} x {height}")));
        }
        let side = u64::from(width.max(height));
        check("pixels a side", side, u64::from(self.max_side))?;
        check("pixels", u64::from(width) * u64::from(height), self.max_pixels)
    }

    pub(crate) fn check_alloc(&self, bytes: u64) -> Result<(), Error> {
        check("bytes of memory to decode", bytes, self.max_alloc)
    }

    pub(crate) fn check_pixels(&self, sum: u64) -> Result<(), Error> {
        check("pixels in all frames", sum, self.max_pixels)
    }

    pub(crate) fn check_frames(frames: u64) -> Result<(), Error> {
        check("frames", frames, MAX_FRAMES)
    }

    pub(crate) fn check_header(bytes: usize) -> Result<(), Error> {
        check("bytes of header", bytes as u64, MAX_HEADER)
    }

    pub(crate) fn check_profile(bytes: usize) -> Result<(), Error> {
        check("bytes of colour profile", bytes as u64, MAX_PROFILE)
    }

    /// Fails when `scans` exceeds what any encoder writes.
    pub(crate) fn check_scans(scans: u64) -> Result<(), Error> {
        check("scans", scans, MAX_SCANS)
    }
}

fn check(what: &'static str, actual: u64, limit: u64) -> Result<(), Error> {
    if actual > limit {
        return Err(Error::ImageTooLarge { what, actual, limit });
    }
    Ok(())
}
