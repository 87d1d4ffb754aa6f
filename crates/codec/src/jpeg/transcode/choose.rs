//! Chooses the coefficients' values: those that are worth their bits.
//!
//! A coefficient that is one because it was 0.6 costs six bits or more and gains little. For each
//! block the values with the least `distortion + lambda * bits` are found, by dynamic programming
//! over the coefficients that are not zero: the cheapest way up to each of them is the cheapest one
//! up to some coefficient before, with those in between set to zero. What bits cost is learnt from
//! the picture as it goes.

use super::{block::Block, plain::rounded, step::FRACTION, tokens::Tokens};

/// What the symbols of one band cost.
#[derive(Debug)]
pub(super) struct Rates {
    /// Bits of each symbol with its extra bits.
    bits: Box<[f32; 256]>,
    /// Bits of the end of a band.
    end: f32,
}

impl Rates {
    /// Starts with what is usual.
    pub(super) fn new(_chroma: bool) -> Self {
        let mut bits = Box::new([0.0; 256]);
        for (symbol, bits) in bits.iter_mut().enumerate() {
            let (run, size) = ((symbol >> 4) as f32, (symbol & 15) as f32);
            *bits = 1.6 + 0.55 * run + 2.4 * (size - 1.0).max(0.0) + size;
        }
        bits[0xf0] = 10.0;
        Self { bits, end: 3.0 }
    }

    /// Learns from the symbols so far.
    pub(super) fn learn(&mut self, tokens: &Tokens) {
        let counts = tokens.counts(0);
        let total: u32 = counts.iter().sum();
        if total < 500 {
            return;
        }
        let whole = (total as f32).log2();
        for (symbol, (bits, &count)) in self.bits.iter_mut().zip(counts).enumerate() {
            // What has not occurred yet may still come.
            let own = (whole - (count as f32 + 0.3).log2()).min(16.0);
            *bits = own + (symbol & 15) as f32;
        }
        // The extra bits of an end of band are those of its run length.
        let (mut ends, mut spent) = (0.0, 0.0);
        for width in 0..15_usize {
            let count = counts[width << 4] as f32;
            ends += count;
            spent += count * (self.bits[width << 4] + width as f32);
        }
        if ends > 0.0 {
            self.end = spent / ends;
        }
    }
}

/// How much quality a bit is worth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chooser {
    /// Squared steps that one bit may cost.
    pub(super) lambda: f32,
    pub(super) chroma: f32,
}

const UNIT: f32 = 1.0 / (1_u32 << FRACTION) as f32;
/// From here on a coefficient stays, whatever it costs.
const KEPT: f32 = 1.5;
/// An empty block in a band lengthens a run of such.
const EMPTY: f32 = 0.5;

impl Chooser {
    /// Chooses among the coefficients in `mask` of the band from `first` to `last`. Those that
    /// stay are quantized in `block`, and the mask of them is returned.
    #[inline(always)]
    pub(super) fn choose(
        &self,
        mask: u64,
        block: &mut Block,
        first: usize,
        last: usize,
        rates: &Rates,
        lambda: f32,
    ) -> u64 {
        // Node 0 is the start, the others are coefficients.
        let mut places = [0_usize; 65];
        let mut costs = [0.0_f32; 65];
        // Distortion if all coefficients up to this one were zero.
        let mut zeroed = [0.0_f32; 65];
        let mut values = [0_i16; 65];
        let mut before = [0_u8; 65];
        places[0] = first - 1;
        let (mut rest, mut count, mut anchor) = (mask, 0, 0);
        while rest != 0 {
            let place = rest.trailing_zeros() as usize % 64;
            rest &= rest - 1;
            let scaled = block[place];
            let size = f32::from(scaled.unsigned_abs()) * UNIT;
            let value = rounded(scaled).unsigned_abs();
            let error = size - value as f32;
            let width = (32 - value.leading_zeros()) as usize;
            let mut best = (f32::INFINITY, 0, value);
            // One less only saves bits where the value gets shorter.
            let shorter = value.is_power_of_two() && value > 1;
            let less = error + 1.0;
            let lower = count.min(64);
            for node in (anchor..=lower).rev() {
                let skipped = costs[node] + zeroed[lower] - zeroed[node];
                let run = place - places[node] - 1;
                let (row, long) = ((run % 16) << 4, (run / 16) as f32 * rates.bits[0xf0]);
                let cost = skipped + error * error + lambda * (rates.bits[(row | width) % 256] + long);
                if cost < best.0 {
                    best = (cost, node, value);
                }
                if shorter {
                    let cost = skipped + less * less + lambda * (rates.bits[(row | (width - 1)) % 256] + long);
                    if cost < best.0 {
                        best = (cost, node, value - 1);
                    }
                }
            }
            count = (count + 1).min(64);
            places[count] = place;
            zeroed[count] = zeroed[lower] + size * size;
            costs[count] = best.0;
            before[count] = best.1 as u8;
            let chosen = best.2 as i16;
            values[count] = if scaled < 0 { -chosen } else { chosen };
            if size >= KEPT {
                anchor = count;
            }
        }
        let mut best = (f32::INFINITY, 0);
        for node in anchor..=count {
            let end = match places[node] {
                _ if node == 0 => EMPTY,
                place if place == last => 0.0,
                _ => rates.end,
            };
            let cost = costs[node] + zeroed[count] - zeroed[node] + lambda * end;
            if cost < best.0 {
                best = (cost, node);
            }
        }
        let (mut node, mut kept) = (best.1, 0);
        while node != 0 {
            let place = places[node] % 64;
            block[place] = values[node];
            kept |= 1 << place;
            node = usize::from(before[node]) % 65;
        }
        kept
    }
}
