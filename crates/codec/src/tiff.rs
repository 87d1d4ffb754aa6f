//! TIFF as source: its first page becomes PNG, or what was asked for.

mod directory;

use std::io::Cursor;

use image::codecs::tiff::TiffDecoder;

use crate::{
    Compressed, Error, Format, Limits,
    convert::{Header, Source},
    picture::Picture,
    raster,
};
use directory::Directory;

/// Counts as lossless, also in the rare case of JPEG inside.
const SOURCE_QUALITY: u8 = 100;

/// Reads the size and what a conversion has to know. Several pages count as an animation: their
/// number cannot be kept.
pub(crate) fn inspect(source: &[u8], limits: &Limits) -> Result<Header, Error> {
    let directory = Directory::read(source, limits)?;
    Ok(Header { size: directory.orientation.displayed_size(directory.size), animated: directory.pages > 1 })
}

/// Decodes the first page to pixels as they are stored.
pub(crate) fn read(source: &[u8], limits: &Limits) -> Result<Source, Error> {
    let directory = Directory::read(source, limits)?;
    let decoder =
        TiffDecoder::new(Cursor::new(source)).map_err(|error| raster::classify(&error, Format::Tiff, limits))?;
    // The decoder's buffer, of up to 4 channels for 3, and a strip of it.
    let mut picture = raster::decode(decoder, Format::Tiff, 3, limits)?;
    if directory.premultiplied {
        divide_by_alpha(&mut picture);
    }
    Ok(Source { picture, orientation: directory.orientation, quality: SOURCE_QUALITY, lossless: true })
}

/// Keeps a file of several pages as it is. The first is decoded, to see that it can be.
pub(crate) fn keep(source: &[u8], limits: &Limits) -> Result<Compressed, Error> {
    let size = inspect(source, limits)?.size;
    read(source, limits)?;
    Ok(Compressed {
        format: Format::Tiff,
        source_format: Format::Tiff,
        width: size.width,
        height: size.height,
        source_quality: SOURCE_QUALITY,
        quality: SOURCE_QUALITY,
        quality_floor: false,
        bytes: None,
    })
}

/// Takes alpha out of colours that it was multiplied into.
fn divide_by_alpha(picture: &mut Picture) {
    if !picture.has_alpha() {
        return;
    }
    let divide = |sample: u32, alpha: u32, most: u32| {
        (sample * most + alpha / 2).checked_div(alpha).unwrap_or_default().min(most)
    };
    let channels = picture.channels;
    if picture.wide {
        for pixel in picture.samples.as_chunks_mut::<2>().0.chunks_exact_mut(channels) {
            let alpha = u32::from(u16::from_be_bytes(pixel[channels - 1]));
            for sample in &mut pixel[..channels - 1] {
                // At most 65,535.
                *sample = (divide(u32::from(u16::from_be_bytes(*sample)), alpha, 65_535) as u16).to_be_bytes();
            }
        }
    } else {
        for pixel in picture.samples.chunks_exact_mut(channels) {
            let alpha = u32::from(pixel[channels - 1]);
            // At most 255.
            pixel[..channels - 1].iter_mut().for_each(|sample| *sample = divide((*sample).into(), alpha, 255) as u8);
        }
    }
}
