//! The quantization tables of the result.
//!
//! Fast takes those of libjpeg. Small takes tables of its own, fitted with `tests/bench/codec` for
//! the best SSIMULACRA2 at a given size, under the condition that PSNR does not fall behind: steps
//! that grow with the frequency alone, more slowly at first and faster then than those of libjpeg,
//! and a DC step half as large as its neighbours'. That step is what costs least for what it gains:
//! one and a half points of SSIMULACRA2 for three per cent of the bytes.

use super::zigzag::ZIGZAG;
use crate::{Effort, quality};

/// How the steps of a table grow, at quality 50.
struct Shape {
    /// The step of the lowest frequencies.
    base: f32,
    /// Logarithm of how much larger it gets up to the highest horizontal or vertical frequency.
    growth: f32,
    /// How late it grows.
    power: f32,
    /// The DC step, as a share of the base.
    dc: f32,
}

const LUMA: Shape = Shape { base: 14.6, growth: 2.35, power: 1.9, dc: 0.525 };
const CHROMA: Shape = Shape { base: 13.0, growth: 2.14, power: 1.16, dc: 0.6 };

/// Pictures with more detail than this, as [`detail`] has it, get no finer steps for it,
const MOST_DETAIL: f32 = -0.8;
/// but for those that are all grass and fur: beyond this, nothing hides in the detail any more.
const EXTREME_DETAIL: f32 = 0.0;
/// Pictures with this much detail get the tables as they are.
const USUAL_DETAIL: f32 = -1.1;
/// How much finer the steps get with detail. The same steps leave smooth pictures better than busy
/// ones, and nobody is served by that.
const FINER: f32 = 0.12;
const FINER_IF_EXTREME: f32 = 0.25;
/// How much faster than libjpeg's the steps change with the quality. These tables were fitted at 50;
/// scaled as libjpeg's are, they would be too coarse at 80 and too fine at 30.
const STEEPNESS: f32 = 1.15;
/// Steps change by no more than this for detail, up or down; a logarithm.
const MOST_CHANGE: f32 = 0.3;

/// Returns the wanted steps, in zigzag order.
pub(super) fn wanted(quality: u8, chroma: bool, effort: Effort, detail: f32) -> [u16; 64] {
    if effort == Effort::Fast {
        return quality::table(quality, chroma);
    }
    let shape = if chroma { CHROMA } else { LUMA };
    let change =
        FINER * (detail.min(MOST_DETAIL) - USUAL_DETAIL) + FINER_IF_EXTREME * (detail - EXTREME_DETAIL).max(0.0);
    let coarseness = (quality::scale(quality) as f32 / 100.0).powf(STEEPNESS);
    let scale = (-change).clamp(-MOST_CHANGE, MOST_CHANGE).exp() * coarseness;
    let step = |place: u8| {
        let (down, across) = (f32::from(place / 8) / 7.0, f32::from(place % 8) / 7.0);
        let grown = (shape.growth * down.hypot(across).powf(shape.power)).exp();
        let step = shape.base * scale * if place == 0 { shape.dc } else { grown };
        step.round().clamp(1.0, 255.0) as u16
    };
    let mut table = ZIGZAG.map(step);
    // The result must not count as finer than it was meant to be: a second run would then see
    // something to do.
    while !chroma && table != [255; 64] && quality::estimate(&table) > quality {
        table = table.map(|step| (step + step.div_ceil(16)).min(255));
    }
    table
}

/// Steps of the lowest frequencies that [`detail`] looks at.
const LOWEST: usize = 20;

/// Estimates how much detail a picture has: the logarithm of the bits a pixel takes at `quality`,
/// from the size it has with its steps. On photographs the estimate is off by a fifth.
pub(super) fn detail(bytes: usize, pixels: usize, old: &[u16; 64], quality: u8) -> f32 {
    let table = quality::table(quality, false);
    let ratio = |(new, old): (&u16, &u16)| (f32::from(*new) / f32::from(*old)).ln();
    let coarser = table.iter().zip(old).take(LOWEST).map(ratio).sum::<f32>() / LOWEST as f32;
    1.23 * (8.0 * bytes as f32 / pixels as f32).ln() - 0.8 * coarser
}
