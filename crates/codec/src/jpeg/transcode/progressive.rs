//! Decodes the scans of progressive files into a store.

use pulp::{Simd, WithSimd};

use super::{
    bits::{Bits, Window},
    block::Block,
    huffman::{AcTable, DcTable, END},
    layout::Layout,
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
        let ac = scan.parts.first().filter(|_| !is_dc).map(|part| walk.ac_table(part)).transpose()?;
        Ok(Self {
            window: Window::new(walk.entropy()),
            before: vec![0; scan.parts.len()],
            scan,
            dc,
            ac,
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
        for row in 0..rows {
            for column in 0..columns {
                self.begin_unit()?;
                if self.scan.first == 0 {
                    self.unit_dc(layout, store, column, row)?;
                    continue;
                }
                let (block, nonzero) = store.block_and_mask(self.scan.parts[0].component, column, row);
                let mut bits = self.window.bits;
                let done = if self.scan.high == 0 {
                    self.first_ac(&mut bits, block, nonzero)
                } else {
                    self.refine_ac(&mut bits, block, nonzero)
                };
                self.window.bits = bits;
                done?;
            }
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
        if self.ended > 0 {
            self.ended -= 1;
            return Ok(());
        }
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

    /// Decodes one more bit of a block's coefficients of this band.
    #[inline(always)]
    fn refine_ac(&mut self, bits: &mut Bits, block: &mut Block, nonzero: &mut u64) -> Result<(), Error> {
        let Some(table) = &self.ac else { return Ok(()) };
        let (last, step) = (self.scan.last, 1_i16 << self.scan.low);
        let band = u64::MAX >> (63 - last);
        let mut at = self.scan.first;
        if self.ended == 0 {
            while at <= last {
                bits.refill(self.window.bytes());
                let symbol = table.code.symbol(bits)?;
                let run = usize::from(symbol >> 4);
                let value = match symbol & 15 {
                    0 if run < 15 => {
                        self.ended = (1 << run) + bits.take(run as u32);
                        break;
                    }
                    0 => 0,
                    1 => step.wrapping_mul(2 * bits.take(1) as i16 - 1),
                    size => return Err(Error::corrupt(format!("a refinement of {size} bits"))),
                };
                // The place is that of the zero behind `run` zeros.
                let ahead = band & (u64::MAX << at);
                let mut zeros = !*nonzero & ahead;
                for _ in 0..run {
                    zeros &= zeros.wrapping_sub(1);
                }
                let place = zeros.trailing_zeros().min(last as u32 + 1) as usize;
                let passed = *nonzero & ahead & !(u64::MAX.checked_shl(place as u32).unwrap_or(0));
                refine(bits, self.window.bytes(), block, passed, step);
                if value != 0 {
                    let to = block.get_mut(place).filter(|_| place <= last);
                    *to.ok_or_else(|| Error::corrupt("a run leads out of its band"))? = value;
                    *nonzero |= 1 << place;
                }
                at = place + 1;
            }
        }
        if self.ended > 0 {
            if at <= last {
                refine(bits, self.window.bytes(), block, *nonzero & band & (u64::MAX << at), step);
            }
            self.ended -= 1;
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

/// Takes one bit for each coefficient of `which`; a one makes it larger by `step`. Whether it is a
/// one cannot be foreseen, so there is no branch on it.
#[inline(always)]
fn refine(bits: &mut Bits, window: &[u8], block: &mut Block, mut which: u64, step: i16) {
    while which != 0 {
        bits.refill(window);
        for _ in 0..which.count_ones().min(48) {
            let at = which.trailing_zeros() as usize % 64;
            which &= which.wrapping_sub(1);
            let more = step & (bits.take(1) as i16).wrapping_neg();
            let sign = block[at] >> 15;
            block[at] = block[at].wrapping_add((more ^ sign) - sign);
        }
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
