//! Many colours to few: a palette by variance, and the picture drawn with it.
//!
//! Written here because the libraries with fitting licences know no alpha. Pixels are of three
//! classes that never mix: transparent ones share one entry, opaque ones only get opaque entries,
//! translucent ones only translucent entries. So edges stay clean whatever the palette.

mod cut;
mod dither;

use std::collections::HashSet;

use crate::picture::Picture;

/// A colour with alpha, 8 bits each.
pub(super) type Rgba = [u8; 4];

/// A picture with its palette.
#[derive(Debug)]
pub(super) struct Quantized {
    pub(super) palette: Vec<Rgba>,
    /// Index into the palette for each pixel, in rows.
    pub(super) indices: Vec<u8>,
    /// Peak signal-to-noise ratio over the pixels that are visible, in decibels.
    pub(super) psnr: f64,
}

/// Reduces an 8-bit picture to at most `count` (2 to 256) colours; `None` if it has no more.
pub(super) fn quantize(picture: &Picture, count: usize) -> Option<Quantized> {
    if !exceeds(picture, count) {
        return None;
    }
    let (colors, transparent) = cut::histogram(picture);
    let mut palette = cut::palette(colors, count - usize::from(transparent));
    if transparent {
        palette.push([0; 4]);
    }
    let (indices, psnr) = dither::draw(picture, &palette);
    Some(Quantized { palette, indices, psnr })
}

/// Returns whether the picture has more than `count` colours.
fn exceeds(picture: &Picture, count: usize) -> bool {
    let mut seen = HashSet::new();
    let mut last = None;
    pixels(&picture.samples, picture.channels).any(|color| {
        let color = if color[3] == 0 { [0; 4] } else { color };
        // Neighbours are mostly alike; this saves most look-ups.
        last.replace(color) != Some(color) && seen.insert(color) && seen.len() > count
    })
}

/// Returns the pixels of rows of 8-bit samples.
fn pixels(samples: &[u8], channels: usize) -> impl Iterator<Item = Rgba> {
    samples.chunks_exact(channels).map(|pixel| match *pixel {
        [grey] => [grey, grey, grey, 255],
        [grey, alpha] => [grey, grey, grey, alpha],
        [red, green, blue] => [red, green, blue, 255],
        [red, green, blue, alpha, ..] => [red, green, blue, alpha],
        [] => [0; 4],
    })
}

/// Returns a colour as a point where distance is about what the eye sees: colour counts as much as
/// it is visible, green more than red, red more than blue.
fn point(color: Rgba) -> [f32; 4] {
    let [red, green, blue, alpha] = color.map(f32::from);
    let visible = alpha / 255.0;
    [red * visible * 0.8, green * visible, blue * visible * 0.65, alpha]
}

/// Returns the colour of a point; the inverse of [`point`].
fn color(point: [f32; 4]) -> Rgba {
    let alpha = point[3];
    let visible = (alpha / 255.0).max(1.0 / 255.0);
    [point[0] / visible / 0.8, point[1] / visible, point[2] / visible / 0.65, alpha]
        .map(|value| value.round().clamp(0.0, 255.0) as u8)
}

fn distance(left: [f32; 4], right: [f32; 4]) -> f32 {
    let difference: [f32; 4] = std::array::from_fn(|axis| left[axis] - right[axis]);
    difference.iter().map(|value| value * value).sum()
}
