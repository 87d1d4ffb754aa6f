//! AVIF to pixels, by libavif and libaom.

use libavif::RgbPixels;

use super::{container::Container, quality};
use crate::{
    Error, Limits,
    convert::Source,
    picture::{Color, Picture},
};

/// Bytes that the decoder holds for each pixel: its notes on blocks of 4 x 4, the planes, a copy of
/// them, and RGBA.
const MEMORY: u64 = 20;
/// The same for each plane of 10 or 12 bits beyond what 8 bits take.
const MEMORY_DEEP: u64 = 8;
/// The same for an alpha channel.
const MEMORY_ALPHA: u64 = 16;

/// Decodes the picture to 8 bits a sample.
pub(super) fn decode(container: &Container<'_>, limits: &Limits) -> Result<Source, Error> {
    let (size, sequence) = (container.size, container.stream.sequence);
    check_colors(container)?;
    let bytes =
        MEMORY + if sequence.depth > 8 { MEMORY_DEEP } else { 0 } + if container.alpha { MEMORY_ALPHA } else { 0 };
    limits.check_alloc(u64::from(size.width) * u64::from(size.height) * bytes)?;
    let image = libavif::decode(&container.plain()).map_err(|error| classify(&error))?;
    if (image.width(), image.height()) != (size.width, size.height) {
        return Err(Error::corrupt("the AVIF says two sizes"));
    }
    let pixels = RgbPixels::from(&image);
    drop(image);
    let channels = if container.alpha { 4 } else { 3 };
    let samples = if container.alpha {
        pixels.to_vec()
    } else {
        pixels.as_chunks().0.iter().flat_map(|&[red, green, blue, _]| [red, green, blue]).collect()
    };
    let color = color(container, channels);
    let picture = Picture { width: size.width, height: size.height, channels, wide: false, samples, color };
    let quality = quality::of(&container.stream);
    Ok(Source { picture, orientation: container.orientation, quality, lossless: quality == quality::LOSSLESS })
}

/// Refuses what the decoder would make no, or wrong, colours of.
fn check_colors(container: &Container<'_>) -> Result<(), Error> {
    let ([_, _, matrix], full_range) = container.code_points;
    let sequence = container.stream.sequence;
    let known = match matrix {
        0 => !sequence.subsampled,
        8 => full_range,
        1 | 2 | 4..=7 | 9 | 12 => true,
        _ => false,
    };
    if known { Ok(()) } else { Err(Error::unsupported(format!("AVIF, colours by the matrix {matrix}"))) }
}

/// Returns the colours as an ICC profile or code points.
fn color(container: &Container<'_>, channels: usize) -> Color {
    if let Some(profile) = container.profile() {
        return Color::from_profile(Some(profile.to_vec()), channels);
    }
    let ([primaries, transfer, _], _) = container.code_points;
    // Nothing said is sRGB, and so is the curve of BT.709, as all viewers show it.
    if matches!(primaries, 1 | 2) && matches!(transfer, 1 | 2 | 6 | 13 | 14 | 15) {
        return Color::Srgb;
    }
    let transfer = if matches!(transfer, 1 | 2 | 6 | 14 | 15) { 13 } else { transfer };
    let primaries = if primaries == 2 { 1 } else { primaries };
    Color::Chunks(vec![(*b"cICP", vec![primaries, transfer, 0, 1])])
}

fn classify(error: &libavif::Error) -> Error {
    match error {
        // What libavif calls these numbers: the stream does not decode, the file is cut off.
        libavif::Error::Code(11 | 12) => Error::corrupt("the AV1 stream cannot be decoded"),
        libavif::Error::Code(20) => Error::truncated("the AV1 stream ends early"),
        other => Error::corrupt(other.to_string()),
    }
}
