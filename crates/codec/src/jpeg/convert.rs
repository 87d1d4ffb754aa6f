//! JPEG as source or result of a conversion, where pixels go from one format or size to another.

use super::{
    decode::{self, Pixels},
    encode,
    header::Header,
    transcode::estimate,
};
use crate::{
    Error, Limits, convert,
    picture::{Color, Picture},
    resize::Size,
};

/// Reads the size and what a conversion has to know.
pub(crate) fn inspect(source: &[u8], limits: &Limits) -> Result<convert::Header, Error> {
    let header = Header::read(source)?;
    let size = Size { width: header.frame.width, height: header.frame.height };
    limits.check_dimensions(size.width, size.height)?;
    Ok(convert::Header { size: header.orientation.displayed_size(size), animated: false })
}

/// Decodes to pixels as they are stored.
pub(crate) fn read(source: &[u8], limits: &Limits) -> Result<convert::Source, Error> {
    let header = Header::read(source)?;
    limits.check_dimensions(header.frame.width, header.frame.height)?;
    let clean = header.read_scans(source)?;
    if !clean.decodable {
        return Err(Error::unsupported("JPEG of rare sampling, which can only stay a JPEG of its size"));
    }
    let Pixels { width, height, channels, samples, icc } = decode::decode(&header, &clean.bytes, limits)?;
    let color = Color::from_profile(icc, channels);
    let picture = Picture { width, height, channels, wide: false, samples, color };
    let quality = estimate(header.luminance()?);
    Ok(convert::Source { picture, orientation: header.orientation, quality, lossless: false })
}

/// Encodes a picture of 8 bits a sample; transparency is put on white.
pub(crate) fn write(picture: Picture, quality: u8) -> Result<Vec<u8>, Error> {
    let Picture { width, height, channels, samples, color, .. } = picture.flattened();
    let icc = match color {
        Color::Profile(profile) => Some(profile),
        Color::Srgb | Color::Chunks(_) => None,
    };
    encode::encode(&Pixels { width, height, channels, samples, icc }, quality)
}
