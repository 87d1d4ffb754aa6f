//! Downscaling: to which size, and with which filter.
//!
//! Lanczos3, in linear light: an average of what two pixels emit, and not of the numbers that code
//! it, so that fine bright detail on dark ground keeps its brightness. The sRGB curve stands for
//! all profiles; their curves are close to it, and plain areas come out exact whatever the curve.
//! Colours count as much as they are visible, so that what hides behind full transparency never
//! bleeds into an edge.
//!
//! The filter runs on 16-bit samples in bands of rows, so that a picture needs only its own memory
//! and the result's.

use std::sync::LazyLock;

use fast_image_resize::{
    FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer,
    images::{TypedImage, TypedImageRef},
    pixels::{U16, U16x2, U16x3, U16x4},
};

use crate::{Error, Options, picture::Picture};

/// Pixels on each side that Lanczos3 looks at, in pixels of the result.
const SUPPORT: f64 = 3.0;
/// Rows of the source in one band, about; more need more memory, fewer are filtered twice more often.
const BAND_ROWS: f64 = 128.0;

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// Returns the largest size within the options' bounds that has the aspect of `size` and is not
/// larger. A bound of zero counts as one pixel.
pub(crate) fn fit(size: Size, options: &Options) -> Size {
    let (width, height) = (u64::from(size.width), u64::from(size.height));
    let max_width = u64::from(options.max_width.unwrap_or(u32::MAX).max(1)).min(width);
    let max_height = u64::from(options.max_height.unwrap_or(u32::MAX).max(1)).min(height);
    let scaled = |side: u64, to: u64, from: u64| ((side * to + from / 2) / from).max(1) as u32;
    // None exceeds what it came from, so all fit into 32 bits.
    if max_width * height <= max_height * width {
        Size { width: max_width as u32, height: scaled(height, max_width, width) }
    } else {
        Size { width: scaled(width, max_height, height), height: max_height as u32 }
    }
}

/// Scales a picture to a smaller size.
pub(crate) fn downscale(picture: Picture, to: Size) -> Result<Picture, Error> {
    if picture.size() == to {
        return Ok(picture);
    }
    let curve = Curve::of(&picture);
    let samples = match picture.channels {
        1 => scale(&picture, to, curve, |[grey]| U16::new(grey), |pixel| [pixel.0]),
        2 => scale(&picture, to, curve, U16x2::new, |pixel| pixel.0),
        3 => scale(&picture, to, curve, U16x3::new, |pixel| pixel.0),
        _ => scale(&picture, to, curve, U16x4::new, |pixel| pixel.0),
    };
    let samples = samples.map_err(|error| Error::EncodeFailed(error.to_string()))?;
    Ok(Picture { width: to.width, height: to.height, samples, ..picture })
}

fn scale<P: PixelTrait, const N: usize>(
    picture: &Picture,
    to: Size,
    curve: Curve,
    pack: impl Fn([u16; N]) -> P,
    unpack: impl Fn(&P) -> [u16; N],
) -> Result<Vec<u8>, fast_image_resize::ResizeError> {
    let depth = if picture.wide { 2 } else { 1 };
    let (width, height) = (picture.width as usize, picture.height);
    let row = width * N * depth;
    let ratio = f64::from(height) / f64::from(to.height);
    let step = (BAND_ROWS / ratio).ceil().max(1.0) as u32;
    let mut resizer = Resizer::new();
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3));
    let mut samples = Vec::with_capacity(to.width as usize * to.height as usize * N * depth);
    let mut band: Vec<P> = Vec::new();
    for start in (0..to.height).step_by(step as usize) {
        let rows = step.min(to.height - start);
        let (top, bottom) = (f64::from(start) * ratio, f64::from(start + rows) * ratio);
        let first = (top - SUPPORT * ratio - 1.0).floor().max(0.0) as u32;
        let last = ((bottom + SUPPORT * ratio + 1.0).ceil() as u32).min(height);
        band.clear();
        let pixels = picture.samples[first as usize * row..last as usize * row].chunks_exact(N * depth);
        band.extend(pixels.map(|pixel| pack(curve.read(pixel))));
        let source = TypedImageRef::new(picture.width, last - first, &band).map_err(|_| {
            fast_image_resize::ResizeError::SrcCroppingError(
                fast_image_resize::CropBoxError::SizeIsOutOfImageBoundaries,
            )
        })?;
        let mut result = TypedImage::<P>::new(to.width, rows);
        let (top, bottom) = (top - f64::from(first), (bottom - f64::from(first)).min(f64::from(last - first)));
        let crop = options.crop(0.0, top, f64::from(picture.width), bottom - top);
        resizer.resize_typed(&source, &mut result, &crop)?;
        for pixel in result.pixels() {
            curve.write(unpack(pixel), depth, &mut samples);
        }
    }
    Ok(samples)
}

/// How samples are turned into light and back.
#[derive(Debug, Clone, Copy)]
enum Curve {
    /// sRGB's; `alpha` says whether the last channel has none.
    Srgb { alpha: bool },
    /// None: samples of high dynamic range have another one.
    None,
}

static LIGHT_OF_BYTE: LazyLock<Vec<u16>> =
    LazyLock::new(|| (0..=255).map(|it| to_light(f64::from(it) / 255.0)).collect());
static LIGHT: LazyLock<Vec<u16>> =
    LazyLock::new(|| (0..=0xffff).map(|it| to_light(f64::from(it) / 65_535.0)).collect());
static SAMPLE: LazyLock<Vec<u16>> = LazyLock::new(|| (0..=0xffff).map(to_sample).collect());
static BYTE: LazyLock<Vec<u8>> =
    LazyLock::new(|| SAMPLE.iter().map(|&sample| ((u32::from(sample) + 128) / 257) as u8).collect());

fn to_light(value: f64) -> u16 {
    let light = if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) };
    (light * 65_535.0).round() as u16
}

fn to_sample(light: u32) -> u16 {
    let light = f64::from(light) / 65_535.0;
    let value = if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 };
    (value * 65_535.0).round() as u16
}

impl Curve {
    fn of(picture: &Picture) -> Self {
        if picture.color.is_hdr() { Self::None } else { Self::Srgb { alpha: picture.has_alpha() } }
    }

    /// Returns whether channel `index` of `count` holds light.
    fn applies(self, index: usize, count: usize) -> bool {
        match self {
            Self::Srgb { alpha } => !(alpha && index + 1 == count),
            Self::None => false,
        }
    }

    fn read<const N: usize>(self, pixel: &[u8]) -> [u16; N] {
        let deep = pixel.len() == 2 * N;
        std::array::from_fn(|index| match (deep, self.applies(index, N)) {
            (false, true) => LIGHT_OF_BYTE[usize::from(pixel[index])],
            (false, false) => u16::from(pixel[index]) * 257,
            (true, light) => {
                let sample = u16::from_be_bytes([pixel[2 * index], pixel[2 * index + 1]]);
                if light { LIGHT[usize::from(sample)] } else { sample }
            }
        })
    }

    fn write<const N: usize>(self, pixel: [u16; N], depth: usize, samples: &mut Vec<u8>) {
        for (index, value) in pixel.into_iter().enumerate() {
            match (depth, self.applies(index, N)) {
                (1, true) => samples.push(BYTE[usize::from(value)]),
                // At most 255: the whole range of 16 bits, divided by 257.
                (1, false) => samples.push(((u32::from(value) + 128) / 257) as u8),
                (_, true) => samples.extend(SAMPLE[usize::from(value)].to_be_bytes()),
                (_, false) => samples.extend(value.to_be_bytes()),
            }
        }
    }
}
