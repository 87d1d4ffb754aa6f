//! The quantization tables of the result.

use super::zigzag::ZIGZAG;
use crate::{Effort, quality};

pub(super) fn tune(name: &str, default: f32) -> f32 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Returns the wanted steps, in zigzag order.
pub(super) fn wanted(quality: u8, chroma: bool, effort: Effort, detail: f32) -> [u16; 64] {
    let mut table = quality::table(quality, chroma);
    if effort == Effort::Small && tune("FAMILY", 1.0) > 0.0 {
        let scale = (-tune("GAMMA", 0.12) * (detail.min(tune("DMAX", -0.8)) + 1.1)).clamp(-0.3, 0.3).exp();
        for (i, step) in table.iter_mut().enumerate() {
            let n = ZIGZAG[i];
            let (u, v) = (f32::from(n / 8), f32::from(n % 8));
            let r = (u * u + v * v).sqrt() / 7.0;
            let (b, k, p, d) = if chroma {
                (tune("CB", 13.86), tune("CS", 2.05), tune("CP", 1.1), tune("CD", 0.59))
            } else {
                (tune("LB", 11.25), tune("LS", 2.34), tune("LP", 1.67), tune("LD", 1.0))
            };
            let q = quality::scale(quality) as f32 / 100.0;
            *step =
                (b * q * scale * (k * r.powf(p)).exp() * if i == 0 { d } else { 1.0 }).round().clamp(1.0, 255.0) as u16;
        }
        // The result must not count as finer than it was meant to be: a second run would then see
        // something to do.
        while !chroma && table != [255; 64] && quality::estimate(&table) > quality {
            table = table.map(|step| (step + step.div_ceil(16)).min(255));
        }
    }
    table
}

/// Estimates the logarithm of the bits a pixel takes at `quality`, from those it takes now.
pub(super) fn detail(bytes: usize, pixels: usize, old: &[u16; 64], quality: u8) -> f32 {
    let table = quality::table(quality, false);
    let ratio = |(new, old): (&u16, &u16)| (f32::from(*new) / f32::from(*old)).ln();
    let coarser = table.iter().zip(old).take(20).map(ratio).sum::<f32>() / 20.0;
    (bytes as f32 * 8.0 / pixels as f32).ln() * 1.23 - 0.8 * coarser
}
