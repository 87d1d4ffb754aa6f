//! Decodes the scans of progressive files into a store.

use pulp::{Simd, WithSimd};

use super::{
    bits::{Bits, Window},
    block::Block,
    huffman::{AcTable, DcTable, END},
    layout::Layout,
    refinement::{Changes, Refinement, RefinementTable, corrections},
    scan::{Scan, Walk},
    store::Store,
};
use crate::Error;

/// A progressive scan that is being decoded.
#[derive(Debug)]
pub(super) struct Progressive<'a> {
    window: Window<'a>,
    scan: Scan,
    dc: Vec<DcTable>,
    ac: Option<AcTable>,
    refinement: Option<RefinementTable>,
    before: Vec<i32>,
    /// Blocks that the last end of band covers and that are still to come.
    ended: u32,
    restart: usize,
    left: usize,
    restarts: usize,
}

impl<'a> Progressive<'a> {
    pub(super) fn new(walk: &Walk<'a>, scan: Scan) -> Result<Self, Error> {
        let is_dc = scan.first == 0;
        let first = scan.high == 0;
        let parts = scan.parts.iter().filter(|_| is_dc && first);
        let dc = parts.map(|part| walk.dc_table(part)).collect::<Result<_, _>>()?;
        let part = scan.parts.first().filter(|_| !is_dc);
        let ac = part.filter(|_| first).map(|part| walk.ac_table(part)).transpose()?;
        let refinement = part.filter(|_| !first).map(|part| walk.refinement_table(part)).transpose()?;
        Ok(Self {
            window: Window::new(walk.entropy()),
            before: vec![0; scan.parts.len()],
            scan,
            dc,
            ac,
            refinement,
            ended: 0,
            restart: walk.restart,
            left: walk.restart,
            restarts: 0,
        })
    }

    #[inline(always)]
    fn all(&mut self, layout: &Layout, store: &mut Store) -> Result<(), Error> {
        let (columns, rows) = match self.scan.parts.as_slice() {
            [part] => (layout.planes[part.component].columns, layout.planes[part.component].rows),
            _ => (layout.mcu_columns, layout.mcu_rows),
        };
        let component = self.scan.parts[0].component;
        for row in 0..rows {
            if self.scan.first == 0 {
                for column in 0..columns {
                    self.begin_unit()?;
                    self.unit_dc(layout, store, column, row)?;
                }
                continue;
            }
            let (blocks, masks) = store.row_mut(component, row, columns);
            if self.scan.high == 0 {
                self.first_row(blocks, masks)?;
            } else {
                self.refine_row(blocks, masks)?;
            }
        }
        Ok(())
    }

    /// Decodes a row of blocks for the first time. Blocks that an end of band covers are passed over
    /// together.
    #[inline(always)]
    fn first_row(&mut self, blocks: &mut [Block], masks: &mut [u64]) -> Result<(), Error> {
        let mut column = 0;
        while column < blocks.len() {
            self.begin_unit()?;
            if self.ended > 0 {
                let mut more = (self.ended as usize - 1).min(blocks.len() - column - 1);
                if self.restart != 0 {
                    more = more.min(self.left);
                    self.left -= more;
                }
                self.ended -= 1 + more as u32;
                column += 1 + more;
                continue;
            }
            let mut bits = self.window.bits;
            let done = self.first_ac(&mut bits, &mut blocks[column], &mut masks[column]);
            self.window.bits = bits;
            done?;
            column += 1;
        }
        Ok(())
    }

    /// Decodes one more bit of a row of blocks.
    #[inline(always)]
    fn refine_row(&mut self, blocks: &mut [Block], masks: &mut [u64]) -> Result<(), Error> {
        let band = (u64::MAX >> (63 - self.scan.last)) & (u64::MAX << self.scan.first);
        let step = 1_i16 << self.scan.low;
        for (block, nonzero) in blocks.iter_mut().zip(masks) {
            self.begin_unit()?;
            let mut bits = self.window.bits;
            let mut changes = Changes { ahead: band, ..Changes::default() };
            if self.ended == 0
                && let Err(error) = self.refine_ac(&mut bits, *nonzero, &mut changes)
            {
                self.window.bits = bits;
                return Err(error);
            }
            if self.ended > 0 {
                let rest = *nonzero & changes.ahead;
                changes.changed |= corrections(&mut bits, self.window.bytes(), rest);
                self.ended -= 1;
            }
            changes.apply(block, step);
            *nonzero |= changes.changed;
            self.window.bits = bits;
        }
        Ok(())
    }

    #[inline(always)]
    fn unit_dc(&mut self, layout: &Layout, store: &mut Store, column: usize, row: usize) -> Result<(), Error> {
        let single = self.scan.parts.len() == 1;
        for (index, part) in self.scan.parts.iter().enumerate() {
            let plane = layout.planes[part.component];
            let (horizontal, vertical) = if single { (1, 1) } else { (plane.horizontal, plane.vertical) };
            for y in 0..vertical {
                for x in 0..horizontal {
                    let block = store.block(part.component, column * horizontal + x, row * vertical + y);
                    self.window.refill();
                    if let Some(table) = self.dc.get(index) {
                        let before = &mut self.before[index];
                        let sum = before.wrapping_add({
                            let mut bits = self.window.bits;
                            let difference = table.difference(&mut bits, self.window.bytes());
                            self.window.bits = bits;
                            difference?
                        });
                        *before = sum.clamp(-32_768, 32_767);
                        block[0] = (*before << self.scan.low) as i16;
                    } else {
                        block[0] |= (self.window.bits.take(1) << self.scan.low) as i16;
                    }
                }
            }
        }
        Ok(())
    }

    /// Decodes a block's coefficients of this band, down to the scan's lowest bit.
    #[inline(always)]
    fn first_ac(&mut self, bits: &mut Bits, block: &mut Block, nonzero: &mut u64) -> Result<(), Error> {
        let Some(table) = &self.ac else { return Ok(()) };
        let (last, low) = (self.scan.last, self.scan.low);
        let (mut at, mut step) = (self.scan.first - 1, 0);
        let mut put = |at: usize, value: i32| {
            if let Some(to) = block.get_mut(at) {
                *to = (value << low) as i16;
                *nonzero |= u64::from(value != 0) << at;
            }
        };
        while at < last {
            bits.refill(self.window.bytes());
            let entry = table.entry(bits);
            let first = at + entry.first();
            if entry.taken() != 0 && first < last {
                bits.skip(entry.taken());
                put(first, entry.first_value().into());
                step = entry.second();
                at = first + step;
                put(at, entry.second_value().into());
                continue;
            }
            let symbol = table.code.symbol(bits)?;
            let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            match (run, size) {
                (0..15, 0) => {
                    self.ended = (1 << run) - 1 + bits.take(run as u32);
                    step = END as usize;
                    at += step;
                }
                (_, 0..=11) => {
                    step = run + 1;
                    at += step;
                    put(at, bits.value(size));
                }
                _ => return Err(Error::corrupt(format!("a coefficient of {size} bits"))),
            }
        }
        if at > last && step != END as usize {
            return Err(Error::corrupt("a run leads out of its band"));
        }
        Ok(())
    }

    /// Decodes one more bit of a block's coefficients of this band, up to its end of band. What
    /// changes is noted only, and written all at once: nothing then has to wait for a store.
    #[inline(always)]
    fn refine_ac(&mut self, bits: &mut Bits, nonzero: u64, changes: &mut Changes) -> Result<(), Error> {
        let Some(table) = &self.refinement else { return Ok(()) };
        while changes.ahead != 0 {
            bits.refill(self.window.bytes());
            let (run, value) = match table.next(bits)? {
                Refinement::End(width) => {
                    self.ended = (1 << width) + bits.take(width);
                    break;
                }
                Refinement::Value(run, value) => (run, value),
            };
            // The place is that of the zero behind `run` zeros. Most runs are short, and none can be
            // foreseen: those up to three need no branch.
            let mut zeros = !nonzero & changes.ahead;
            for passed in 0..3 {
                zeros = if passed < run { zeros & zeros.wrapping_sub(1) } else { zeros };
            }
            for _ in 3..run {
                zeros &= zeros.wrapping_sub(1);
            }
            let place = zeros & zeros.wrapping_neg();
            let below = place.wrapping_sub(1);
            changes.changed |= corrections(bits, self.window.bytes(), nonzero & changes.ahead & below);
            if value != 0 {
                if place == 0 {
                    return Err(Error::corrupt("a run leads out of its band"));
                }
                changes.changed |= place;
                changes.minus |= if value < 0 { place } else { 0 };
            }
            changes.ahead &= !(below | place);
        }
        Ok(())
    }

    #[inline(always)]
    fn begin_unit(&mut self) -> Result<(), Error> {
        if self.restart != 0 {
            if self.left == 0 {
                self.window.restart((self.restarts % 8) as u8)?;
                self.restarts += 1;
                self.left = self.restart;
                self.before.fill(0);
                self.ended = 0;
            }
            self.left -= 1;
        }
        self.window.check()
    }

    /// Returns the reason for an error while decoding, as far as the place in the data tells it.
    pub(super) fn explain(&self, error: Error) -> Error {
        self.window.explain(error)
    }

    /// Ends the scan and returns how long its data are.
    pub(super) fn finish(&mut self) -> Result<usize, Error> {
        self.window.finish()
    }
}

/// [`Progressive::all`], compiled for several CPUs.
pub(super) struct ProgressiveAll<'a, 'b> {
    pub(super) scan: &'a mut Progressive<'b>,
    pub(super) layout: &'a Layout,
    pub(super) store: &'a mut Store,
}

impl WithSimd for ProgressiveAll<'_, '_> {
    type Output = Result<(), Error>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        self.scan.all(self.layout, self.store)
    }
}
