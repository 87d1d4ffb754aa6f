//! Chooses the coefficients' values: those that are worth their bits.
//!
//! A coefficient that is one because it was 0.6 costs six bits or more and gains little. For each
//! block the values with the least `distortion + lambda * bits` are found, by dynamic programming
//! over the coefficients that are not zero: the cheapest way up to each of them is the cheapest one
//! up to some coefficient before, with those in between set to zero. What bits cost is learnt from
//! the picture as it goes. In blocks with few coefficients an error counts more: where little hides
//! it, a wave that is missing is seen, and SSIMULACRA2 sees it as people do.

use super::{block::Block, plain::rounded, step::FRACTION, tokens::Tokens};

/// What the symbols of one band cost, in squared steps.
#[derive(Debug)]
pub(super) struct Rates {
    /// Squared steps that one bit may cost, usually and in this picture.
    usual: f32,
    lambda: f32,
    /// Cost of each symbol with its extra bits.
    symbols: Box<[f32; 256]>,
    /// Cost of the end of a band.
    end: f32,
    /// What an error counts, by how many coefficients the block has in all bands.
    weights: [f32; 65],
}

impl Rates {
    /// Starts with what is usual.
    pub(super) fn new(lambda: f32, weight: f32) -> Self {
        let calm = |count: usize| FEW.saturating_sub(count) as f32 / FEW as f32;
        let weights = std::array::from_fn(|count| 1.0 + weight * calm(count));
        let mut symbols = Box::new([0.0; 256]);
        for (symbol, cost) in symbols.iter_mut().enumerate() {
            let (run, size) = ((symbol >> 4) as f32, (symbol & 15) as f32);
            *cost = lambda * (1.6 + 0.55 * run + 2.4 * (size - 1.0).max(0.0) + size);
        }
        symbols[LONG_RUN] = lambda * 10.0;
        Self { usual: lambda, lambda, symbols, end: lambda * 3.0, weights }
    }

    /// Learns from the symbols so far; bits may cost `price` times what is usual.
    pub(super) fn learn(&mut self, tokens: &Tokens, price: f32) {
        let counts = tokens.counts(0);
        let total: u32 = counts.iter().sum();
        if total < 500 {
            return;
        }
        self.lambda = self.usual * price;
        let whole = (total as f32).log2();
        // What has not occurred yet may still come.
        let bits = |count: u32| (whole - (count as f32 + 0.3).log2()).min(16.0);
        for (symbol, (cost, &count)) in self.symbols.iter_mut().zip(counts).enumerate() {
            *cost = self.lambda * (bits(count) + (symbol & 15) as f32);
        }
        // The extra bits of an end of band are those of its run length.
        let ends = (0..15_usize).map(|width| (width, counts[width << 4]));
        let number: u32 = ends.clone().map(|(_, count)| count).sum();
        if number > 0 {
            let spent: f32 = ends.map(|(width, count)| count as f32 * (bits(count) + width as f32)).sum();
            self.end = self.lambda * spent / number as f32;
        }
    }
}

/// A block with fewer coefficients than this is calm: there each of them is seen.
const FEW: usize = 8;
/// The symbol of sixteen zeros.
const LONG_RUN: usize = 0xf0;
const UNIT: f32 = 1.0 / (1_u32 << FRACTION) as f32;
/// From here on a coefficient stays, whatever it costs.
const KEPT: f32 = 1.5;
/// Bits of an empty block in a band, which lengthens a run of such.
const EMPTY: f32 = 0.5;

/// A coefficient that may stay.
#[derive(Debug, Clone, Copy)]
struct Node {
    /// Least cost of all up to here, if this one stays.
    cost: f32,
    /// Distortion if all up to here were zero.
    zeroed: f32,
    place: u8,
    /// The one before it that stays.
    before: u8,
    value: i16,
}

/// Chooses coefficients; keeps its memory from block to block.
#[derive(Debug)]
pub(super) struct Chooser {
    /// The start of the band, and its coefficients.
    nodes: Box<[Node; 65]>,
}

impl Chooser {
    pub(super) fn new() -> Self {
        Self { nodes: Box::new([Node { cost: 0.0, zeroed: 0.0, place: 0, before: 0, value: 0 }; 65]) }
    }

    /// Chooses among the coefficients in `mask` of the band from `first` to `last`, where the whole
    /// block has `count`. Those that stay are quantized in `block`, and the mask of them is returned.
    #[inline(always)]
    pub(super) fn choose(
        &mut self,
        (mask, count): (u64, u32),
        block: &mut Block,
        (first, last): (usize, usize),
        rates: &Rates,
    ) -> u64 {
        let weight = rates.weights[count as usize % 65];
        if mask.is_power_of_two() {
            return single(mask, block, (first, last), rates, weight);
        }
        let nodes = &mut *self.nodes;
        nodes[0].place = (first - 1) as u8;
        let (mut rest, mut count, mut anchor) = (mask, 0, 0);
        while rest != 0 && count < 64 {
            let place = rest.trailing_zeros() as usize % 64;
            rest &= rest - 1;
            let scaled = block[place];
            let size = f32::from(scaled.unsigned_abs()) * UNIT;
            let value = rounded(scaled).unsigned_abs();
            let error = size - value as f32;
            let width = (32 - value.leading_zeros()) as usize;
            let zeroed = nodes[count].zeroed;
            let mut best = (f32::INFINITY, 0, value);
            // One less only saves bits where the value gets shorter.
            let shorter = value.is_power_of_two() && value > 1;
            for (index, node) in nodes.iter().enumerate().take(count + 1).skip(anchor) {
                let skipped = node.cost + zeroed - node.zeroed;
                let run = place - usize::from(node.place) - 1;
                let row = (run % 16) << 4;
                let long = (run / 16) as f32 * rates.symbols[LONG_RUN];
                let cost = skipped + weight * error * error + rates.symbols[(row | width) % 256] + long;
                if cost < best.0 {
                    best = (cost, index, value);
                }
                if shorter {
                    let less = error + 1.0;
                    let cost = skipped + weight * less * less + rates.symbols[(row | (width - 1)) % 256] + long;
                    if cost < best.0 {
                        best = (cost, index, value - 1);
                    }
                }
            }
            count += 1;
            let chosen = best.2 as i16;
            nodes[count] = Node {
                cost: best.0,
                zeroed: zeroed + weight * size * size,
                place: place as u8,
                before: best.1 as u8,
                value: if scaled < 0 { -chosen } else { chosen },
            };
            if size >= KEPT {
                anchor = count;
            }
        }
        let zeroed = nodes[count].zeroed;
        let mut best = (f32::INFINITY, 0);
        for (index, node) in nodes.iter().enumerate().take(count + 1).skip(anchor) {
            let end = match usize::from(node.place) {
                _ if index == 0 => rates.lambda * EMPTY,
                place if place == last => 0.0,
                _ => rates.end,
            };
            let cost = node.cost + zeroed - node.zeroed + end;
            if cost < best.0 {
                best = (cost, index);
            }
        }
        let (mut index, mut kept) = (best.1, 0);
        while index != 0 {
            let node = nodes[index % 65];
            block[usize::from(node.place) % 64] = node.value;
            kept |= 1 << node.place;
            index = usize::from(node.before);
        }
        kept
    }
}

/// The same for a block with one coefficient, as many have.
#[inline(always)]
fn single(mask: u64, block: &mut Block, (first, last): (usize, usize), rates: &Rates, weight: f32) -> u64 {
    let place = mask.trailing_zeros() as usize % 64;
    let scaled = block[place];
    let size = f32::from(scaled.unsigned_abs()) * UNIT;
    let value = rounded(scaled);
    let width = (32 - value.unsigned_abs().leading_zeros()) as usize;
    let run = place - first;
    let error = size - value.unsigned_abs() as f32;
    let end = if place == last { 0.0 } else { rates.end };
    let symbol = rates.symbols[((run % 16) << 4 | width) % 256] + (run / 16) as f32 * rates.symbols[LONG_RUN];
    let stays = weight * error * error + symbol + end < weight * size * size + rates.lambda * EMPTY;
    block[place] = value as i16;
    if stays { mask } else { 0 }
}
