//! Whether a palette is good enough for the wanted quality, and the picture with it.

use super::{
    lossless,
    quantize::{self, Quantized},
};
use crate::{Error, picture::Picture};

/// Returns how many colours a quality stands for: 256 from 50 upwards, fewer below.
fn colors(quality: u8) -> usize {
    (usize::from(quality) * 256 / 50).clamp(16, 256)
}

/// Returns the peak signal-to-noise ratio, in decibels, that a quality asks for: about what a JPEG
/// of that quality has on photographs.
fn fidelity(quality: u8) -> f64 {
    24.0 + f64::from(quality) / 6.0
}

/// Encodes with a palette; `None` if the picture has so few colours that it needs none, or so many
/// that a palette would not be of the wanted quality.
pub(super) fn encode(picture: &Picture, quality: u8) -> Result<Option<Vec<u8>>, Error> {
    // The colours of a palette are RGB, which a profile for grey cannot be applied to.
    if picture.channels < 3 && picture.color.has_profile() {
        return Ok(None);
    }
    let Some(Quantized { palette, indices, psnr }) = quantize::quantize(picture, colors(quality)) else {
        return Ok(None);
    };
    if psnr < fidelity(quality) {
        return Ok(None);
    }
    let size = (picture.width, picture.height);
    lossless::encode_indexed(size, &palette, indices, &picture.color).map(Some)
}
