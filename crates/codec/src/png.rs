//! PNG: read the structure, decode, turn, reduce to a palette if that pays, recompress.

mod chunk;
mod decode;
mod lossless;
mod palette;
mod quantize;

use crate::{
    Compressed, Error, Format, Limits, Options,
    convert::{Header, Source},
    picture::{Color, Picture},
    quality,
};
use chunk::Structure;

/// PNG loses nothing, so its quality is the highest.
const SOURCE_QUALITY: u8 = 100;

/// A PNG that was written.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) bytes: Vec<u8>,
    /// Whether it has exactly the picture's samples.
    pub(crate) exact: bool,
}

/// Compresses a PNG; `source` begins with its magic bytes.
pub(crate) fn compress(source: &[u8], options: Options, limits: &Limits) -> Result<Compressed, Error> {
    let structure = Structure::read(source, limits)?;
    let target = quality::target(options, SOURCE_QUALITY);
    let color = structure.color();
    let narrow = target.quality < SOURCE_QUALITY && !color.is_hdr();
    let picture = decode::decode(source, narrow, color, limits)?;
    let (width, height) = structure.orientation.displayed(picture.width, picture.height);
    let mut compressed = Compressed {
        format: Format::Png,
        source_format: Format::Png,
        width,
        height,
        source_quality: SOURCE_QUALITY,
        quality: SOURCE_QUALITY,
        quality_floor: target.floored,
        bytes: None,
    };
    if structure.animated {
        return Ok(compressed);
    }
    let picture = picture.turned(structure.orientation);
    if let Some(Encoded { bytes, exact }) = encode(picture, target.quality, source.len(), limits)? {
        if !exact || narrow && structure.deep {
            compressed.quality = target.quality;
        }
        compressed.bytes = Some(bytes);
    }
    Ok(compressed)
}

/// Reads the size and what a conversion has to know.
pub(crate) fn inspect(source: &[u8], limits: &Limits) -> Result<Header, Error> {
    let Structure { size, orientation, animated, .. } = Structure::read(source, limits)?;
    Ok(Header { size: orientation.displayed_size(size), animated })
}

/// Decodes to pixels as they are stored; of an animation the default image.
pub(crate) fn read(source: &[u8], limits: &Limits) -> Result<Source, Error> {
    let structure = Structure::read(source, limits)?;
    let mut picture = decode::decode(source, false, structure.color(), limits)?;
    // Code points rank before the profile.
    if picture.color.has_profile() && picture.color.chunk(*b"cICP").is_none() {
        picture.color = Color::from_profile(decode::profile(source), picture.channels);
    }
    Ok(Source { picture, orientation: structure.orientation, quality: SOURCE_QUALITY, lossless: true })
}

/// Encodes in fewer than `bound` bytes, or not at all: with a palette, where `quality` allows one
/// that is good enough, or without loss.
pub(crate) fn encode(picture: Picture, quality: u8, bound: usize, limits: &Limits) -> Result<Option<Encoded>, Error> {
    let palette = if quality < SOURCE_QUALITY && !picture.wide { palette::encode(&picture, quality)? } else { None };
    let palette = palette.filter(|bytes| bytes.len() < bound);
    let bound = palette.as_ref().map_or(bound, Vec::len);
    let lossless = lossless::encode(picture, limits, bound)?.filter(|bytes| bytes.len() < bound);
    let lossless = lossless.map(|bytes| Encoded { bytes, exact: true });
    Ok(lossless.or(palette.map(|bytes| Encoded { bytes, exact: false })))
}

/// Encodes whatever the size, which also works where the optimizer would take too much memory.
pub(crate) fn write(picture: Picture, quality: u8, limits: &Limits) -> Result<Encoded, Error> {
    if !lossless::fits(&picture, limits) {
        return Ok(Encoded { bytes: lossless::encode_plainly(&picture)?, exact: true });
    }
    let encoded = encode(picture, quality, usize::MAX, limits)?;
    encoded.ok_or_else(|| Error::EncodeFailed("no PNG came out".to_owned()))
}
