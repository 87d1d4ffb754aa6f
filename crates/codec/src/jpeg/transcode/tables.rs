//! The quantization tables of the result.
//!
//! Fast takes those of libjpeg with a finer DC step. Small takes tables of its own, fitted with `tests/bench/codec` for
//! the best SSIMULACRA2 at a given size, under two conditions: PSNR does not fall behind, and no
//! picture comes out more than two points below what libvips makes of it. Their steps grow with the
//! frequency alone, more slowly at first and faster then than those of libjpeg, and the DC step is
//! half as large as its neighbours'. That step is what costs least for what it gains: with Fast, four
//! points of SSIMULACRA2 for five per cent of the bytes.

use super::{step::Steps, zigzag::ZIGZAG};
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

const LUMA: Shape = Shape { base: 14.9, growth: 2.35, power: 1.9, dc: 0.52 };
const CHROMA: Shape = Shape { base: 13.0, growth: 2.14, power: 1.16, dc: 0.6 };
/// For [`Content::Busy`].
const BUSY_LUMA: Shape = Shape { base: 14.6, growth: 1.85, power: 2.8, dc: 0.525 };
const BUSY_CHROMA: Shape = Shape { base: 12.4, ..CHROMA };

/// Fast's DC step in per cent of libjpeg's.
const FAST_DC_PERCENT: u16 = 60;
/// How much faster than libjpeg's the steps change with the quality. These tables were fitted at 50;
/// scaled as libjpeg's are, they would be too coarse at 80 and too fine at 30.
const STEEPNESS: f32 = 1.15;

/// How much coarser the steps get where the source's own are hardly finer: what is left of it are
/// few values, and coding them anew costs others more than it does here.
const COARSER_IF_NEAR: f32 = 0.1;
/// Steps this many times as large as the source's are far from it, and as many less count as near.
const FAR: f32 = 2.7;
const TRANSITION: f32 = 0.6;
/// Steps of the lowest frequencies that tell how near the source is.
const LOWEST: usize = 20;

/// Below this quality libjpeg's steps reach their limit of 255 in the corner that names the quality,
/// and Small takes them all.
const LOWEST_OWN: u8 = 20;
/// The highest frequencies, in zigzag order, have libjpeg's steps. They hardly ever matter to the
/// picture, and so a table says for which quality it was made: see [`own_quality`].
const CORNER: usize = 61;
/// A table counts as Small's if no step is more than this many times another than its own would be:
/// a little more than what content makes of it.
const MOST_CHANGE: f32 = 1.6;
/// All but so many: those are the source's, which were coarser.
const MOST_OTHERS: usize = 8;

/// What the tables are made for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Purpose {
    pub(super) quality: u8,
    pub(super) effort: Effort,
    /// How much larger libjpeg's steps are at this quality than the source's.
    pub(super) ratio: f32,
    pub(super) content: Content,
}

/// How full of detail a picture is, which decides what its result may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Sky, skin, a wall: bits may cost more, as such pictures come out well above what others make of them.
    Calm,
    Usual,
    /// Grass and fur, where the higher frequencies are what is seen.
    Busy,
}

impl Content {
    /// Judges by how many luma coefficients of a block are large, on average: most photographs have one
    /// or two, a lawn five, grass and fur nine.
    pub(super) fn of(details: f32) -> Self {
        match details {
            ..CALM => Self::Calm,
            BUSY.. => Self::Busy,
            _ => Self::Usual,
        }
    }
}

const CALM: f32 = 1.9;
const BUSY: f32 = 6.5;
/// A picture is taken for calm only if no more than this is expected, as a wrong guess costs a pass.
const SURELY_CALM: f32 = 1.5;

impl Purpose {
    pub(super) fn new(quality: u8, effort: Effort, old: &[u16; 64]) -> Self {
        let table = quality::table(quality, false);
        let ratio = |(new, old): (&u16, &u16)| (f32::from(*new) / f32::from(*old)).ln();
        let mean = table.iter().zip(old).take(LOWEST).map(ratio).sum::<f32>() / LOWEST as f32;
        Self { quality, effort, ratio: mean.exp(), content: Content::Usual }
    }

    /// Guesses the content from the picture's size with its steps.
    pub(super) fn guess(&mut self, bytes: usize, pixels: usize) {
        let bits = 8.0 * bytes as f32 / pixels as f32;
        // Fitted to photographs; off by a factor of 1.3 for two thirds of them.
        let details = 7.2 * bits.powf(1.47) / self.ratio.powf(1.03);
        self.content = match Content::of(details) {
            Content::Calm if details > SURELY_CALM => Content::Usual,
            content => content,
        };
    }

    /// Returns whether the picture that was `found` needs another pass. A calm one that was not taken
    /// for calm is only a little larger than it might be.
    pub(super) fn is_wrong(self, found: Content) -> bool {
        found != self.content && (self.content, found) != (Content::Usual, Content::Calm)
    }
}

/// Returns the wanted steps, in zigzag order.
pub(super) fn wanted(purpose: Purpose, chroma: bool) -> [u16; 64] {
    let mut standard = quality::table(purpose.quality, chroma);
    if purpose.effort == Effort::Fast {
        standard[0] = (standard[0] * FAST_DC_PERCENT).div_ceil(100);
    }
    if purpose.effort == Effort::Fast || purpose.quality < LOWEST_OWN {
        return standard;
    }
    let near = ((FAR - purpose.ratio) / TRANSITION).clamp(0.0, 1.0);
    let mut table = own(
        purpose.quality,
        chroma,
        purpose.content == Content::Busy,
        if chroma { 1.0 } else { 1.0 + COARSER_IF_NEAR * near },
    );
    table[CORNER..].copy_from_slice(&standard[CORNER..]);
    table
}

/// Returns the steps of the result: the wanted ones, but never finer than the source's, as nothing
/// would be gained. Nor may they look finer than they were meant to be where the source is of
/// another make: a second run would then see something to do.
pub(super) fn steps(purpose: Purpose, chroma: bool, old: [u16; 64]) -> Steps {
    let mut steps = Steps::new(old, wanted(purpose, chroma));
    while !chroma && estimate(&steps.new) > purpose.quality && steps.new.iter().any(|&step| step < 255) {
        steps.new = steps.new.map(|step| if step < 255 { step + step.div_ceil(16) } else { step });
    }
    steps
}

/// Estimates the quality a luminance table stands for: exactly for libjpeg's and for Small's.
pub(crate) fn estimate(table: &[u16; 64]) -> u8 {
    own_quality(table).unwrap_or_else(|| quality::estimate(table))
}

/// Returns the least luma coefficients, in old steps, that the usual table would leave in place.
/// Half a step and a little more, as below that hardly one is worth its bits.
pub(super) fn detail(purpose: Purpose, old: &[u16; 64]) -> [i16; 64] {
    let usual = wanted(Purpose { content: Content::Usual, ..purpose }, false);
    std::array::from_fn(|at| {
        let (new, old) = (u32::from(usual[at].max(old[at])), u32::from(old[at]));
        (9 * new).div_ceil(16 * old).min(i16::MAX as u32) as i16
    })
}

fn own(quality: u8, chroma: bool, busy: bool, scale: f32) -> [u16; 64] {
    let shape = match (chroma, busy) {
        (false, false) => LUMA,
        (false, true) => BUSY_LUMA,
        (true, false) => CHROMA,
        (true, true) => BUSY_CHROMA,
    };
    let scale = scale * (quality::scale(quality) as f32 / 100.0).powf(STEEPNESS);
    ZIGZAG.map(|place| {
        let (down, across) = (f32::from(place / 8) / 7.0, f32::from(place % 8) / 7.0);
        let grown = (shape.growth * down.hypot(across).powf(shape.power)).exp();
        let step = shape.base * scale * if place == 0 { shape.dc } else { grown };
        step.round().clamp(1.0, 255.0) as u16
    })
}

/// Returns the quality a luminance table of Small's was made for, or `None` for any other table.
///
/// The highest frequencies name the quality; the others must then be what Small has at it, but for
/// what content changes. The DC step is often the source's, which is the coarser one.
fn own_quality(table: &[u16; 64]) -> Option<u8> {
    let corner = |quality: &u8| quality::table(*quality, false)[CORNER..] == table[CORNER..];
    let is_own = |quality: &u8| {
        [false, true].iter().any(|&busy| {
            let own = own(*quality, false, busy, 1.0);
            let others = table[1..CORNER].iter().zip(&own[1..]).filter(|&(&step, &own)| {
                let (low, high) = (f32::from(step.min(own)), f32::from(step.max(own)));
                high > low * MOST_CHANGE && high - low > 1.0
            });
            others.count() <= MOST_OTHERS
        })
    };
    (LOWEST_OWN..=100).rev().filter(corner).find(is_own)
}
