//! PNG to pixels.

use std::io::{Cursor, ErrorKind};

use png::{BitDepth, ColorType, Decoder, DecodingError, Transformations};

use crate::{Error, Limits, orientation::Orientation};

/// A decoded picture: grey, grey with alpha, RGB or RGBA, by its number of channels.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) channels: usize,
    /// Whether samples have 16 bits, the high byte first, and not 8.
    pub(super) wide: bool,
    pub(super) samples: Vec<u8>,
}

impl Picture {
    /// Returns the picture as displayed.
    pub(super) fn turned(self, orientation: Orientation) -> Self {
        let (width, height) = orientation.displayed(self.width, self.height);
        let size = self.channels * if self.wide { 2 } else { 1 };
        let samples = orientation.apply(self.samples, self.width, self.height, size);
        Self { width, height, samples, ..self }
    }
}

/// Decodes the default image; palettes and small depths are expanded. `narrow` reduces samples of
/// 16 bits to 8.
pub(super) fn decode(source: &[u8], narrow: bool, limits: &Limits) -> Result<Picture, Error> {
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
    Ok(Picture { width: info.width, height: info.height, channels, wide, samples })
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
