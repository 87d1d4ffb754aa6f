//! WebP to pixels.

use std::io::{Cursor, ErrorKind};

use image_webp::{DecodingError, WebPDecoder};

use super::{
    LOSSLESS,
    container::{Bitstream, Container},
    vp8,
};
use crate::{
    Error, Limits,
    convert::Source,
    picture::{Color, Picture},
};

/// Decodes the picture, or the first frame of an animation. The decoder gets the file without its
/// metadata, so that no foreign EXIF or XMP reaches its parsers.
pub(super) fn decode(container: &Container<'_>, limits: &Limits) -> Result<Source, Error> {
    let size = container.size;
    let file = container.stripped();
    let mut decoder = WebPDecoder::new(Cursor::new(file)).map_err(|error| classify(&error))?;
    if decoder.dimensions() != (size.width, size.height) {
        return Err(Error::corrupt("the WebP says two sizes"));
    }
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let pixels = u64::from(size.width) * u64::from(size.height);
    limits.check_alloc(pixels * memory(container, channels as u64))?;
    decoder.set_memory_limit(usize::try_from(limits.max_alloc).unwrap_or(usize::MAX));
    let mut samples = vec![0; decoder.output_buffer_size().unwrap_or_default()];
    if container.animated {
        decoder.read_frame(&mut samples).map_err(|error| classify(&error))?;
    } else {
        decoder.read_image(&mut samples).map_err(|error| classify(&error))?;
    }
    let color = Color::from_profile(container.profile.map(<[u8]>::to_vec), channels);
    let picture = Picture { width: size.width, height: size.height, channels, wide: false, samples, color };
    let (quality, lossless) = match container.bitstream {
        Bitstream::Lossy(frame) => (vp8::quality(frame), false),
        Bitstream::Lossless(_) => (LOSSLESS, true),
    };
    Ok(Source { picture, orientation: container.orientation, quality, lossless })
}

/// Returns the bytes a pixel takes while it is decoded: its samples, and what the decoder holds.
fn memory(container: &Container<'_>, channels: u64) -> u64 {
    let decoder = match container.bitstream {
        // 4:2:0, and the alpha channel, which is unpacked as RGBA.
        Bitstream::Lossy(_) => 2 + if channels == 4 { 5 } else { 0 },
        Bitstream::Lossless(_) => 4,
    };
    let canvas = if container.animated { 8 } else { 0 };
    channels + decoder + canvas
}

fn classify(error: &DecodingError) -> Error {
    match error {
        DecodingError::IoError(io) if io.kind() == ErrorKind::UnexpectedEof => {
            Error::truncated("its image data ends early")
        }
        DecodingError::NotEnoughInitData => Error::truncated("its image data ends early"),
        other => Error::corrupt(other.to_string()),
    }
}
