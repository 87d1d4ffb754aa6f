//! AVIF: read the structure, decode, encode, put back into a file without metadata.

mod bits;
mod boxes;
mod compose;
mod container;
mod decode;
mod encode;
mod file;
mod meta;
mod quality;
mod stream;

use crate::{
    Compressed, Effort, Error, Format, Limits, Options, color,
    convert::{self, Header, Source},
    picture::Picture,
    quality::target,
};
use container::Container;

/// How much lower than the source's the wanted quality has to be, for an encoding to be worth its
/// loss: the source's is an estimate, and a second run shall not encode again.
const TOLERANCE: u8 = 3;

/// Compresses an AVIF; `source` begins with a box that says so.
pub(crate) fn compress(source: &[u8], options: Options, limits: &Limits) -> Result<Compressed, Error> {
    let container = Container::read(source, limits)?;
    let decoded = decode::decode(&container, limits)?;
    let target = target(options, decoded.quality);
    let size = container.orientation.displayed_size(container.size);
    // More than 8 bits a sample, as they are for high dynamic range, stay as they are.
    let lossy = if decoded.picture.color.is_hdr() || target.quality.saturating_add(TOLERANCE) > decoded.quality {
        None
    } else {
        Some(write(decoded.picture.turned(decoded.orientation), target.quality, options.effort)?)
    };
    let stripped = (container.stripped(), decoded.quality);
    let (bytes, quality) = convert::smallest(source, (lossy, target.quality), stripped);
    Ok(Compressed {
        format: Format::Avif,
        source_format: Format::Avif,
        width: size.width,
        height: size.height,
        source_quality: decoded.quality,
        quality,
        quality_floor: target.floored,
        bytes,
    })
}

/// Reads the size and what a conversion has to know.
pub(crate) fn inspect(source: &[u8], limits: &Limits) -> Result<Header, Error> {
    let container = Container::read(source, limits)?;
    Ok(Header { size: container.orientation.displayed_size(container.size), animated: false })
}

/// Decodes to pixels as they are stored. High dynamic range is refused, as 8 bits are too few.
pub(crate) fn read(source: &[u8], limits: &Limits) -> Result<Source, Error> {
    let decoded = decode::decode(&Container::read(source, limits)?, limits)?;
    if decoded.picture.color.is_hdr() {
        return Err(Error::unsupported("AVIF of high dynamic range, which is only kept as it is"));
    }
    Ok(decoded)
}

/// Encodes a picture of 8 bits a sample.
pub(crate) fn write(picture: Picture, quality: u8, effort: Effort) -> Result<Vec<u8>, Error> {
    let picture = picture.without_idle_alpha();
    // A profile for grey would have to go with a file that has no colours.
    let picture = if picture.color.has_profile() { color::with_colors(picture) } else { picture };
    encode::encode(picture, quality, effort)
}
