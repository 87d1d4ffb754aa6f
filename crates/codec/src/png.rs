//! PNG: read the structure, decode, turn, reduce to a palette if that pays, recompress.

mod chunk;
mod decode;
mod lossless;
mod palette;
mod quantize;

use crate::{Compressed, Error, Format, Limits, Options, quality};
use chunk::Structure;

/// PNG loses nothing, so its quality is the highest.
const SOURCE_QUALITY: u8 = 100;

/// Compresses a PNG; `source` begins with its magic bytes.
pub(crate) fn compress(source: &[u8], options: Options, limits: &Limits) -> Result<Compressed, Error> {
    let structure = Structure::read(source, limits)?;
    let target = quality::target(options, SOURCE_QUALITY);
    let narrow = target.quality < SOURCE_QUALITY && !structure.is_hdr();
    let picture = decode::decode(source, narrow, limits)?;
    let (width, height) = structure.orientation.displayed(picture.width, picture.height);
    let mut compressed = Compressed {
        format: Format::Png,
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
    let palette = if narrow && structure.allows_palette() {
        palette::encode(&picture, target.quality, &structure)?
    } else {
        None
    };
    let bound = palette.as_ref().map_or(source.len(), Vec::len).min(source.len());
    let lossless = lossless::encode(picture, &structure, limits, bound)?;
    if let Some(bytes) = lossless.filter(|bytes| bytes.len() < bound) {
        if narrow && structure.deep {
            compressed.quality = target.quality;
        }
        compressed.bytes = Some(bytes);
    } else if let Some(bytes) = palette.filter(|bytes| bytes.len() < source.len()) {
        compressed.quality = target.quality;
        compressed.bytes = Some(bytes);
    }
    Ok(compressed)
}
