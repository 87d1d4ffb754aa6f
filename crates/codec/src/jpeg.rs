//! JPEG: read the structure, requantize, or else decode, turn and encode.
//!
//! The usual picture, grey or YCbCr, stays in the DCT: see [`transcode`]. The others (CMYK, RGB)
//! are decoded and encoded. Either way all coefficients are decoded, also when they are not needed,
//! because only then is it certain that the picture can be.

mod convert;
mod decode;
mod encode;
mod header;
mod segment;
mod transcode;

use crate::{Compressed, Error, Format, Limits, Options, quality, sniff};
pub(crate) use convert::{inspect, read, write};
use header::Header;
use transcode::estimate;

/// Compresses a JPEG; `source` begins with its magic bytes.
pub(crate) fn compress(source: &[u8], options: Options, limits: &Limits) -> Result<Compressed, Error> {
    let header = Header::read(source)?;
    let (stored_width, stored_height) = (header.frame.width, header.frame.height);
    limits.check_dimensions(stored_width, stored_height)?;
    let source_quality = estimate(header.luminance()?);
    let target = quality::target(options, source_quality);

    let wanted = (target.quality < source_quality).then_some(target.quality);
    let [lossy, stripped] = if transcode::handles(&header) {
        candidates_by_coefficients(&header, source, wanted, options, limits)?
    } else {
        candidates_by_pixels(&header, source, wanted, limits)?
    };
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

/// Returns the requantized picture, where a quality below the source's is wanted, and the file
/// without metadata, where that may be smaller.
fn candidates_by_coefficients(
    header: &Header,
    source: &[u8],
    wanted: Option<u8>,
    options: Options,
    limits: &Limits,
) -> Result<[Option<Vec<u8>>; 2], Error> {
    // A file that lacks nothing but its last marker can be requantized, but is not passed on.
    let stripped = || header.read_scans(source).ok().map(|clean| clean.bytes);
    let Some(quality) = wanted else {
        transcode::check(header, source, limits)?;
        return Ok([None, stripped()]);
    };
    let result = transcode::transcode(header, source, quality, options.effort, limits)?;
    let stripped = if result.bytes.len() > result.essential { stripped() } else { None };
    Ok([Some(result.bytes), stripped])
}

/// The same by decoding and encoding.
fn candidates_by_pixels(
    header: &Header,
    source: &[u8],
    wanted: Option<u8>,
    limits: &Limits,
) -> Result<[Option<Vec<u8>>; 2], Error> {
    let clean = header.read_scans(source)?;
    let pixels = if clean.decodable { Some(decode::decode(header, &clean.bytes, limits)?) } else { None };
    let lossy = match (pixels, wanted) {
        (Some(pixels), Some(quality)) => Some(encode::encode(&pixels.turned(header.orientation), quality)?),
        _ => None,
    };
    // A CMYK stream is rewritten for the decoder and no longer what was stored.
    let stripped = (header.frame.components.len() < 4).then_some(clean.bytes);
    Ok([lossy, stripped])
}

/// Estimates the quality of a JPEG, 1 to 100, from its quantization tables. Only the part before
/// the first scan is read.
pub fn jpeg_quality(bytes: &[u8]) -> Result<u8, Error> {
    match sniff::sniff(bytes)? {
        Format::Jpeg => Ok(estimate(Header::read(bytes)?.luminance()?)),
        other => Err(Error::unsupported(format!("{other}, which has no quantization tables"))),
    }
}
