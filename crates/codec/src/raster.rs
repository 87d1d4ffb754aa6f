//! Pixels out of the decoders of the `image` crate, for GIF, TIFF and BMP.
//!
//! Sizes are checked before it is called, and the decoder's own limits are set.

use std::io::ErrorKind;

use image::{
    ColorType, ExtendedColorType, ImageDecoder, ImageError,
    error::{LimitErrorKind, UnsupportedErrorKind},
};

use crate::{
    Error, Format, Limits,
    picture::{Color, Picture},
};

/// Decodes a picture. `copies` is how many bytes the decoder holds for each byte of the result,
/// that one included.
pub(crate) fn decode(
    mut decoder: impl ImageDecoder,
    format: Format,
    copies: u64,
    limits: &Limits,
) -> Result<Picture, Error> {
    let (width, height) = decoder.dimensions();
    limits.check_dimensions(width, height)?;
    let length = decoder.total_bytes();
    limits.check_alloc(length.saturating_mul(copies))?;
    // Read before the limits are set: afterwards they would hold for a single tag too.
    let profile = decoder.icc_profile().ok().flatten();
    Limits::check_profile(profile.as_ref().map_or(0, Vec::len))?;
    let (channels, wide) = match decoder.color_type() {
        ColorType::L8 => (1, false),
        ColorType::La8 => (2, false),
        ColorType::Rgb8 => (3, false),
        ColorType::Rgba8 => (4, false),
        ColorType::L16 => (1, true),
        ColorType::La16 => (2, true),
        ColorType::Rgb16 => (3, true),
        ColorType::Rgba16 => (4, true),
        _ => return Err(Error::unsupported(format!("{format}, samples of floating point"))),
    };
    // Inks are converted without their profile, which must not be applied again.
    let inks = matches!(decoder.original_color_type(), ExtendedColorType::Cmyk8 | ExtendedColorType::Cmyk16);
    let color = Color::from_profile(profile.filter(|_| !inks), channels);
    decoder.set_limits(limits_of(limits)).map_err(|error| classify(&error, format, limits))?;
    // It fits: the limit of allocations did.
    let mut samples = vec![0; length as usize];
    decoder.read_image(&mut samples).map_err(|error| classify(&error, format, limits))?;
    if wide {
        for pair in samples.as_chunks_mut::<2>().0 {
            *pair = u16::from_ne_bytes(*pair).to_be_bytes();
        }
    }
    Ok(Picture { width, height, channels, wide, samples, color })
}

/// Returns the limits in the decoders' terms.
pub(crate) fn limits_of(limits: &Limits) -> image::Limits {
    let mut all = image::Limits::default();
    all.max_image_width = Some(limits.max_side);
    all.max_image_height = Some(limits.max_side);
    all.max_alloc = Some(limits.max_alloc);
    all
}

/// Says in this crate's terms why a file could not be decoded.
pub(crate) fn classify(error: &ImageError, format: Format, limits: &Limits) -> Error {
    match error {
        ImageError::IoError(io) if io.kind() == ErrorKind::UnexpectedEof => {
            Error::truncated("its image data ends early")
        }
        ImageError::Limits(limit) if limit.kind() == LimitErrorKind::InsufficientMemory => Error::ImageTooLarge {
            what: "bytes of memory to decode, or more",
            actual: limits.max_alloc.saturating_add(1),
            limit: limits.max_alloc,
        },
        ImageError::Unsupported(kind) => Error::unsupported(match kind.kind() {
            UnsupportedErrorKind::Color(color) => format!("{format}, colours of the kind {color:?}"),
            UnsupportedErrorKind::GenericFeature(feature) => format!("{format}, {feature}"),
            _ => format!("{format}, a rare kind"),
        }),
        ImageError::Decoding(inner) if ends_early(inner) => Error::truncated("its image data ends early"),
        other => Error::corrupt(other.to_string()),
    }
}

/// Returns whether the end of the file is among an error's sources.
fn ends_early(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(|error| error.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == ErrorKind::UnexpectedEof))
}
