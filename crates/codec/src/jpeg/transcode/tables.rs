//! The quantization tables of the result.

use super::zigzag::ZIGZAG;
use crate::{Effort, quality};

pub(super) fn tune(name: &str, default: f32) -> f32 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Returns the wanted steps, in zigzag order.
pub(super) fn wanted(quality: u8, chroma: bool, effort: Effort) -> [u16; 64] {
    let mut table = quality::table(quality, chroma);
    if effort == Effort::Small && tune("FAMILY", 1.0) > 0.0 {
        for (i, step) in table.iter_mut().enumerate() {
            let n = ZIGZAG[i];
            let (u, v) = (f32::from(n / 8), f32::from(n % 8));
            let r = (u * u + v * v).sqrt() / 7.0;
            let (b, k, p, d) = if chroma {
                (tune("CB", 17.0), tune("CS", 2.6), tune("CP", 1.0), tune("CD", 1.0))
            } else {
                (tune("LB", 16.0), tune("LS", 1.67), tune("LP", 2.36), tune("LD", 1.0))
            };
            *step = (b * (k * r.powf(p)).exp() * if i == 0 { d } else { 1.0 }).round().clamp(1.0, 255.0) as u16;
        }
    }
    table
}
