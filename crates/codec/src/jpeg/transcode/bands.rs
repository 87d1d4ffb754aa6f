//! Codes rows of blocks as progressive scans: each component's DC coefficients, then its AC
//! coefficients in bands, with rate-distortion optimized values.
//!
//! The DC coefficients are a third of the result. A scan of one component has its blocks line by line,
//! so each differs from its neighbour's; in MCUs of four every second one would follow one across
//! a corner.
//! No successive approximation: at the qualities wanted most coefficients are one, for which an
//! extra pass costs more than it saves. Luma has a band of its own for its first two coefficients,
//! whose statistics differ most from the rest.

use pulp::{Simd, WithSimd};

use super::{
    choose::{Chooser, Rates},
    lane::{Lane, Lanes},
    layout::{Layout, Plane},
    tokens::{Desk, Sink, Tokens, value_bits},
};

/// The AC coefficients `first` to `last` of one component.
#[derive(Debug)]
pub(super) struct Band {
    pub(super) component: usize,
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) tokens: Tokens,
    rates: Rates,
    /// Blocks since the last symbol that have nothing more in this band.
    ended: u32,
}

/// Squared steps that one bit may cost. With finer steps and a larger price, or the other way
/// round, both size and quality were worse.
const LUMA_LAMBDA: f32 = 0.1;
const CHROMA_LAMBDA: f32 = 0.092;
/// How much more an error of luma counts in a block that is almost empty.
const LUMA_WEIGHT: f32 = 1.5;
/// How much more a bit of luma may cost in a calm picture: all of this with so many details in a block,
/// or fewer, and nothing with this many more.
const DEARER: f32 = 1.35;
const CALM: f32 = 1.3;
const CALM_TRANSITION: f32 = 0.6;

/// Most blocks one end of band can stand for.
const LONGEST_RUN: u32 = 0x7fff;

impl Band {
    fn new(component: usize, first: usize, last: usize) -> Self {
        let tokens = Tokens::new();
        let rates = if component == 0 { Rates::new(LUMA_LAMBDA, LUMA_WEIGHT) } else { Rates::new(CHROMA_LAMBDA, 0.0) };
        Self { component, first, last, tokens, rates, ended: 0 }
    }

    /// Writes the ends of band that are due.
    fn flush(&mut self, desk: &mut Desk) {
        let mut sink = self.tokens.sink(desk);
        flush(&mut sink, &mut self.ended);
        sink.end();
    }
}

/// Takes a block's quantized coefficients; those in `mask` are not zero.
#[inline(always)]
fn code(sink: &mut Sink<'_>, ended: &mut u32, (first, last): (usize, usize), mask: u64, block: &[i16; 64]) {
    if mask == 0 {
        *ended += 1;
        if *ended == LONGEST_RUN {
            flush(sink, ended);
        }
        return;
    }
    flush(sink, ended);
    let (mut rest, mut before) = (mask, first - 1);
    while rest != 0 {
        let at = rest.trailing_zeros() as usize;
        rest &= rest - 1;
        let mut run = at - before - 1;
        before = at;
        while run >= 16 {
            sink.push(0, 0xf0, 0, 0);
            run -= 16;
        }
        let value = i32::from(block[at % 64]);
        let size = 32 - value.unsigned_abs().leading_zeros();
        sink.push(0, run << 4 | size as usize, size, value_bits(value, size));
    }
    if before != last {
        *ended = 1;
    }
}

#[inline(always)]
fn flush(sink: &mut Sink<'_>, ended: &mut u32) {
    if *ended > 0 {
        let width = ended.ilog2();
        sink.push(0, (width << 4) as usize, width, *ended - (1 << width));
        *ended = 0;
    }
}

/// Progressive scans that are being put together.
#[derive(Debug)]
pub(super) struct Bands {
    /// By component.
    pub(super) dc: Vec<Tokens>,
    before: Vec<i32>,
    pub(super) ac: Vec<Band>,
    desk: Desk,
    chooser: Chooser,
    rows: usize,
}

impl Bands {
    pub(super) fn new(layout: &Layout) -> Self {
        let components = layout.planes.len();
        let mut ac = vec![Band::new(0, 1, 2), Band::new(0, 3, 63)];
        ac.extend((1..components).map(|component| Band::new(component, 1, 63)));
        let dc = (0..components).map(|_| Tokens::new()).collect();
        let desk = Desk::new(layout.planes.iter().map(Plane::row_symbols).max().unwrap_or(1));
        Self { dc, before: vec![0; components], ac, desk, chooser: Chooser::new(), rows: 0 }
    }

    /// Ends all bands, behind the last row.
    pub(super) fn finish(&mut self) {
        for band in &mut self.ac {
            band.flush(&mut self.desk);
        }
    }

    /// Returns the bytes taken while a row is added.
    pub(super) fn memory(&self, layout: &Layout) -> u64 {
        let more = |band: &Band| layout.planes[band.component].row_symbols();
        let bands = self.ac.iter().map(|band| band.tokens.memory(more(band))).sum::<u64>();
        let dc = self.dc.iter().zip(&layout.planes);
        let dc = dc.map(|(tokens, plane)| tokens.memory(plane.columns * plane.vertical)).sum::<u64>();
        dc + bands + self.desk.memory()
    }

    #[inline(always)]
    fn row(&mut self, lanes: &mut [Lane], row: usize, price: f32) {
        for ((lane, tokens), before) in lanes.iter().zip(&mut self.dc).zip(&mut self.before) {
            let mut sink = tokens.sink(&mut self.desk);
            for line in lane.plane.visible(row) {
                for &dc in &lane.dc[line] {
                    sink.push_difference(0, i32::from(dc) - *before);
                    *before = dc.into();
                }
            }
            sink.end();
        }
        // The codes of all blocks so far tell what the next ones will cost.
        self.rows += 1;
        let learn = self.rows.is_power_of_two() || self.rows.is_multiple_of(16);
        for band in &mut self.ac {
            if learn {
                band.rates.learn(&band.tokens, if band.component == 0 { price } else { 1.0 });
            }
            let lane = &mut lanes[band.component];
            let plane = lane.plane;
            let within = (u64::MAX >> (63 - band.last)) & (u64::MAX << band.first);
            let mut sink = band.tokens.sink(&mut self.desk);
            for line in plane.visible(row) {
                for at in line {
                    let mut mask = lane.masks[at] & within;
                    if mask != 0 {
                        let (block, count) = (&mut lane.blocks[at], lane.masks[at].count_ones());
                        mask = self.chooser.choose((mask, count), block, (band.first, band.last), &band.rates);
                    }
                    code(&mut sink, &mut band.ended, (band.first, band.last), mask, &lane.blocks[at]);
                }
            }
            sink.end();
        }
    }
}

/// Completes a row of MCUs and takes it; compiled for several CPUs.
pub(super) struct BandsRow<'a> {
    pub(super) bands: &'a mut Bands,
    pub(super) lanes: &'a mut Lanes,
    pub(super) row: usize,
    /// Whether the picture is taken for calm.
    pub(super) calm: bool,
}

impl WithSimd for BandsRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        if S::IS_SCALAR {
            self.lanes.complete::<false>(self.row);
        } else {
            self.lanes.complete::<true>(self.row);
        }
        let calm = if self.calm { 1.0 - (self.lanes.details() - CALM) / CALM_TRANSITION } else { 0.0 };
        self.bands.row(&mut self.lanes.parts, self.row, 1.0 + DEARER * calm.clamp(0.0, 1.0));
    }
}
