//! Chroma of half the width and height, without leaving the DCT.
//!
//! Averaging pairs of samples is linear, and so is the DCT. Of two neighbouring blocks `A` and `B`
//! the block of their averages is `P A + Q B`, with `P = C M C'`: `C` the DCT, `M` the averages of
//! `A`'s samples in the upper half. `Q` is `P` mirrored, which in the DCT is a change of signs:
//! `Q[i][j] = (-1)^(i+j) P[i][j]`. The same holds across. The result is what libjpeg computes when
//! it decodes, averages two by two (`h2v2_downsample`) and encodes, but for its roundings to 8 bits.
//!
//! Where the picture ends and a neighbour is missing, the block is mirrored: nothing of that half
//! is visible, and a mirror image is smooth at the seam and so costs few bits.

use std::f32::consts::{FRAC_1_SQRT_2, PI};

use super::{
    block::Block,
    layout::Shrink,
    step::{FRACTION, Steps},
    zigzag::{NATURAL, ZIGZAG},
};

type Matrix = [[f32; 8]; 8];

/// Shrinks the blocks of one component.
#[derive(Debug)]
pub(super) struct Shrinker {
    shrink: Shrink,
    /// `P`, and for the second pass `P` and `Q` transposed.
    first: Matrix,
    left: Matrix,
    right: Matrix,
    /// Old steps, and reciprocals of the new ones, in natural order.
    old: Matrix,
    new: Matrix,
    least: Matrix,
}

impl Shrinker {
    pub(super) fn new(steps: &Steps, shrink: Shrink, least: &[i16; 64]) -> Self {
        let first = averages();
        let transposed = |sign: fn(usize) -> f32| {
            let mut matrix = [[0.0; 8]; 8];
            for (i, row) in first.iter().enumerate() {
                for (j, value) in row.iter().enumerate() {
                    matrix[j][i] = value * sign(i + j);
                }
            }
            matrix
        };
        let natural = |value: &dyn Fn(usize) -> f32| {
            let mut matrix = [[0.0; 8]; 8];
            for (at, to) in ZIGZAG.iter().enumerate() {
                matrix[usize::from(to / 8)][usize::from(to % 8)] = value(at);
            }
            matrix
        };
        let unit = (1_u32 << FRACTION) as f32;
        Self {
            shrink,
            first,
            left: transposed(|_| 1.0),
            right: transposed(alternate),
            old: natural(&|at| f32::from(steps.old[at])),
            new: natural(&|at| unit / f32::from(steps.new[at])),
            least: natural(&|at| f32::from(least[at])),
        }
    }

    /// Makes block `x` of the result out of up to four of the source's, which lie in rows of
    /// `(padded columns, visible columns, visible rows)`. Returns the mask as `rescale` does.
    #[inline(always)]
    pub(super) fn shrink<const FUSED: bool>(
        &self,
        source: &[Block],
        (padded, columns, rows): (usize, usize, usize),
        x: usize,
        block: &mut Block,
        dc: &mut i16,
    ) -> u64 {
        let at = |x: usize, y: usize| (x < columns && y < rows).then(|| &source[y * padded + x]);
        let whole = if self.shrink.across {
            let (left, used) = self.down::<FUSED>(at(2 * x, 0), at(2 * x, 1));
            if 2 * x + 1 < columns {
                let (right, more) = self.down::<FUSED>(at(2 * x + 1, 0), at(2 * x + 1, 1));
                self.across::<FUSED>(&left, Some(&right), used | more)
            } else {
                self.across::<FUSED>(&left, None, used)
            }
        } else {
            self.down::<FUSED>(at(x, 0), at(x, 1)).0
        };
        self.quantize(&whole, block, dc)
    }

    /// Joins two blocks, one below the other. Also returns which columns are not zero.
    #[inline(always)]
    fn down<const FUSED: bool>(&self, upper: Option<&Block>, lower: Option<&Block>) -> (Matrix, u32) {
        let Some(upper) = upper else { return ([[0.0; 8]; 8], 0) };
        let mut used = 0;
        let mut result = [[0.0; 8]; 8];
        for j in 0..8 {
            let above = row(upper, j);
            let below = lower.map(|lower| row(lower, j));
            let mut either = above;
            if let Some(below) = below {
                for k in 0..8 {
                    either[k] |= below[k];
                }
            }
            if either == [0; 8] {
                continue;
            }
            for (k, value) in either.iter().enumerate() {
                used |= u32::from(*value != 0) << k;
            }
            let mut scaled = [0.0; 8];
            for k in 0..8 {
                scaled[k] = f32::from(above[k]) * self.old[j][k];
            }
            if !self.shrink.down {
                result[j] = scaled;
                continue;
            }
            let sign = alternate(j);
            // A missing neighbour mirrors: its coefficients are the same with alternating signs.
            let mut other = scaled;
            if let Some(below) = below {
                for k in 0..8 {
                    other[k] = f32::from(below[k]) * self.old[j][k] * sign;
                }
            }
            let (mut even, mut odd) = (scaled, scaled);
            for k in 0..8 {
                even[k] += other[k];
                odd[k] -= other[k];
            }
            for i in 0..8 {
                let (factor, part) = (self.first[i][j], if i % 2 == 0 { &even } else { &odd });
                for k in 0..8 {
                    result[i][k] = multiply_add::<FUSED>(factor, part[k], result[i][k]);
                }
            }
        }
        (result, used)
    }

    /// Joins two blocks side by side; only the columns in `used` are not zero.
    #[inline(always)]
    fn across<const FUSED: bool>(&self, left: &Matrix, right: Option<&Matrix>, used: u32) -> Matrix {
        let mut result = [[0.0; 8]; 8];
        let last = (32 - used.leading_zeros()) as usize;
        for i in 0..8 {
            // Two sums, as each addition has to wait for the one before.
            let (mut even, mut odd) = ([0.0; 8], [0.0; 8]);
            for j in 0..last.min(8) {
                let first = left[i][j];
                let second = right.map_or(first * alternate(j), |right| right[i][j]);
                for k in 0..8 {
                    even[k] = multiply_add::<FUSED>(first, self.left[j][k], even[k]);
                    odd[k] = multiply_add::<FUSED>(second, self.right[j][k], odd[k]);
                }
            }
            for k in 0..8 {
                result[i][k] = even[k] + odd[k];
            }
        }
        result
    }

    #[inline(always)]
    fn quantize(&self, whole: &Matrix, block: &mut Block, dc: &mut i16) -> u64 {
        let unit = (1_u32 << FRACTION) as f32;
        let exact = whole[0][0] * self.new[0][0] / unit;
        *dc = (exact + if exact < 0.0 { -0.5 } else { 0.5 }).clamp(-1024.0, 1023.0) as i16;
        let mut kept = 0;
        for i in 0..8 {
            let mut scaled = [0.0; 8];
            for k in 0..8 {
                scaled[k] = whole[i][k] * self.new[i][k];
            }
            let mut bits: u32 = 0;
            for k in 0..8 {
                bits |= u32::from(scaled[k].abs() >= self.least[i][k]) << k;
            }
            if i == 0 {
                bits &= !1;
            }
            while bits != 0 {
                let k = bits.trailing_zeros() as usize % 8;
                bits &= bits - 1;
                let to = NATURAL[8 * i + k];
                // The cast saturates.
                block[usize::from(to)] = scaled[k] as i16;
                kept |= 1 << to;
            }
        }
        kept
    }
}

/// Fused only where the CPU can: elsewhere it would be a call for each.
#[inline(always)]
fn multiply_add<const FUSED: bool>(factor: f32, other: f32, sum: f32) -> f32 {
    if FUSED { factor.mul_add(other, sum) } else { factor * other + sum }
}

#[inline(always)]
fn row(block: &Block, j: usize) -> [i16; 8] {
    block.as_chunks::<8>().0[j]
}

#[inline(always)]
fn alternate(index: usize) -> f32 {
    if index.is_multiple_of(2) { 1.0 } else { -1.0 }
}

/// Returns `P = C M C'`.
fn averages() -> Matrix {
    let dct: Matrix = std::array::from_fn(|i| {
        let norm = if i == 0 { FRAC_1_SQRT_2 } else { 1.0 } / 2.0;
        std::array::from_fn(|n| norm * ((2 * n + 1) as f32 * i as f32 * PI / 16.0).cos())
    });
    std::array::from_fn(|i| std::array::from_fn(|j| (0..8).map(|n| dct[i][n / 2] * dct[j][n] / 2.0).sum()))
}
