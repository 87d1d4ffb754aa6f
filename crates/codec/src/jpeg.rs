//! JPEG: read the structure, decode, turn, encode.
//!
//! Pixels are decoded also when they are not needed, because only then is it certain that they can
//! be. The few kinds of frame that the decoder reads wrong keep their coefficients at any quality.

mod convert;
mod decode;
mod encode;
mod header;
mod segment;

use crate::{Compressed, Error, Format, Limits, Options, quality, sniff};
pub(crate) use convert::{inspect, read, write};
use header::Header;

/// Compresses a JPEG; `source` begins with its magic bytes.
pub(crate) fn compress(source: &[u8], options: Options, limits: &Limits) -> Result<Compressed, Error> {
    let header = Header::read(source)?;
    let frame = &header.frame;
    let (stored_width, stored_height) = (frame.width, frame.height);
    limits.check_dimensions(stored_width, stored_height)?;
    let clean = header.read_scans(source)?;
    let source_quality = quality::estimate(header.luminance()?);
    let target = quality::target(options, source_quality);

    let pixels = if clean.decodable { Some(decode::decode(&header, &clean.bytes, limits)?) } else { None };
    let lossy = match pixels {
        Some(pixels) if target.quality < source_quality => {
            Some(encode::encode(&pixels.turned(header.orientation), target.quality)?)
        }
        _ => None,
    };
    // A CMYK stream is rewritten for the decoder and no longer what was stored.
    let stripped = (frame.components.len() < 4).then_some(clean.bytes);

    let candidates = [(lossy, target.quality), (stripped, source_quality)];
    let best = candidates
        .into_iter()
        .filter_map(|(bytes, quality)| Some((bytes?, quality)))
        .filter(|(bytes, _)| bytes.len() < source.len())
        .min_by_key(|(bytes, _)| bytes.len());
    let (bytes, quality) = best.map_or((None, source_quality), |(bytes, q)| (Some(bytes), q));
    let (width, height) = header.orientation.displayed(stored_width, stored_height);
    Ok(Compressed {
        format: Format::Jpeg,
        source_format: Format::Jpeg,
        width,
        height,
        source_quality,
        quality,
        quality_floor: target.floored,
        bytes,
    })
}

/// Estimates the quality of a JPEG, 1 to 100, from its quantization tables. Only the part before
/// the first scan is read.
pub fn jpeg_quality(bytes: &[u8]) -> Result<u8, Error> {
    match sniff::sniff(bytes)? {
        Format::Jpeg => Ok(quality::estimate(Header::read(bytes)?.luminance()?)),
        other => Err(Error::unsupported(format!("{other}, which has no quantization tables"))),
    }
}
