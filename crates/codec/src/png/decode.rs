//! PNG to pixels.

use std::io::{Cursor, ErrorKind};

use png::{BitDepth, ColorType, Decoder, DecodingError, Transformations};

use crate::{
    Error, Limits,
    picture::{Color, Picture},
};

/// Longest colour profile that is unpacked, in bytes.
const MAX_PROFILE: usize = 4 << 20;

/// Decodes the default image; palettes and small depths are expanded. `narrow` reduces samples of
/// 16 bits to 8.
pub(super) fn decode(source: &[u8], narrow: bool, color: Color, limits: &Limits) -> Result<Picture, Error> {
    let bytes = usize::try_from(limits.max_alloc).unwrap_or(usize::MAX);
    let mut decoder = Decoder::new_with_limits(Cursor::new(source), png::Limits { bytes });
    // Both are compressed and never looked at: nothing to gain, and a bomb less.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let strip = if narrow { Transformations::STRIP_16 } else { Transformations::IDENTITY };
    decoder.set_transformations(Transformations::EXPAND | strip);
    let mut reader = decoder.read_info().map_err(|error| classify(&error, limits))?;
    let size = reader.output_buffer_size().unwrap_or(usize::MAX);
    limits.check_alloc(size as u64)?;
    let mut samples = vec![0; size];
    let info = reader.next_frame(&mut samples).map_err(|error| classify(&error, limits))?;
    let channels = match info.color_type {
        ColorType::Grayscale => 1,
        ColorType::GrayscaleAlpha => 2,
        ColorType::Rgb => 3,
        ColorType::Rgba => 4,
        ColorType::Indexed => return Err(Error::corrupt("the palette cannot be expanded")),
    };
    let wide = info.bit_depth == BitDepth::Sixteen;
    Ok(Picture { width: info.width, height: info.height, channels, wide, samples, color })
}

/// Unpacks the colour profile; one that is broken or unfolds to too much counts as absent.
pub(super) fn profile(source: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = Decoder::new_with_limits(Cursor::new(source), png::Limits { bytes: MAX_PROFILE });
    decoder.set_ignore_text_chunk(true);
    let reader = decoder.read_info().ok()?;
    reader.info().icc_profile.as_deref().map(<[u8]>::to_vec)
}

fn classify(error: &DecodingError, limits: &Limits) -> Error {
    match error {
        DecodingError::IoError(io) if io.kind() == ErrorKind::UnexpectedEof => {
            Error::truncated("its image data ends early")
        }
        DecodingError::LimitsExceeded => Error::ImageTooLarge {
            what: "bytes of memory to decode, or more",
            actual: limits.max_alloc.saturating_add(1),
            limit: limits.max_alloc,
        },
        other => Error::corrupt(other.to_string()),
    }
}
