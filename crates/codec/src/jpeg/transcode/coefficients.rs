//! Decodes the coefficients of one block of a sequential scan: the innermost loop of all.

use super::{
    bits::Bits,
    block::Block,
    huffman::{AcTable, DcTable, END},
    zigzag::ZIGZAG_LONG,
};
use crate::Error;

/// The block being decoded, with room for what broken input reaches.
pub(super) type Room = [i16; 128];

/// Returns the block that was decoded.
#[inline(always)]
pub(super) fn head(room: &Room) -> &Block {
    // A part of constant size, found at compile time.
    room.first_chunk().unwrap_or(&[0; 64])
}

/// Decodes one block into the head of `room`, without its DC coefficient, which it returns.
#[inline(always)]
pub(super) fn decode<const NATURAL: bool>(
    bits: &mut Bits,
    window: &[u8],
    dc_table: &DcTable,
    ac_table: &AcTable,
    before: i32,
    room: &mut Room,
) -> Result<i32, Error> {
    room[..64].fill(0);
    bits.refill(window);
    // In a whole file the sum stays within 16 bits; in a broken one it must not leave 32.
    let difference = dc_table.difference(bits, window)?;
    let dc = before.wrapping_add(difference).clamp(i32::from(i16::MIN), i32::from(i16::MAX));
    let mut progress = Progress { at: 0, step: 0 };
    macro_rules! next {
        () => {
            step::<NATURAL>(bits, window, ac_table, &mut progress, room)?
        };
    }
    // A refill is good for five look-ups. All wait for it, so the fewer the better.
    if !(next!() || next!() || next!() || next!()) {
        loop {
            bits.refill(window);
            if next!() || next!() || next!() || next!() || next!() {
                break;
            }
        }
    }
    if progress.at > 63 && progress.step != END as usize {
        return Err(Error::corrupt("a run leads out of its block"));
    }
    Ok(dc)
}
/// How far a block is decoded.
struct Progress {
    /// Place of the last coefficient.
    at: usize,
    /// The last step to it.
    step: usize,
}

/// Decodes one code or two, and returns whether the block is complete. Takes at most [`LOOK`](super::huffman::LOOK) bits,
/// or refills.
#[inline(always)]
fn step<const NATURAL: bool>(
    bits: &mut Bits,
    window: &[u8],
    table: &AcTable,
    progress: &mut Progress,
    room: &mut Room,
) -> Result<bool, Error> {
    let entry = table.entry(bits);
    let first = progress.at + entry.first();
    // A block that ends at its last coefficient has no end of block: what follows is another's.
    if entry.taken() == 0 || first >= 63 {
        bits.refill(window);
        let symbol = if let Some((length, symbol)) = entry.code() {
            bits.skip(length);
            symbol
        } else {
            let (after, symbol) = long(*bits, table)?;
            *bits = after;
            symbol
        };
        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        progress.step = if size == 0 || size > 10 { uncommon(run, size)? } else { run + 1 };
        progress.at += progress.step;
        room[place::<NATURAL>(progress.at)] = bits.value(size) as i16;
        bits.refill(window);
        return Ok(progress.at >= 63);
    }
    bits.skip(entry.taken());
    room[place::<NATURAL>(first)] = entry.first_value();
    progress.step = entry.second();
    progress.at = first + progress.step;
    room[place::<NATURAL>(progress.at)] = entry.second_value();
    Ok(progress.at >= 63)
}

#[inline(always)]
fn place<const NATURAL: bool>(at: usize) -> usize {
    let at = at % 128;
    if NATURAL { usize::from(ZIGZAG_LONG[at]) } else { at }
}

/// Decodes a code too long for the table. The reservoir goes in and out by value: behind a
/// reference it could not stay in registers.
#[inline(never)]
fn long(mut bits: Bits, table: &AcTable) -> Result<(Bits, u8), Error> {
    let symbol = table.code.symbol(&mut bits)?;
    Ok((bits, symbol))
}

/// Returns the step of a symbol without a value, or with one no 8-bit picture has.
fn uncommon(run: usize, size: u32) -> Result<usize, Error> {
    match (run, size) {
        (0, 0) => Ok(END as usize),
        (15, 0) => Ok(16),
        (_, 0) => Err(Error::corrupt("a code that sequential scans do not have")),
        _ => Err(Error::corrupt(format!("a coefficient of {size} bits"))),
    }
}
