//! Huffman tables for decoding.
//!
//! Codes and values are short, so one look at the next eleven bits mostly finds a code with its
//! value, often two. The tables hold them ready; only what is longer is decoded bit by bit.

use super::bits::{Bits, extend};
use crate::Error;

/// Bits that one look-up sees.
pub(super) const LOOK: u32 = 11;
const ENTRIES: usize = 1 << LOOK;
/// The step of an end of block: from any place it leads behind the block's last one.
pub(super) const END: u32 = 63;

/// A table as the file defines it.
#[derive(Debug, Clone)]
pub(super) struct Code {
    /// For each length, the first 16-bit prefix that is beyond its codes.
    limits: [u32; 17],
    /// For each length, what leads from a code to its place in `symbols`.
    offsets: [i32; 17],
    symbols: [u8; 256],
    /// For the next nine bits, a code's length (4) and symbol (8); zero if it is longer.
    short: [u16; 512],
}

impl Code {
    /// Reads one table off `body`, the rest of a DHT segment behind its class byte, and returns
    /// what follows it.
    pub(super) fn read(body: &[u8]) -> Result<(Self, &[u8]), Error> {
        let broken = || Error::corrupt("a Huffman table is broken");
        let (counts, rest) = body.split_first_chunk::<16>().ok_or_else(broken)?;
        let total = counts.iter().map(|&count| usize::from(count)).sum::<usize>();
        let (listed, rest) = rest.split_at_checked(total).ok_or_else(broken)?;
        let mut symbols = [0; 256];
        symbols.get_mut(..total).ok_or_else(broken)?.copy_from_slice(listed);
        let (mut limits, mut offsets) = ([0; 17], [0; 17]);
        let (mut code, mut index) = (0_i32, 0_i32);
        for length in 1..=16 {
            let count = i32::from(counts[length - 1]);
            offsets[length] = index - code;
            code += count;
            index += count;
            if code > 1 << length {
                return Err(broken());
            }
            limits[length] = (code as u32) << (16 - length);
            code <<= 1;
        }
        let mut read = Self { limits, offsets, symbols, short: [0; 512] };
        for bits in 0..512 {
            if let Some((length @ ..=9, symbol)) = read.find(bits << 7, 1) {
                read.short[bits as usize] = u16::from(symbol) << 4 | length as u16;
            }
        }
        Ok((read, rest))
    }

    /// Finds the code at the start of `bits`, 16 of them; returns its length and symbol.
    #[inline]
    pub(super) fn find(&self, bits: u32, from: usize) -> Option<(u32, u8)> {
        let length = (from..=16).find(|&length| bits < self.limits[length])?;
        let index = (bits >> (16 - length)) as i32 + self.offsets[length];
        Some((length as u32, *self.symbols.get(index as usize)?))
    }

    /// Takes one symbol.
    #[inline]
    pub(super) fn symbol(&self, bits: &mut Bits) -> Result<u8, Error> {
        let short = self.short[bits.peek(9) as usize % 512];
        if short != 0 {
            bits.skip(u32::from(short & 15));
            return Ok((short >> 4) as u8);
        }
        let (length, symbol) =
            self.find(bits.peek(16), 10).ok_or_else(|| Error::corrupt("a code that does not exist"))?;
        bits.skip(length);
        Ok(symbol)
    }
}

/// A table of differences of DC coefficients.
#[derive(Debug)]
pub(super) struct DcTable {
    code: Code,
    /// Bits taken in the lower four bits, zero if the code is longer; the difference above.
    quick: Vec<i16>,
}

impl DcTable {
    pub(super) fn new(code: &Code) -> Self {
        let quick = (0..ENTRIES as u32).map(|bits| {
            let Some((length, size)) = code.find(bits << (16 - LOOK), 1) else { return 0 };
            let (size, taken) = (u32::from(size), length + u32::from(size));
            if taken > LOOK {
                return 0;
            }
            let value = (bits >> (LOOK - taken)) as i32 & ((1 << size) - 1);
            (extend(value, size) << 4 | taken as i32) as i16
        });
        Self { quick: quick.collect(), code: code.clone() }
    }

    /// Takes a difference. At least 32 bits must be available, and all but [`LOOK`] still are
    /// afterwards.
    #[inline(always)]
    pub(super) fn difference(&self, bits: &mut Bits, window: &[u8]) -> Result<i32, Error> {
        let entry = self.quick[bits.peek(LOOK) as usize % ENTRIES];
        if entry & 15 != 0 {
            bits.skip(entry as u32 & 15);
            return Ok(i32::from(entry >> 4));
        }
        let (after, difference) = self.long(*bits)?;
        *bits = after;
        bits.refill(window);
        Ok(difference)
    }

    #[inline(never)]
    fn long(&self, mut bits: Bits) -> Result<(Bits, i32), Error> {
        match self.code.symbol(&mut bits)? {
            size @ 0..=11 => {
                let difference = bits.value(size.into());
                Ok((bits, difference))
            }
            size => Err(Error::corrupt(format!("a difference of {size} bits"))),
        }
    }
}

/// A table of runs and AC coefficients.
///
/// Where only the value is too long, the entry of a code holds, above six bits of zero, the code's
/// length (4) and its symbol (8); where the code itself is, it is zero.
#[derive(Debug)]
pub(super) struct AcTable {
    pub(super) code: Code,
    quick: Vec<u32>,
}

/// What one look-up finds: from the lowest bit the bits taken (6), the first run (4), the step to
/// the second coefficient (6), the first value (8) and the second (8).
///
/// Without a second code that step is zero and the value is repeated. An end of block is the step
/// [`END`], and writes a zero behind the block or, on its own, in its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry(u32);

impl Entry {
    /// Bits taken, zero if there is more to do.
    #[inline(always)]
    pub(super) fn taken(self) -> u32 {
        self.0 & 63
    }

    /// Returns the step from the coefficient before to the first one.
    #[inline(always)]
    pub(super) fn first(self) -> usize {
        (self.0 >> 6 & 15) as usize + 1
    }

    #[inline(always)]
    pub(super) fn first_value(self) -> i16 {
        i16::from((self.0 >> 16) as i8)
    }

    /// Returns the step from the first coefficient to the second.
    #[inline(always)]
    pub(super) fn second(self) -> usize {
        (self.0 >> 10 & 63) as usize
    }

    #[inline(always)]
    pub(super) fn second_value(self) -> i16 {
        i16::from((self.0 >> 24) as i8)
    }

    /// Returns length and symbol of the code, where only its value is too long.
    #[inline(always)]
    pub(super) fn code(self) -> Option<(u32, u8)> {
        (self.taken() == 0 && self.0 != 0).then_some((self.0 >> 6 & 15, (self.0 >> 10) as u8))
    }
}

/// One code and its value.
#[derive(Clone, Copy)]
struct Single {
    taken: u32,
    run: u32,
    value: i32,
}

impl AcTable {
    /// Builds the table for sequential scans, or for the first scans of progressive ones, where an
    /// end of block may stand for several and all but the simple one are left to `code`.
    pub(super) fn new(code: &Code) -> Self {
        let singles: Vec<_> = (0..ENTRIES as u32).map(|bits| single(code, bits)).collect();
        let quick = singles.iter().zip(0_u32..).map(|(first, bits)| {
            let Some(first) = first else {
                let found = code.find(bits << (16 - LOOK), 1).filter(|&(length, _)| length <= LOOK);
                return found.map_or(0, |(length, symbol)| length << 6 | u32::from(symbol) << 10);
            };
            if first.run == END {
                return first.taken | END << 10;
            }
            let next = (bits << first.taken) as usize % ENTRIES;
            let second = singles[next].filter(|second| first.taken + second.taken <= LOOK);
            let second = second.unwrap_or(Single { taken: 0, run: 0, value: first.value });
            let values = u32::from(first.value as u8) << 16 | u32::from(second.value as u8) << 24;
            (first.taken + second.taken) | (first.run - 1) << 6 | second.run << 10 | values
        });
        Self { quick: quick.collect(), code: code.clone() }
    }

    /// Returns the entry for the next bits.
    #[inline(always)]
    pub(super) fn entry(&self, bits: &Bits) -> Entry {
        Entry(self.quick[bits.peek(LOOK) as usize % ENTRIES])
    }
}

fn single(code: &Code, bits: u32) -> Option<Single> {
    let (length, symbol) = code.find(bits << (16 - LOOK), 1)?;
    let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
    let taken = length + size;
    if taken > LOOK || size > 7 {
        return None;
    }
    match (run, size) {
        (0, 0) => Some(Single { taken, run: END, value: 0 }),
        (1..15, 0) => None,
        _ => {
            let value = extend((bits >> (LOOK - taken)) as i32 & ((1 << size) - 1), size);
            Some(Single { taken, run: run + 1, value })
        }
    }
}
