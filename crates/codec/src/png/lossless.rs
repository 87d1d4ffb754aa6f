//! Pixels to PNG without loss, by oxipng.
//!
//! It gets pixels and never the foreign file. How hard it tries depends on the size alone, so that
//! it takes some seconds for any image and the result is the same on a busy machine.

use oxipng::{BitDepth, ColorType, Deflater, FilterStrategy, RawImage, indexset};

use super::{chunk::Structure, decode::Picture};
use crate::{Error, Limits};

/// Where a quick try is this much larger than what has to be beaten, the thorough one is left out;
/// between the two lie rarely more than 15 per cent.
const HOPELESS: f64 = 1.25;

/// Encodes without loss, unless it can be foreseen that more than `bound` bytes come out or that
/// it takes too much memory.
pub(super) fn encode(
    picture: Picture,
    structure: &Structure<'_>,
    limits: &Limits,
    bound: usize,
) -> Result<Option<Vec<u8>>, Error> {
    // The optimizer holds up to four copies: the pixels, a reduction, the filtered rows, the best.
    let size = picture.samples.len();
    if size as u64 * 2 > limits.max_alloc {
        return Ok(None);
    }
    let color = match picture.channels {
        1 => ColorType::Grayscale { transparent_shade: None },
        2 => ColorType::GrayscaleAlpha,
        3 => ColorType::RGB { transparent_color: None },
        _ => ColorType::RGBA,
    };
    let depth = if picture.wide { BitDepth::Sixteen } else { BitDepth::Eight };
    let image = RawImage::new(picture.width, picture.height, color, depth, picture.samples);
    let image = with_color(image.map_err(|error| failed(&error))?, structure);
    if size > 1 << 20 {
        let quick = write(&image, &quick_options())?;
        if quick.len() as f64 > bound as f64 * HOPELESS {
            return Ok(None);
        }
    }
    write(&image, &thorough_options(size)).map(Some)
}

/// Encodes rows of palette indices, one byte each.
pub(super) fn encode_indexed(
    (width, height): (u32, u32),
    palette: &[[u8; 4]],
    indices: Vec<u8>,
    structure: &Structure<'_>,
) -> Result<Vec<u8>, Error> {
    let palette = palette.iter().map(|&[r, g, b, a]| oxipng::RGBA8::new(r, g, b, a)).collect();
    let size = indices.len();
    let color = ColorType::Indexed { palette };
    let image = RawImage::new(width, height, color, BitDepth::Eight, indices).map_err(|error| failed(&error))?;
    write(&with_color(image, structure), &thorough_options(size))
}

fn with_color(mut image: RawImage, structure: &Structure<'_>) -> RawImage {
    for (name, content) in &structure.color {
        image.add_png_chunk(*name, content.to_vec());
    }
    image
}

fn write(image: &RawImage, options: &oxipng::Options) -> Result<Vec<u8>, Error> {
    image.create_optimized_png(options).map_err(|error| failed(&error))
}

fn failed(error: &oxipng::PngError) -> Error {
    Error::EncodeFailed(error.to_string())
}

fn quick_options() -> oxipng::Options {
    oxipng::Options {
        filters: indexset! { FilterStrategy::MinSum },
        deflater: Deflater::Libdeflater { compression: 2 },
        ..options()
    }
}

fn thorough_options(size: usize) -> oxipng::Options {
    let (filters, compression) = match size {
        0..0x40_0000 => {
            let all = indexset! {
                FilterStrategy::NONE,
                FilterStrategy::SUB,
                FilterStrategy::Entropy,
                FilterStrategy::Bigrams
            };
            (all, 11)
        }
        0x40_0000..0x180_0000 => (indexset! { FilterStrategy::NONE, FilterStrategy::Bigrams }, 9),
        _ => (indexset! { FilterStrategy::NONE, FilterStrategy::MinSum }, 6),
    };
    oxipng::Options { filters, deflater: Deflater::Libdeflater { compression }, ..options() }
}

fn options() -> oxipng::Options {
    oxipng::Options {
        // Also bounds what a compressed colour profile may unfold to.
        max_decompressed_size: Some(4 << 20),
        ..oxipng::Options::default()
    }
}
