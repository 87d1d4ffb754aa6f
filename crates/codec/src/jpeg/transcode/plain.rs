//! Codes rows of blocks as one sequential scan.

use pulp::{Simd, WithSimd};

use super::{
    lane::{Lane, Lanes},
    layout::Layout,
    step::{FRACTION, HALF},
    tokens::{Desk, Sink, Tokens, value_bits},
};

/// A sequential scan that is being put together.
#[derive(Debug)]
pub(super) struct Plain {
    pub(super) tokens: Tokens,
    pub(super) desk: Desk,
    pub(super) before: Vec<i32>,
}

impl Plain {
    pub(super) fn new(layout: &Layout) -> Self {
        Self { tokens: Tokens::new(), desk: Desk::new(row_symbols(layout)), before: vec![0; layout.planes.len()] }
    }

    /// Returns the bytes taken while a row is added.
    pub(super) fn memory(&self, layout: &Layout) -> u64 {
        self.tokens.memory(row_symbols(layout)) + self.desk.memory()
    }

    #[inline(always)]
    fn row(&mut self, layout: &Layout, lanes: &[Lane]) {
        let mut sink = self.tokens.sink(&mut self.desk);
        for column in 0..layout.mcu_columns {
            for (component, lane) in lanes.iter().enumerate() {
                let plane = &lane.plane;
                let table = 2 * component.min(1);
                for y in 0..plane.vertical {
                    for x in 0..plane.horizontal {
                        let at = y * plane.padded_columns + column * plane.horizontal + x;
                        let dc = i32::from(lane.dc[at]);
                        sink.push_difference(table, dc - self.before[component]);
                        self.before[component] = dc;
                        coefficients(&mut sink, table + 1, lane.masks[at], &lane.blocks[at]);
                    }
                }
            }
        }
        sink.end();
    }
}

/// Returns the most symbols that a row of MCUs has: each block 63 coefficients, an end and a DC difference.
fn row_symbols(layout: &Layout) -> usize {
    65 * layout.mcu_blocks() * layout.mcu_columns
}

/// Notes the AC coefficients of a block; `mask` has those of at least half a step.
#[inline(always)]
pub(super) fn coefficients(sink: &mut Sink<'_>, table: usize, mask: u64, block: &[i16; 64]) {
    let bias = if mask.count_ones() < BUSY { CALM_BIAS } else { HALF };
    let (mut rest, mut last) = (mask, 0);
    while rest != 0 {
        let at = rest.trailing_zeros() as usize;
        rest &= rest - 1;
        let scaled = i32::from(block[at % 64]);
        let value = (scaled.abs() + bias) >> FRACTION;
        if value == 0 {
            continue;
        }
        let mut run = at - last - 1;
        last = at;
        while run >= 16 {
            sink.push(table, 0xf0, 0, 0);
            run -= 16;
        }
        let value = if scaled < 0 { -value } else { value };
        let size = 32 - value.unsigned_abs().leading_zeros();
        sink.push(table, run << 4 | size as usize, size, value_bits(value, size));
    }
    if last != 63 {
        sink.push(table, 0, 0, 0);
    }
}

/// What is added before a coefficient is cut off to whole steps: it is rounded up from 5/8 on, as
/// values are the rarer the larger they are, and those near the middle cost more than they gain.
const CALM_BIAS: i32 = 12;
/// From so many coefficients on a block is full of detail, and half a step is rounded up. Where the
/// steps double, as from quality 75 to 50, half of the coefficients are half a step, and all of the
/// detail would go.
const BUSY: u32 = 16;

/// Completes a row of MCUs and takes it; compiled for several CPUs.
pub(super) struct PlainRow<'a> {
    pub(super) plain: &'a mut Plain,
    pub(super) layout: &'a Layout,
    pub(super) lanes: &'a mut Lanes,
    pub(super) row: usize,
}

impl WithSimd for PlainRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        if S::IS_SCALAR {
            self.lanes.complete::<false>(self.row);
        } else {
            self.lanes.complete::<true>(self.row);
        }
        self.plain.row(self.layout, &self.lanes.parts);
    }
}

/// Rounds a coefficient to whole steps, half of one towards zero: it costs less and is as near.
#[inline(always)]
pub(super) fn rounded(scaled: i16) -> i32 {
    let scaled = i32::from(scaled);
    let size = (scaled.abs() + HALF - 1) >> FRACTION;
    if scaled < 0 { -size } else { size }
}
