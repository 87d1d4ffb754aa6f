//! BMP as source: it becomes PNG, or what was asked for.

use std::io::Cursor;

use image::{ImageDecoder, codecs::bmp::BmpDecoder};

use crate::{
    Error, Format, Limits,
    convert::{Header, Source},
    orientation::Orientation,
    raster,
    resize::Size,
};

/// Reads the size; nothing but the header and the palette is read.
pub(crate) fn inspect(source: &[u8], limits: &Limits) -> Result<Header, Error> {
    let (width, height) = claim(source).ok_or_else(|| Error::truncated("the BMP ends before its size"))?;
    limits.check_dimensions(width, height)?;
    let (width, height) = decoder(source, limits)?.dimensions();
    Ok(Header { size: Size { width, height }, animated: false })
}

/// Decodes to pixels.
pub(crate) fn read(source: &[u8], limits: &Limits) -> Result<Source, Error> {
    let picture = raster::decode(decoder(source, limits)?, Format::Bmp, 1, limits)?;
    Ok(Source { picture, orientation: Orientation::NORMAL, quality: 100, lossless: true })
}

/// Returns width and height as the header says; the decoder has limits of its own.
fn claim(source: &[u8]) -> Option<(u32, u32)> {
    let &[header, _, _, _, s0, s1, s2, s3, t0, t1, t2, t3] = source.get(14..)?.first_chunk()?;
    if header == 12 {
        // The oldest header has numbers of 16 bits.
        return Some((u16::from_le_bytes([s0, s1]).into(), u16::from_le_bytes([s2, s3]).into()));
    }
    // Rows from the top down have a negative height.
    Some((u32::from_le_bytes([s0, s1, s2, s3]), i32::from_le_bytes([t0, t1, t2, t3]).unsigned_abs()))
}

fn decoder<'a>(source: &'a [u8], limits: &Limits) -> Result<BmpDecoder<Cursor<&'a [u8]>>, Error> {
    BmpDecoder::new(Cursor::new(source)).map_err(|error| raster::classify(&error, Format::Bmp, limits))
}
