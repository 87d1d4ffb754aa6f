//! From one format or size to another, through decoded pixels.
//!
//! Whatever keeps its format and size goes the format's own way, which may know a better one.

use crate::{
    Compressed, Error, Format, Limits, Options, color, jpeg,
    orientation::Orientation,
    picture::Picture,
    png, quality,
    resize::{self, Size},
    webp,
};

/// What a file's header says.
#[derive(Debug)]
pub(crate) struct Header {
    /// Width and height as displayed.
    pub(crate) size: Size,
    /// Whether there are more pictures than one.
    pub(crate) animated: bool,
}

/// A decoded file.
#[derive(Debug)]
pub(crate) struct Source {
    /// The picture as stored.
    pub(crate) picture: Picture,
    /// How it is turned to be displayed.
    pub(crate) orientation: Orientation,
    /// Its quality, 1 to 100.
    pub(crate) quality: u8,
    /// Whether its format lost nothing.
    pub(crate) lossless: bool,
}

/// Compresses a file of format `from`.
pub(crate) fn compress(source: &[u8], from: Format, options: &Options, limits: &Limits) -> Result<Compressed, Error> {
    let to = options.format.of(from);
    let header = inspect(source, from, limits)?;
    let size = resize::fit(header.size, options);
    if to == from && (size == header.size || header.animated) {
        return match from {
            Format::Jpeg => jpeg::compress(source, *options, limits),
            Format::Png => png::compress(source, *options, limits),
            Format::WebP => webp::compress(source, *options, limits),
        };
    }
    let decoded = read(source, from, limits)?;
    let target = quality::target(*options, decoded.quality);
    let stored = decoded.orientation.displayed_size(size);
    let picture = resize::downscale(decoded.picture, stored)?.turned(decoded.orientation);
    let mut compressed = Compressed {
        format: to,
        source_format: from,
        width: size.width,
        height: size.height,
        source_quality: decoded.quality,
        quality: target.quality,
        quality_floor: target.floored,
        bytes: None,
    };
    let bytes = match to {
        Format::Jpeg => jpeg::write(color::settled(picture.narrowed())?, target.quality)?,
        Format::Png => {
            let narrow = target.quality < 100 && !picture.color.is_hdr();
            let lost = narrow && picture.wide;
            let picture = if narrow { picture.narrowed() } else { picture };
            let png::Encoded { bytes, exact } = png::write(picture, target.quality, limits)?;
            if exact && !lost {
                compressed.quality = decoded.quality;
            }
            bytes
        }
        Format::WebP => {
            let lossless = decoded.lossless && target.quality == 100;
            webp::write(color::settled(picture.narrowed())?, target.quality, lossless)?
        }
    };
    compressed.bytes = Some(bytes);
    Ok(compressed)
}

fn inspect(source: &[u8], format: Format, limits: &Limits) -> Result<Header, Error> {
    match format {
        Format::Jpeg => jpeg::inspect(source, limits),
        Format::Png => png::inspect(source, limits),
        Format::WebP => webp::inspect(source, limits),
    }
}

fn read(source: &[u8], format: Format, limits: &Limits) -> Result<Source, Error> {
    match format {
        Format::Jpeg => jpeg::read(source, limits),
        Format::Png => png::read(source, limits),
        Format::WebP => webp::read(source, limits),
    }
}
