//! Pixels to WebP, by libwebp.

use webpx::{Encoder, Unstoppable};

use crate::{Error, picture::Picture};

/// The longest side that the format has numbers for, in pixels.
const MAX_SIDE: u32 = 16_383;

/// Encodes RGB or RGBA of 8 bits a sample.
pub(super) fn encode(picture: &Picture, quality: u8, lossless: bool) -> Result<Vec<u8>, Error> {
    let Picture { width, height, channels, samples, .. } = picture;
    if *width.max(height) > MAX_SIDE {
        return Err(Error::EncodeFailed(format!("a side of {} pixels; WebP has {MAX_SIDE}", width.max(height))));
    }
    let encoder = if *channels == 4 {
        Encoder::new_rgba(samples, *width, *height)
    } else {
        Encoder::new_rgb(samples, *width, *height)
    };
    let encoder = if lossless { encoder.lossless(true) } else { encoder.quality(f32::from(quality)) };
    encoder.encode(Unstoppable).map_err(|error| Error::EncodeFailed(error.to_string()))
}
