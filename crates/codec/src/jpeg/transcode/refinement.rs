//! What scans that refine coefficients say: their Huffman tables, and what they change in a block.
//!
//! There a symbol is a run with a new coefficient of one step, plus or minus, or an end of band. One
//! look at the next eleven bits finds nearly all of them, with their sign.

use super::{bits::Bits, block::Block, huffman::Code};
use crate::Error;

/// Bits that one look-up sees.
const LOOK: u32 = 11;
const ENTRIES: usize = 1 << LOOK;

/// What a symbol says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refinement {
    /// The band ends here, and so do those of other blocks; their number has so many bits.
    End(u32),
    /// So many zeros stay, and what follows becomes plus or minus one step, or stays zero as well.
    Value(u32, i16),
}

/// A table of runs and signs.
#[derive(Debug)]
pub(super) struct RefinementTable {
    code: Code,
    /// From the lowest bit: bits taken (4), zero if the code is longer; run (4); kind (2).
    quick: Vec<u16>,
}

/// Kinds of entries: the value's two, none, and an end.
const MINUS: u16 = 0;
const PLUS: u16 = 1;
const NONE: u16 = 2;
const END: u16 = 3;

impl RefinementTable {
    pub(super) fn new(code: &Code) -> Self {
        let entry = |bits: u32| {
            let (length, symbol) = code.find(bits << (16 - LOOK), 1)?;
            let run = u16::from(symbol >> 4);
            let (taken, kind) = match symbol & 15 {
                0 if run < 15 => (length, END),
                0 => (length, NONE),
                1 if length < LOOK => (length + 1, if bits >> (LOOK - length - 1) & 1 == 1 { PLUS } else { MINUS }),
                _ => return None,
            };
            (taken <= LOOK).then_some(taken as u16 | run << 4 | kind << 8)
        };
        Self { quick: (0..ENTRIES as u32).map(|bits| entry(bits).unwrap_or(0)).collect(), code: code.clone() }
    }

    /// Takes one symbol and its sign. At least 32 bits must be available.
    #[inline(always)]
    pub(super) fn next(&self, bits: &mut Bits) -> Result<Refinement, Error> {
        let entry = self.quick[bits.peek(LOOK) as usize % ENTRIES];
        if entry == 0 {
            let (after, refinement) = self.long(*bits)?;
            *bits = after;
            return Ok(refinement);
        }
        bits.skip(u32::from(entry & 15));
        let run = u32::from(entry >> 4 & 15);
        Ok(match entry >> 8 {
            END => Refinement::End(run),
            NONE => Refinement::Value(run, 0),
            sign => Refinement::Value(run, 2 * sign.cast_signed() - 1),
        })
    }

    #[inline(never)]
    fn long(&self, mut bits: Bits) -> Result<(Bits, Refinement), Error> {
        let symbol = self.code.symbol(&mut bits)?;
        let run = u32::from(symbol >> 4);
        let refinement = match symbol & 15 {
            0 if run < 15 => Refinement::End(run),
            0 => Refinement::Value(run, 0),
            1 => Refinement::Value(run, 2 * bits.take(1) as i16 - 1),
            size => return Err(Error::corrupt(format!("a refinement of {size} bits"))),
        };
        Ok((bits, refinement))
    }
}

/// What one scan changes in a block.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Changes {
    /// The places still to be decoded.
    pub(super) ahead: u64,
    /// Coefficients that get further from zero by one step.
    pub(super) changed: u64,
    /// Those among them that were zero and become negative.
    pub(super) minus: u64,
}

impl Changes {
    /// Writes the changes.
    #[inline(always)]
    pub(super) fn apply(self, block: &mut Block, step: i16) {
        for (part, values) in block.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let (changed, minus) = ((self.changed >> (16 * part)) as u16, (self.minus >> (16 * part)) as u16);
            if changed == 0 {
                continue;
            }
            for at in 0..16 {
                let hit = |mask: u16| if mask & (1 << at) != 0 { -1_i16 } else { 0 };
                let sign = (values[at] >> 15) | hit(minus);
                values[at] = values[at].wrapping_add(((step ^ sign) - sign) & hit(changed));
            }
        }
    }
}

/// Takes one bit for each coefficient of `which`, and returns those with a one. Neither the bits nor
/// their number can be foreseen, so the first four need no branch.
#[inline(always)]
pub(super) fn corrections(bits: &mut Bits, window: &[u8], mut which: u64) -> u64 {
    let mut ones = 0;
    loop {
        let count = which.count_ones().min(32);
        bits.refill(window);
        let mut word = u64::from(bits.take(count)) << (64 - count.max(1));
        let mut one = || {
            let low = which & which.wrapping_neg();
            which ^= low;
            ones |= low & (word.cast_signed() >> 63).cast_unsigned();
            word <<= 1;
        };
        for _ in 0..4 {
            one();
        }
        for _ in 4..count {
            one();
        }
        if which == 0 {
            return ones;
        }
    }
}
