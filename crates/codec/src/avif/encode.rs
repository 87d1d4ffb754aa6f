//! Pixels to AVIF, by libavif and libaom.

use libavif::{AvifImage, Encoder, RgbPixels, YuvFormat};

use super::{
    compose::{self, Layer},
    container,
    file::Property,
    quality,
};
use crate::{
    Effort, Error,
    picture::{Color, Picture},
    resize::Size,
};

/// How fast the encoder is, 0 to 10. The slow one takes five times as long, about a second for each
/// megapixel, for a tenth fewer bytes; what is slower still gains nothing.
const FAST: u8 = 6;
const SLOW: u8 = 5;
/// Most pixels that the slow one gets.
const MAX_SLOW: u64 = 4_194_304;

/// Most pixels that are coded as one; the encoder takes up to 28 bytes for each.
const MAX_PIXELS: u64 = 9_437_184;
/// Longest side of a tile, where there are more.
const MAX_TILE: u32 = 3_072;

/// Lowest quality of an alpha channel, whose edges are seen first.
const MIN_ALPHA: u8 = 60;

/// How a tile is coded.
#[derive(Debug, Clone, Copy)]
struct Settings {
    /// On the encoder's scale.
    quality: u8,
    speed: u8,
    /// Whether chroma is as fine as luma.
    fine: bool,
}

/// Encodes a picture of 8 bits a sample, in as many tiles as its size asks for.
pub(super) fn encode(picture: Picture, quality: u8, effort: Effort) -> Result<Vec<u8>, Error> {
    let size = picture.size();
    let slow = effort == Effort::Small && u64::from(size.width) * u64::from(size.height) <= MAX_SLOW;
    let speed = if slow { SLOW } else { FAST };
    let colors = colors(&picture.color);
    let (picture, alpha) = split(picture);
    // The tiles of a picture whose chroma is coarser than luma have to have even sides.
    let even = size.width.is_multiple_of(2) && size.height.is_multiple_of(2);
    let fine = picture.channels > 1 && (!even && !fits(size) || quality >= quality::FULL_CHROMA);
    let settings = |quality, fine| Settings { quality: quality::for_encoder(quality, fine), speed, fine };
    let picture = layer(&picture, settings(quality, fine))?;
    let alpha = alpha.map(|alpha| layer(&alpha, settings(quality.max(MIN_ALPHA), false))).transpose()?;
    compose::compose(size, &picture, alpha.as_ref(), colors)
        .map_err(|error| Error::EncodeFailed(format!("no AVIF came out: {error}")))
}

/// Returns whether a picture of this size is coded as one.
fn fits(size: Size) -> bool {
    u64::from(size.width) * u64::from(size.height) <= MAX_PIXELS
}

/// Takes the alpha channel off, as a picture of its own.
fn split(picture: Picture) -> (Picture, Option<Picture>) {
    if !picture.has_alpha() {
        return (picture, None);
    }
    let channels = picture.channels - 1;
    let pixels = || picture.samples.chunks_exact(picture.channels);
    let alpha = pixels().map(|pixel| pixel[channels]).collect();
    let samples = pixels().flat_map(|pixel| &pixel[..channels]).copied().collect();
    let alpha = Picture { channels: 1, samples: alpha, color: Color::Srgb, ..picture };
    (Picture { channels, samples, ..picture }, Some(alpha))
}

/// Encodes grey or RGB.
fn layer(picture: &Picture, settings: Settings) -> Result<Layer, Error> {
    let Size { width, height } = picture.size();
    if fits(picture.size()) {
        return Ok(Layer { columns: 1, tiles: vec![encode_tile(picture, settings)?] });
    }
    // Tiles are of one size.
    let side = |side: u32| side.div_ceil(side.div_ceil(MAX_TILE)).next_multiple_of(2);
    let tile = Size { width: side(width), height: side(height) };
    let mut tiles = Vec::new();
    for top in (0..height).step_by(tile.height as usize) {
        for left in (0..width).step_by(tile.width as usize) {
            tiles.push(encode_tile(&cut(picture, left, top, tile), settings)?);
        }
    }
    Ok(Layer { columns: width.div_ceil(tile.width) as u8, tiles })
}

/// Encodes one tile to a file.
fn encode_tile(picture: &Picture, settings: Settings) -> Result<Vec<u8>, Error> {
    let Picture { width, height, channels, samples, .. } = picture;
    let image = if *channels == 1 {
        AvifImage::from_luma8(*width, *height, samples)
    } else {
        let format = if settings.fine { YuvFormat::Yuv444 } else { YuvFormat::Yuv420 };
        RgbPixels::new(*width, *height, samples).map(|pixels| pixels.to_image(format))
    };
    let mut encoder = Encoder::new();
    encoder.set_speed(settings.speed).set_quality(settings.quality);
    let bytes = image.and_then(|image| encoder.encode(&image));
    bytes.map(|bytes| bytes.to_vec()).map_err(|error| Error::EncodeFailed(error.to_string()))
}

/// Cuts out a tile; beyond the edges the last row and the last column are repeated.
fn cut(picture: &Picture, left: u32, top: u32, size: Size) -> Picture {
    let channels = picture.channels;
    let row_size = picture.width as usize * channels;
    let right = picture.width.min(left + size.width);
    let mut samples = Vec::with_capacity(size.width as usize * size.height as usize * channels);
    for y in top..top + size.height {
        let start = y.min(picture.height - 1) as usize * row_size;
        let row = &picture.samples[start..start + row_size];
        samples.extend(&row[left as usize * channels..right as usize * channels]);
        samples.extend(row[row_size - channels..].repeat((left + size.width - right) as usize));
    }
    Picture { width: size.width, height: size.height, channels, wide: false, samples, color: Color::Srgb }
}

/// Returns what says how the colours are meant. The encoder turns RGB into YCbCr by BT.601, in full
/// range.
fn colors(color: &Color) -> Vec<Property<'static>> {
    const MATRIX: u8 = 6;
    let points = color.chunk(*b"cICP").and_then(<[u8]>::first_chunk);
    let &[primaries, transfer] = points.unwrap_or(&[1, 13]);
    let nclx = container::nclx([primaries, transfer, MATRIX], true);
    match color {
        Color::Profile(profile) => vec![container::profile(profile), nclx],
        Color::Srgb | Color::Chunks(_) => vec![nclx],
    }
}
