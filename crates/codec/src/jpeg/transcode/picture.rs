//! A source that is being decoded, row by row.

use pulp::{Arch, Simd, WithSimd};

use super::{
    super::header::{Frame, Header},
    direct::Direct,
    lane::Lanes,
    layout::Layout,
    plain::Plain,
    progressive::{Progressive, ProgressiveAll},
    scan::{Scan, Walk},
    sequential::{Sequential, SequentialAll, SequentialRow},
    step::Scale,
    store::{Store, StoreRow},
};
use crate::{Error, Limits};

/// Where the coefficients come from.
#[derive(Debug)]
enum Coefficients<'a> {
    /// The only scan, decoded row by row.
    Stream(Sequential<'a>, Scan),
    /// All scans, decoded before.
    Store(Store),
}

/// The coefficients of a picture, and the tables they were coded with.
#[derive(Debug)]
pub(super) struct Picture<'a> {
    pub(super) layout: Layout,
    walk: Walk<'a>,
    coefficients: Coefficients<'a>,
    pub(super) arch: Arch,
}

impl<'a> Picture<'a> {
    /// Decodes all scans, or prepares to decode the only one.
    pub(super) fn read(header: &Header, source: &'a [u8], arch: Arch, limits: &Limits) -> Result<Self, Error> {
        let frame = &header.frame;
        let layout = Layout::source(frame);
        let mut walk = Walk::new(source, frame.components.len());
        let missing = || Error::corrupt("there is no scan");
        let mut scan = walk.next_scan(frame)?.ok_or_else(missing)?;
        if !frame.progressive && scan.parts.len() == frame.components.len() {
            let coefficients = Coefficients::Stream(Sequential::new(&walk, &scan, &layout)?, scan);
            return Ok(Self { layout, walk, coefficients, arch });
        }
        limits.check_alloc(Store::memory(&layout))?;
        let mut store = Store::new(&layout, frame.progressive);
        loop {
            let length = if frame.progressive {
                let mut scan = Progressive::new(&walk, scan)?;
                let all = ProgressiveAll { scan: &mut scan, layout: &layout, store: &mut store };
                arch.dispatch(all).map_err(|error| scan.explain(error))?;
                scan.finish()?
            } else {
                let mut scan = Sequential::new(&walk, &scan, &layout)?;
                let all = SequentialAll { scan: &mut scan, layout: &layout, store: &mut store };
                arch.dispatch(all).map_err(|error| scan.explain(error))?;
                scan.finish()?
            };
            walk.pass(length);
            match walk.next_scan(frame)? {
                Some(next) => scan = next,
                None => break,
            }
        }
        walk.check_complete()?;
        Ok(Self { layout, walk, coefficients: Coefficients::Store(store), arch })
    }

    /// Returns the quantization steps of each component.
    pub(super) fn steps(&self) -> Result<Vec<[u16; 64]>, Error> {
        self.walk.steps()
    }

    /// Returns the source's size without the metadata seen so far.
    pub(super) fn bytes(&self) -> usize {
        self.walk.source.len() - self.walk.surplus
    }

    /// Hands MCU row `row` to `lanes`.
    pub(super) fn row(&mut self, row: usize, lanes: &mut Lanes) -> Result<(), Error> {
        lanes.begin(row);
        let columns = self.layout.mcu_columns;
        match &mut self.coefficients {
            Coefficients::Stream(scan, _) => {
                let row = self.arch.dispatch(SequentialRow { scan, lanes, columns });
                row.map_err(|error| scan.explain(error))
            }
            Coefficients::Store(store) => {
                self.arch.dispatch(StoreRow { store, layout: &self.layout, row, lanes });
                Ok(())
            }
        }
    }

    /// Codes MCU row `row` at once into `plain`.
    pub(super) fn row_direct(&mut self, row: usize, scales: &[Scale], plain: &mut Plain) -> Result<(), Error> {
        let (layout, coefficients) = (&self.layout, &mut self.coefficients);
        let row = self.arch.dispatch(DirectRow { layout, coefficients, row, scales, plain });
        row.map_err(|error| match &self.coefficients {
            Coefficients::Stream(scan, _) => scan.explain(error),
            Coefficients::Store(_) => error,
        })
    }

    /// Returns the bytes the coefficients take.
    pub(super) fn memory(&self) -> u64 {
        match &self.coefficients {
            Coefficients::Stream(..) => 0,
            Coefficients::Store(_) => Store::memory(&self.layout),
        }
    }

    /// Goes back to the first row.
    pub(super) fn rewind(&mut self) -> Result<(), Error> {
        if let Coefficients::Stream(sequential, scan) = &mut self.coefficients {
            *sequential = Sequential::new(&self.walk, scan, &self.layout)?;
        }
        Ok(())
    }

    /// Ends the picture, and returns the source's size without metadata.
    pub(super) fn finish(mut self, frame: &Frame) -> Result<usize, Error> {
        if let Coefficients::Stream(scan, _) = &mut self.coefficients {
            let length = scan.finish()?;
            self.walk.pass(length);
            self.walk.pass_rest(frame)?;
        }
        Ok(self.walk.essential())
    }
}

/// Decodes and codes one row; compiled for several CPUs.
struct DirectRow<'a, 'b> {
    layout: &'a Layout,
    coefficients: &'a mut Coefficients<'b>,
    row: usize,
    scales: &'a [Scale],
    plain: &'a mut Plain,
}

impl WithSimd for DirectRow<'_, '_> {
    type Output = Result<(), Error>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        let Plain { tokens, desk, before } = self.plain;
        let mut direct = Direct::new(&self.layout.planes, self.scales, self.row, tokens.sink(desk), before);
        match self.coefficients {
            Coefficients::Stream(scan, _) => scan.row(self.layout.mcu_columns, &mut direct)?,
            Coefficients::Store(store) => store.row(self.layout, self.row, &mut direct),
        }
        direct.end();
        Ok(())
    }
}
