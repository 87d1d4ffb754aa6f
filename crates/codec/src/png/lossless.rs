//! Pixels to PNG without loss, by oxipng.
//!
//! It gets pixels and never the foreign file. How hard it tries depends on the size alone, so that
//! it takes some seconds for any image and the result is the same on a busy machine.

use oxipng::{BitDepth, ColorType, Deflater, FilterStrategy, RawImage, indexset};

use crate::{
    Error, Limits,
    picture::{Color, Picture},
};

/// Where a quick try is this much larger than what has to be beaten, the thorough one is left out;
/// between the two lie rarely more than 15 per cent.
const HOPELESS: f64 = 1.25;

/// Encodes without loss, unless it can be foreseen that more than `bound` bytes come out or that
/// it takes too much memory.
pub(super) fn encode(picture: Picture, limits: &Limits, bound: usize) -> Result<Option<Vec<u8>>, Error> {
    if !fits(&picture, limits) {
        return Ok(None);
    }
    let size = picture.samples.len();
    let color = match picture.channels {
        1 => ColorType::Grayscale { transparent_shade: None },
        2 => ColorType::GrayscaleAlpha,
        3 => ColorType::RGB { transparent_color: None },
        _ => ColorType::RGBA,
    };
    let depth = if picture.wide { BitDepth::Sixteen } else { BitDepth::Eight };
    let image = RawImage::new(picture.width, picture.height, color, depth, picture.samples);
    let image = with_color(image.map_err(|error| failed(&error))?, &picture.color);
    if size > 1 << 20 {
        let quick = write(&image, &quick_options())?;
        if quick.len() as f64 > bound as f64 * HOPELESS {
            return Ok(None);
        }
    }
    write(&image, &thorough_options(size)).map(Some)
}

/// Returns whether there is memory to optimize the picture.
pub(super) fn fits(picture: &Picture, limits: &Limits) -> bool {
    // The optimizer holds up to four copies: the pixels, a reduction, the filtered rows, the best.
    picture.samples.len() as u64 * 2 <= limits.max_alloc
}

/// Encodes row by row, without trying what would be smallest.
pub(super) fn encode_plainly(picture: &Picture) -> Result<Vec<u8>, Error> {
    let failed = |error: png::EncodingError| Error::EncodeFailed(error.to_string());
    let mut info = png::Info::with_size(picture.width, picture.height);
    info.bit_depth = if picture.wide { png::BitDepth::Sixteen } else { png::BitDepth::Eight };
    info.color_type = match picture.channels {
        1 => png::ColorType::Grayscale,
        2 => png::ColorType::GrayscaleAlpha,
        3 => png::ColorType::Rgb,
        _ => png::ColorType::Rgba,
    };
    if let Color::Profile(profile) = &picture.color {
        info.icc_profile = Some(profile.as_slice().into());
    }
    let mut bytes = Vec::new();
    let encoder = png::Encoder::with_info(&mut bytes, info).map_err(failed)?;
    let mut writer = encoder.write_header().map_err(failed)?;
    if let Color::Chunks(chunks) = &picture.color {
        for (name, content) in chunks {
            writer.write_chunk(png::chunk::ChunkType(*name), content).map_err(failed)?;
        }
    }
    writer.write_image_data(&picture.samples).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}

/// Encodes rows of palette indices, one byte each.
pub(super) fn encode_indexed(
    (width, height): (u32, u32),
    palette: &[[u8; 4]],
    indices: Vec<u8>,
    color: &Color,
) -> Result<Vec<u8>, Error> {
    let palette = palette.iter().map(|&[r, g, b, a]| oxipng::RGBA8::new(r, g, b, a)).collect();
    let size = indices.len();
    let indexed = ColorType::Indexed { palette };
    let image = RawImage::new(width, height, indexed, BitDepth::Eight, indices).map_err(|error| failed(&error))?;
    // Neighbouring numbers of a palette say nothing of each other, so that filters only take time.
    let options = oxipng::Options { filters: indexset! { FilterStrategy::NONE }, ..thorough_options(size) };
    write(&with_color(image, color), &options)
}

fn with_color(mut image: RawImage, color: &Color) -> RawImage {
    match color {
        Color::Srgb => {}
        Color::Profile(profile) => image.add_icc_profile(profile),
        Color::Chunks(chunks) => {
            for (name, content) in chunks {
                image.add_png_chunk(*name, content.clone());
            }
        }
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
