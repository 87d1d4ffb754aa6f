//! How good the source is, and how good the result shall be.
//!
//! JPEG files do not say their quality; they carry the quantization tables it was turned into. The
//! scale is that of the Independent JPEG Group (libjpeg), which most tools use: the tables of
//! ITU-T T.81 Annex K, scaled.

use std::sync::LazyLock;

use crate::{Options, Quality};

/// Luminance table of ITU-T T.81 Annex K.1, in zigzag order.
const LUMINANCE: [u16; 64] = [
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61,
    60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77, 113,
    121, 112, 100, 120, 92, 101, 103, 99,
];

/// Chrominance table of ITU-T T.81 Annex K.2, in zigzag order.
const CHROMINANCE: [u16; 64] = [
    17, 18, 18, 24, 21, 24, 47, 26, 26, 47, 99, 66, 56, 66, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99,
];

/// Returns the table libjpeg uses for `quality`, in zigzag order.
pub(crate) fn table(quality: u8, chroma: bool) -> [u16; 64] {
    let base = if chroma { CHROMINANCE } else { LUMINANCE };
    let scale = scale(quality);
    base.map(|step| ((u32::from(step) * scale + 50) / 100).clamp(1, 255) as u16)
}

/// Returns the factor of the tables, in per cent.
pub(crate) fn scale(quality: u8) -> u32 {
    match u32::from(quality.clamp(1, 100)) {
        low @ ..50 => 5000 / low,
        high => 200 - 2 * high,
    }
}

/// What the result shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    /// Quality, 1 to 100, never above the source's.
    pub(crate) quality: u8,
    /// Whether `min_quality` raised it.
    pub(crate) floored: bool,
}

/// Decides the quality of the result for a source of quality `source`.
pub(crate) fn target(options: Options, source: u8) -> Target {
    match options.quality {
        Quality::Absolute(quality) => Target { quality: quality.max(1).min(source), floored: false },
        Quality::Relative(percent) => {
            let share = u32::from(source) * u32::from(percent.clamp(1, 100));
            // At most 100: the share of a quality of at most 100, rounded to the nearest.
            let wanted = ((share + 50) / 100).max(1) as u8;
            let quality = wanted.max(options.min_quality).min(source);
            Target { quality, floored: quality > wanted }
        }
    }
}

/// Estimates the quality a luminance quantization table (in zigzag order) stands for.
///
/// Tables written by libjpeg and its kin are recognized exactly. For others it is the quality whose
/// table is nearest in the mean: steps are compared by the logarithm of their ratio, as an error
/// of one matters at a step of 2 and not at a step of 100.
pub(crate) fn estimate(table: &[u16; 64]) -> u8 {
    // Most encoders use the scaled tables as they are.
    let exact = |quality: &u8| LIMITS.iter().any(|&limit| (0..64).all(|at| table[at] == step(at, *quality, limit)));
    if let Some(quality) = (1..=100).rev().find(exact) {
        return quality;
    }
    let logarithms = table.map(|step| f64::from(step.max(1)).ln());
    let mut best = (f64::INFINITY, 100);
    // From the top: where clamping makes two qualities equal, the source is the finer one.
    for quality in (1..=100).rev() {
        for limit in LIMITS {
            let distance = distance(&logarithms, quality, limit);
            if distance < best.0 {
                best = (distance, quality);
            }
        }
    }
    best.1
}

/// Baseline JPEG ends at the first, libjpeg's extended one at the second.
const LIMITS: [u16; 2] = [255, 32_767];

/// Returns one step of the standard luminance table at `quality`.
fn step(at: usize, quality: u8, limit: u16) -> u16 {
    ((u32::from(LUMINANCE[at]) * scale(quality) + 50) / 100).clamp(1, limit.into()) as u16
}

/// Sum of the squared logarithms of the ratios of a table, given by its logarithms, to the standard
/// table of `quality`.
fn distance(logarithms: &[f64; 64], quality: u8, limit: u16) -> f64 {
    // Sixteen thousand logarithms would take longer than compressing a small picture does.
    static SMALL: LazyLock<Vec<f64>> = LazyLock::new(|| (0..=255).map(|step| f64::from(step).ln()).collect());
    let small = &*SMALL;
    let ratios = (0..64).map(|at| {
        let expected = step(at, quality, limit);
        let expected = small.get(usize::from(expected)).copied().unwrap_or_else(|| f64::from(expected).ln());
        logarithms[at] - expected
    });
    ratios.map(|ratio| ratio * ratio).sum()
}
