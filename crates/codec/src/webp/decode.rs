//! WebP to pixels.

use std::io::{Cursor, ErrorKind};

use image_webp::{DecodingError, WebPDecoder};

use super::{
    LOSSLESS,
    container::{Bitstream, Container, Frame},
    vp8,
};
use crate::{
    Error, Limits,
    convert::Source,
    picture::{Color, Picture},
    resize::Size,
};

/// Decodes the picture, or the first frame of an animation, on its canvas. The decoder gets a file
/// that holds nothing else, so that no foreign EXIF or XMP and no animation reaches its parsers.
pub(super) fn decode(container: &Container<'_>, limits: &Limits) -> Result<Source, Error> {
    let Container { size, frame, orientation, .. } = *container;
    let channels = if frame.has_alpha() || container.animated { 4 } else { 3 };
    let pixels = u64::from(size.width) * u64::from(size.height);
    limits.check_alloc(pixels * memory(container, channels as u64))?;
    let mut decoder = WebPDecoder::new(Cursor::new(frame.file())).map_err(|error| classify(&error))?;
    decoder.set_memory_limit(usize::try_from(limits.max_alloc).unwrap_or(usize::MAX));
    let mut samples = vec![0; decoder.output_buffer_size().unwrap_or_default()];
    decoder.read_image(&mut samples).map_err(|error| classify(&error))?;
    if container.animated {
        samples = on_canvas(&samples, &frame, size);
    } else if frame.size != size {
        return Err(Error::corrupt("the WebP says two sizes"));
    }
    let color = Color::from_profile(container.profile.map(<[u8]>::to_vec), channels);
    let picture = Picture { width: size.width, height: size.height, channels, wide: false, samples, color };
    let (quality, lossless) = match frame.bitstream {
        Bitstream::Lossy(frame) => (vp8::quality(frame), false),
        Bitstream::Lossless(_) => (LOSSLESS, true),
    };
    Ok(Source { picture, orientation, quality, lossless })
}

/// Puts a frame onto an empty canvas of RGBA.
fn on_canvas(samples: &[u8], frame: &Frame<'_>, size: Size) -> Vec<u8> {
    let channels = if frame.has_alpha() { 4 } else { 3 };
    let width = frame.size.width as usize;
    let mut canvas = vec![0; size.width as usize * size.height as usize * 4];
    let rows = canvas.chunks_exact_mut(size.width as usize * 4).skip(frame.top as usize);
    for (row, source) in rows.zip(samples.chunks_exact(width * channels)) {
        let pixels = row[4 * frame.left as usize..].as_chunks_mut::<4>().0;
        for (pixel, source) in pixels.iter_mut().zip(source.chunks_exact(channels)) {
            pixel[3] = 255;
            pixel[..channels].copy_from_slice(source);
        }
    }
    canvas
}

/// Returns the bytes a pixel takes while it is decoded: its samples, and what the decoder holds.
fn memory(container: &Container<'_>, channels: u64) -> u64 {
    let decoder = match container.frame.bitstream {
        // 4:2:0, and the alpha channel, which is unpacked as RGBA.
        Bitstream::Lossy(_) => 2 + if channels == 4 { 5 } else { 0 },
        Bitstream::Lossless(_) => 4,
    };
    let canvas = if container.animated { 4 } else { 0 };
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
