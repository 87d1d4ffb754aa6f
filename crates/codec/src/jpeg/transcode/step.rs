//! Quantization steps: what the result's are, and how coefficients get from old to new ones.

/// The steps of one component, in zigzag order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Steps {
    pub(super) old: [u16; 64],
    pub(super) new: [u16; 64],
}

impl Steps {
    /// Takes the wanted steps, but never finer ones than the source has: nothing would be gained.
    pub(super) fn new(old: [u16; 64], wanted: [u16; 64]) -> Self {
        let mut new = wanted;
        new.iter_mut().zip(&old).for_each(|(new, old)| *new = (*new).max(*old));
        Self { old, new }
    }
}

/// Bits behind the point of a coefficient in new steps.
pub(super) const FRACTION: u32 = 5;
/// Half a step.
pub(super) const HALF: i32 = 1 << (FRACTION - 1);
/// The largest coefficient: a value of 11 bits, more than 8-bit pictures can have.
pub(super) const LARGEST: i16 = 2047;

/// What turns coefficients in old steps into such in new ones.
#[derive(Debug, Clone)]
pub(super) struct Scale {
    /// `old / new`, in units of 2^-16; for AC only.
    pub(super) ratio: [u16; 64],
    /// Least coefficient, in new steps, that is worth a look.
    pub(super) least: [i16; 64],
    /// `old / new` of the DC coefficient, in units of 2^-32.
    ratio_dc: i64,
}

impl Scale {
    pub(super) fn new(steps: &Steps, least: [i16; 64]) -> Self {
        // Rounded up, so that whole results stay whole after the product is cut off.
        let ratio = |(&old, &new): (&u16, &u16)| (u32::from(old) << 16).div_ceil(u32::from(new)).min(65_535) as u16;
        let mut ratios = [0; 64];
        ratios.iter_mut().zip(steps.old.iter().zip(&steps.new)).for_each(|(to, pair)| *to = ratio(pair));
        let ratio_dc = ((i64::from(steps.old[0]) << 32) + i64::from(steps.new[0]) / 2) / i64::from(steps.new[0]);
        Self { ratio: ratios, least, ratio_dc }
    }

    /// Returns a DC coefficient in new steps, within what 8-bit pictures can have.
    #[inline(always)]
    pub(super) fn dc(&self, value: i32) -> i16 {
        let rounded = (i64::from(value) * self.ratio_dc + (1 << 31)) >> 32;
        rounded.clamp(-1024, 1023) as i16
    }
}
