//! One block: coefficients in old steps to coefficients in new ones.

use wide::{i8x16, i16x8};

use super::step::{LARGEST, Scale};

/// The coefficients of a block in zigzag order.
pub(super) type Block = [i16; 64];

/// Rescales the AC coefficients of `block` into `scaled`,
/// with [`FRACTION`](super::step::FRACTION) bits behind the point, and returns a mask of
/// those that reach the scale's least one. The DC coefficient is neither scaled nor in the mask.
#[inline(always)]
pub(super) fn rescale(block: &Block, scale: &Scale, scaled: &mut Block) -> u64 {
    let mut keep = [0_i16; 64];
    for index in 0..64 {
        let value = block[index];
        // At most 2047 * 32, so the product's upper half is below 2^16. Only broken files exceed it.
        let size = value.unsigned_abs().min(LARGEST as u16) << 5;
        let size = ((u32::from(size) * u32::from(scale.ratio[index])) >> 16) as u16;
        let size = size.min(i16::MAX as u16) as i16;
        let sign = value >> 15;
        scaled[index] = (size ^ sign) - sign;
        keep[index] = if size >= scale.least[index] { -1 } else { 0 };
    }
    mask(&keep) & !1
}

/// Returns how many AC coefficients reach `least`.
#[inline(always)]
pub(super) fn count(block: &Block, least: &Block) -> u16 {
    let mut sums = [0_u16; 16];
    for index in 0..64 {
        sums[index % 16] += u16::from(index > 0 && block[index].abs() >= least[index]);
    }
    sums.iter().sum()
}

/// Collects the signs of 64 numbers that are 0 or -1.
#[inline(always)]
fn mask(keep: &Block) -> u64 {
    let (vectors, _) = keep.as_chunks::<8>();
    let mut mask = 0;
    for quarter in 0..4 {
        let low = i16x8::new(vectors[2 * quarter]);
        let high = i16x8::new(vectors[2 * quarter + 1]);
        mask |= u64::from(narrow(low, high).to_bitmask() & 0xffff) << (16 * quarter);
    }
    mask
}

#[inline(always)]
fn narrow(low: i16x8, high: i16x8) -> i8x16 {
    let (low, high) = (low.to_array(), high.to_array());
    let mut both = [0; 16];
    both[..8].copy_from_slice(&low);
    both[8..].copy_from_slice(&high);
    i8x16::from_i16x16_saturate(wide::i16x16::new(both))
}
