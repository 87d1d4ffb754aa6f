//! WebP: read the structure, decode, encode, put back into a container without metadata.

mod animate;
mod container;
mod decode;
mod encode;
mod vp8;

use crate::{
    Compressed, Error, Format, Limits, Options, color,
    convert::{self, Header, Source},
    picture::{Color, Picture},
    quality,
};
pub(crate) use animate::Animation;
use container::Container;

/// Quality of a picture that is stored without loss.
const LOSSLESS: u8 = 100;

/// How much lower than the source's the wanted quality has to be, for an encoding to be worth its
/// loss: the source's is an estimate, and a second run shall not encode again.
const TOLERANCE: u8 = 3;

/// Compresses a WebP; `source` begins with its magic bytes.
pub(crate) fn compress(source: &[u8], options: Options, limits: &Limits) -> Result<Compressed, Error> {
    let container = Container::read(source, limits)?;
    let decoded = decode::decode(&container, limits)?;
    let target = quality::target(options, decoded.quality);
    let (width, height) = container.orientation.displayed(container.size.width, container.size.height);
    let lossy = if container.animated || target.quality.saturating_add(TOLERANCE) > decoded.quality {
        None
    } else {
        Some(write(decoded.picture.turned(decoded.orientation), target.quality, false)?)
    };
    let stripped = (container.stripped(), decoded.quality);
    let (bytes, quality) = convert::smallest(source, (lossy, target.quality), stripped);
    Ok(Compressed {
        format: Format::WebP,
        source_format: Format::WebP,
        width,
        height,
        source_quality: decoded.quality,
        quality,
        quality_floor: target.floored,
        bytes,
    })
}

/// Reads the size and what a conversion has to know.
pub(crate) fn inspect(source: &[u8], limits: &Limits) -> Result<Header, Error> {
    let Container { size, orientation, animated, .. } = Container::read(source, limits)?;
    Ok(Header { size: orientation.displayed_size(size), animated })
}

/// Decodes to pixels as they are stored; of an animation the first frame.
pub(crate) fn read(source: &[u8], limits: &Limits) -> Result<Source, Error> {
    decode::decode(&Container::read(source, limits)?, limits)
}

/// Encodes a picture of 8 bits a sample, without loss or at `quality`.
pub(crate) fn write(picture: Picture, quality: u8, lossless: bool) -> Result<Vec<u8>, Error> {
    let picture = color::with_colors(picture.without_idle_alpha());
    let still = encode::encode(&picture, quality, lossless)?;
    let Color::Profile(profile) = &picture.color else { return Ok(still) };
    let with_profile = container::with_profile(&still, picture.size(), profile);
    with_profile.ok_or_else(|| Error::EncodeFailed("no WebP came out".to_owned()))
}
