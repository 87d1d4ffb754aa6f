//! Drawing with a palette: nearest entries, their error spread to the neighbours.
//!
//! Floyd and Steinberg's weights, rows in alternating direction. The error is damped, which costs
//! nothing the eye sees and saves bytes.

use super::{Rgba, distance, pixels, point};
use crate::picture::Picture;

/// Share of the error that is passed on, in 16ths.
const STRENGTH: i32 = 13;
const UNKNOWN: u16 = u16::MAX;

/// Draws the picture; returns the index of each pixel, and the peak signal-to-noise ratio in
/// decibels.
pub(super) fn draw(picture: &Picture, palette: &[Rgba]) -> (Vec<u8>, f64) {
    let width = picture.width as usize;
    let row_size = width * picture.channels;
    let mut finder = Finder::new(palette);
    let mut indices = vec![0; width * picture.height as usize];
    // Errors of this row and the next, with a pixel of margin on both sides.
    let mut now = vec![[0_i32; 4]; width + 2];
    let mut next = now.clone();
    let (mut squares, mut visible) = (0_u64, 0_u64);
    let mut colors: Vec<Rgba> = Vec::with_capacity(width);
    let rows = picture.samples.chunks_exact(row_size).zip(indices.chunks_exact_mut(width));
    for (number, (samples, row)) in rows.enumerate() {
        colors.clear();
        colors.extend(pixels(samples, picture.channels));
        let backwards = number % 2 == 1;
        for step in 0..width {
            let x = if backwards { width - 1 - step } else { step };
            let color = colors[x];
            let wanted = if color[3] == 0 { color } else { with_error(color, now[x + 1]) };
            let index = finder.find(wanted);
            row[x] = index as u8;
            if color[3] == 0 {
                continue;
            }
            let drawn = palette[index];
            squares += error_of(color, drawn);
            visible += 1;
            let error: [i32; 4] =
                std::array::from_fn(|channel| (i32::from(wanted[channel]) - i32::from(drawn[channel])) * STRENGTH);
            if error == [0; 4] {
                continue;
            }
            let (ahead, behind) = if backwards { (x, x + 2) } else { (x + 2, x) };
            for channel in 0..4 {
                now[ahead][channel] += error[channel] * 7;
                next[behind][channel] += error[channel] * 3;
                next[x + 1][channel] += error[channel] * 5;
                next[ahead][channel] += error[channel];
            }
        }
        std::mem::swap(&mut now, &mut next);
        next.fill([0; 4]);
    }
    let mean = squares as f64 / (visible.max(1) * 3) as f64;
    (indices, 10.0 * (255.0 * 255.0 / mean.max(1e-9)).log10())
}

/// Adds the error (in 256ths) to a visible colour, without leaving its class.
fn with_error(color: Rgba, error: [i32; 4]) -> Rgba {
    let shifted: [i32; 4] = std::array::from_fn(|channel| i32::from(color[channel]) + ((error[channel] + 128) >> 8));
    // All are clamped to the range of a byte.
    let [red, green, blue, alpha] = shifted.map(|value| value.clamp(0, 255) as u8);
    [red, green, blue, if color[3] == 255 { 255 } else { alpha.clamp(1, 254) }]
}

/// Returns the squared error as it is seen: colours count as much as they are opaque.
fn error_of(color: Rgba, drawn: Rgba) -> u64 {
    let alpha = u64::from(color[3].abs_diff(drawn[3]));
    let seen = |color: Rgba, channel: usize| u32::from(color[channel]) * u32::from(color[3]) / 255;
    let squares = (0..3).map(|channel| {
        let difference = u64::from(seen(color, channel).abs_diff(seen(drawn, channel)));
        difference * difference
    });
    squares.sum::<u64>() + alpha * alpha
}

/// Finds the nearest entry of a colour's class, from a table that is filled as it is used.
struct Finder {
    entries: Vec<([f32; 4], u8)>,
    opaque: Vec<u16>,
    translucent: Vec<u16>,
    transparent: usize,
}

impl Finder {
    fn new(palette: &[Rgba]) -> Self {
        let entries: Vec<_> = palette.iter().map(|&color| (point(color), color[3])).collect();
        let transparent = palette.iter().position(|color| color[3] == 0).unwrap_or(0);
        let has_translucent = palette.iter().any(|color| (1..=254).contains(&color[3]));
        let translucent = vec![UNKNOWN; if has_translucent { 1 << 20 } else { 0 }];
        let mut finder = Self { entries, opaque: vec![UNKNOWN; 1 << 18], translucent, transparent };
        // An entry's own cell leads to it, so that exact colours stay exact.
        for (index, &color) in palette.iter().enumerate() {
            if let Some(slot) = finder.slot(color) {
                *slot = index as u16;
            }
        }
        finder
    }

    fn slot(&mut self, color: Rgba) -> Option<&mut u16> {
        let [red, green, blue, alpha] = color.map(usize::from);
        match alpha {
            0 => None,
            255 => self.opaque.get_mut((red >> 2) << 12 | (green >> 2) << 6 | blue >> 2),
            _ => {
                let key = (red >> 3) << 15 | (green >> 3) << 10 | (blue >> 3) << 5 | alpha >> 3;
                self.translucent.get_mut(key)
            }
        }
    }

    fn find(&mut self, color: Rgba) -> usize {
        match self.slot(color).map(|slot| *slot) {
            None => self.transparent,
            Some(UNKNOWN) => {
                let nearest = self.nearest(color);
                if let Some(slot) = self.slot(color) {
                    *slot = nearest as u16;
                }
                nearest
            }
            Some(index) => usize::from(index),
        }
    }

    fn nearest(&self, color: Rgba) -> usize {
        let at = point(color);
        let same_class = |alpha: u8| alpha > 0 && (alpha == 255) == (color[3] == 255);
        let candidates = self.entries.iter().enumerate().filter(|(_, (_, alpha))| same_class(*alpha));
        let distances = candidates.map(|(index, (entry, _))| (index, distance(*entry, at)));
        distances.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(self.transparent, |(index, _)| index)
    }
}
