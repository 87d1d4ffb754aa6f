//! GIF as source. A still becomes PNG, or what was asked for; an animation stays as it is, without
//! its metadata, or becomes an animated WebP.

mod block;

use std::io::Cursor;

use image::{AnimationDecoder, ImageDecoder, codecs::gif::GifDecoder};

use crate::{
    Compressed, Error, Format, Limits,
    convert::{Header, Source},
    orientation::Orientation,
    picture::Color,
    raster, webp,
};
use block::Blocks;

/// Its colours are few, but nothing else is lost.
const SOURCE_QUALITY: u8 = 100;

/// Reads the size and what a conversion has to know.
pub(crate) fn inspect(source: &[u8], limits: &Limits) -> Result<Header, Error> {
    let blocks = Blocks::read(source, limits)?;
    Ok(Header { size: blocks.size, animated: blocks.frames > 1 })
}

/// Decodes to pixels; of an animation the first frame.
pub(crate) fn read(source: &[u8], limits: &Limits) -> Result<Source, Error> {
    Blocks::read(source, limits)?;
    // The canvas, and a frame that may be as large.
    let picture = raster::decode(decoder(source, limits)?, Format::Gif, 2, limits)?.without_idle_alpha();
    Ok(Source { picture, orientation: Orientation::NORMAL, quality: SOURCE_QUALITY, lossless: true })
}

/// Removes the metadata of an animation. Its first frame is decoded, to see that it can be.
pub(crate) fn keep(source: &[u8], limits: &Limits) -> Result<Compressed, Error> {
    let blocks = Blocks::read(source, limits)?;
    read(source, limits)?;
    Ok(Compressed {
        format: Format::Gif,
        source_format: Format::Gif,
        width: blocks.size.width,
        height: blocks.size.height,
        source_quality: SOURCE_QUALITY,
        quality: SOURCE_QUALITY,
        quality_floor: false,
        bytes: Some(blocks.stripped).filter(|bytes| bytes.len() < source.len()),
    })
}

/// Writes an animation as WebP of the given quality, frame by frame.
pub(crate) fn animate(source: &[u8], quality: u8, limits: &Limits) -> Result<Vec<u8>, Error> {
    let blocks = Blocks::read(source, limits)?;
    let classify = |error: image::ImageError| raster::classify(&error, Format::Gif, limits);
    // The canvas before and after a frame, the frame, and the encoder's own.
    limits.check_alloc(u64::from(blocks.size.width) * u64::from(blocks.size.height) * 4 * 4)?;
    let mut decoder = decoder(source, limits)?;
    let profile = Color::from_profile(decoder.icc_profile().ok().flatten(), 4);
    decoder.set_limits(raster::limits_of(limits)).map_err(classify)?;
    let mut animation = webp::Animation::new(blocks.size, blocks.plays, quality)?;
    for frame in decoder.into_frames() {
        let frame = frame.map_err(classify)?;
        let (milliseconds, unit) = frame.delay().numer_denom_ms();
        animation.add(frame.buffer().as_raw(), milliseconds / unit.max(1))?;
    }
    let color = if matches!(profile, Color::Profile(_)) { profile } else { Color::Srgb };
    animation.finish(&color)
}

fn decoder<'a>(source: &'a [u8], limits: &Limits) -> Result<GifDecoder<Cursor<&'a [u8]>>, Error> {
    GifDecoder::new(Cursor::new(source)).map_err(|error| raster::classify(&error, Format::Gif, limits))
}
