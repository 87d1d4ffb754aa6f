//! From one format or size to another, through decoded pixels.
//!
//! Whatever keeps its format and size goes the format's own way, which may know a better one.

use crate::{
    Compressed, Error, Format, Limits, Options, TargetFormat, avif, bmp, color, gif, jpeg,
    orientation::Orientation,
    picture::Picture,
    png, quality,
    resize::{self, Size},
    tiff, webp,
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
    let asked = options.format != TargetFormat::Keep && to != from;
    if header.animated && !asked {
        return keep(source, from, options, limits);
    }
    if header.animated && from == Format::Gif && to == Format::WebP {
        return animate(source, header.size, options, limits);
    }
    let size = resize::fit(header.size, options);
    if to == from && size == header.size {
        return keep(source, from, options, limits);
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
    compressed.bytes = match to {
        Format::Avif => {
            let picture = color::with_code_points(picture.narrowed())?;
            Some(avif::write(picture, target.quality, options.effort)?)
        }
        Format::Jpeg => Some(jpeg::write(color::settled(picture.narrowed())?, target.quality)?),
        Format::WebP => {
            let lossless = decoded.lossless && target.quality == 100;
            Some(webp::write(color::settled(picture.narrowed())?, target.quality, lossless)?)
        }
        _ => {
            let narrow = target.quality < 100 && !picture.color.is_hdr();
            let lost = narrow && picture.wide;
            let picture = if narrow { picture.narrowed() } else { picture };
            let encoded = if asked || size != header.size {
                Some(png::write(picture, target.quality, limits)?)
            } else {
                png::encode(picture, target.quality, source.len(), limits)?
            };
            if encoded.as_ref().is_none_or(|encoded| encoded.exact && !lost) {
                compressed.quality = decoded.quality;
            }
            encoded.map(|encoded| encoded.bytes)
        }
    };
    if compressed.bytes.is_none() {
        compressed.format = from;
    }
    Ok(compressed)
}

/// Returns the smaller of an encoding and the file without its metadata, as far as it is smaller
/// than the source, with its quality; without one the quality is the source's.
pub(crate) fn smallest(
    source: &[u8],
    encoded: (Option<Vec<u8>>, u8),
    stripped: (Vec<u8>, u8),
) -> (Option<Vec<u8>>, u8) {
    let own = stripped.1;
    let candidates = encoded.0.map(|bytes| (bytes, encoded.1)).into_iter().chain([stripped]);
    let smaller = candidates.filter(|(bytes, _)| bytes.len() < source.len());
    let best = smaller.min_by_key(|(bytes, _)| bytes.len());
    best.map_or((None, own), |(bytes, quality)| (Some(bytes), quality))
}

/// Compresses what keeps its format and size.
fn keep(source: &[u8], format: Format, options: &Options, limits: &Limits) -> Result<Compressed, Error> {
    match format {
        Format::Jpeg => jpeg::compress(source, *options, limits),
        Format::Png => png::compress(source, *options, limits),
        Format::WebP => webp::compress(source, *options, limits),
        Format::Avif => avif::compress(source, *options, limits),
        Format::Gif => gif::keep(source, limits),
        // A BMP has one picture and becomes PNG, so it never comes here.
        Format::Tiff | Format::Bmp => tiff::keep(source, limits),
    }
}

/// Turns an animated GIF into an animated WebP.
fn animate(source: &[u8], size: Size, options: &Options, limits: &Limits) -> Result<Compressed, Error> {
    let target = quality::target(*options, 100);
    Ok(Compressed {
        format: Format::WebP,
        source_format: Format::Gif,
        width: size.width,
        height: size.height,
        source_quality: 100,
        quality: target.quality,
        quality_floor: target.floored,
        bytes: Some(gif::animate(source, target.quality, limits)?),
    })
}

fn inspect(source: &[u8], format: Format, limits: &Limits) -> Result<Header, Error> {
    match format {
        Format::Jpeg => jpeg::inspect(source, limits),
        Format::Png => png::inspect(source, limits),
        Format::WebP => webp::inspect(source, limits),
        Format::Gif => gif::inspect(source, limits),
        Format::Tiff => tiff::inspect(source, limits),
        Format::Bmp => bmp::inspect(source, limits),
        Format::Avif => avif::inspect(source, limits),
    }
}

fn read(source: &[u8], format: Format, limits: &Limits) -> Result<Source, Error> {
    match format {
        Format::Jpeg => jpeg::read(source, limits),
        Format::Png => png::read(source, limits),
        Format::WebP => webp::read(source, limits),
        Format::Gif => gif::read(source, limits),
        Format::Tiff => tiff::read(source, limits),
        Format::Bmp => bmp::read(source, limits),
        Format::Avif => avif::read(source, limits),
    }
}
